"""A document compiled, and the versions by the instants from which they are in force."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from services.tiers.rules.program.compiled import Benefit, Condition, Downgrade, Period, Uses
from services.tiers.rules.program.versions import Versions
from shared.contracts.values import UNITS
from tests.tiers.programs import DEFAULT, MINIMAL, WHOLE, program

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_example_of_the_documentation():
    compiled = program(WHOLE, version=7)
    assert (compiled.version, compiled.currency, compiled.zone.key) == (7, "USD", "Asia/Riyadh")
    assert compiled.rates == {"USD": 1, "SAR": Fraction(2667, 10_000)}
    assert compiled.period == Period("rolling_days", 365)
    assert compiled.downgrade == Downgrade("one_step", "period_end", 30, "revoke")
    assert (compiled.at_risk_days, compiled.on_publish, compiled.moves) == ((30, 7), "promote_only", {})
    member, silver, gold = compiled.tiers
    assert (member.id, member.rank, member.points_multiplier, member.enter, member.keep) == ("member", 0, "1", (), ())
    assert silver.enter == (
        (Condition("spend", None, 500 * UNITS),),
        (Condition("orders", None, 10), Condition("reviews", None, 3)),
    )
    assert silver.keep == ((Condition("spend", None, 400 * UNITS),),)
    assert silver.names == {"en": "Silver", "ar": "فضي"}
    # Without `keep`, a tier is kept as it is entered.
    assert gold.keep == gold.enter == ((Condition("spend", None, 1500 * UNITS),),)
    assert gold.benefits == (
        Benefit("early", "early_access", {"en": "Early access"}, None, None, None),
        Benefit("birthday-gift", "gift", {"en": "Birthday gift"}, None, None, Uses(1, "year")),
    )


def test_what_is_left_out():
    compiled = program(MINIMAL)
    assert compiled.rates == {"USD": 1}
    assert compiled.downgrade == Downgrade("one_step", "period_end", 0, "keep")
    assert (compiled.at_risk_days, compiled.on_publish, compiled.moves) == ((), "promote_only", {})
    assert [(tier.points_multiplier, tier.permanent, tier.benefits) for tier in compiled.tiers] == [
        ("1", False, ())
    ] * 3


def test_tiers_by_id_and_rank():
    compiled = program()
    assert (compiled.first.id, compiled.highest.id, compiled.tier("silver").rank) == ("member", "gold", 1)
    assert compiled.above(compiled.first) is compiled.tier("silver")
    assert compiled.above(compiled.highest) is None
    assert "gold" in compiled
    assert "bronze" not in compiled
    with pytest.raises(KeyError, match="bronze"):
        compiled.tier("bronze")


@pytest.mark.parametrize(
    ("written", "told"), [("1.50", "1.5"), ("02", "2"), ("10", "10"), ("1.000", "1"), ("0.5", "0.5"), ("1.25", "1.25")]
)
def test_a_multiplier_has_one_form(written: str, told: str):
    assert program(DEFAULT, ("/tiers/1/points_multiplier", written)).tiers[1].points_multiplier == told


def test_activities_by_name():
    both = [{"metric": "activities", "at_least": 9}, {"metric": "activities", "activity": "quiz", "at_least": 3}]
    compiled = program(DEFAULT, ("/tiers/1/enter", [both]), ("/tiers/2/keep", [both[1:]]))
    assert [condition.key for condition in compiled.tiers[1].enter[0]] == ["activities", "activities/quiz"]
    assert compiled.activities == {"quiz"}


def test_the_window_of_a_benefit_is_of_the_programs_zone():
    changes: list[tuple[str, Any]] = [
        ("/tiers/1/benefits/0/from", "2026-03-01"),
        ("/tiers/1/benefits/0/to", "2026-03-02T12:00"),
    ]
    [benefit] = program(WHOLE, *changes).tiers[1].benefits
    begin, end = datetime(2026, 2, 28, 21, tzinfo=UTC), datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert (benefit.starts_at, benefit.ends_at) == (begin, end)
    micro = timedelta(microseconds=1)
    instants = {begin - micro: False, begin: True, end - micro: True, end: False}
    assert {moment: benefit.is_valid_at(moment) for moment in instants} == instants


@pytest.mark.parametrize(
    ("period", "downgrade", "has_ends", "falls_at_once"),
    [
        ({"kind": "rolling_days", "days": 1}, {"to": "one_step"}, True, False),
        ({"kind": "calendar_year"}, {"to": "earned", "grace_days": 364}, True, False),
        ({"kind": "anniversary"}, {"to": "one_step"}, True, False),
        ({"kind": "anniversary"}, {"to": "never"}, False, False),
        ({"kind": "lifetime"}, {"to": "one_step"}, False, False),
        ({"kind": "lifetime"}, {"to": "earned", "when": "at_once"}, False, True),
        ({"kind": "rolling_days", "days": 30}, {"to": "one_step", "when": "at_once"}, False, True),
        ({"kind": "rolling_days", "days": 30}, {"to": "never", "when": "at_once"}, False, False),
    ],
)
def test_what_ends_and_what_is_lost_at_once(
    period: dict[str, Any], downgrade: dict[str, Any], has_ends: bool, falls_at_once: bool
):
    changes = (("/period", period), ("/downgrade", downgrade), ("/on_publish", "full"))
    compiled = program(DEFAULT, *changes)
    assert (compiled.has_ends, compiled.falls_at_once) == (has_ends, falls_at_once)


def test_versions_by_instants():
    first, second, draft = (program(version=version) for version in (1, 2, 3))
    versions = Versions([(START, second), (datetime(1, 1, 1, tzinfo=UTC), first)])
    micro = timedelta(microseconds=1)
    assert [versions.in_force(moment).version for moment in (START - micro, START)] == [1, 2]
    assert versions.after(START - micro) == (START, second)
    assert versions.after(START) is None
    assert versions.version(2) is second
    later = versions.with_draft(START + micro, draft)
    assert later.after(START) == (START + micro, draft)
    assert [later.in_force(moment).version for moment in (START, START + micro)] == [2, 3]
    # The versions themselves stay as they were.
    assert versions.after(START) is None
