"""The points due: tables, and properties in integers against the product's fractions.

Planted and caught here: floats in `judge_order`; the multiplier at an instant instead of strictly before;
a multiplier below 1 that takes points; a timeline that keeps its old entry at the instant of the new.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.points.rules.books import orders
from services.points.rules.books.differences import after, differences
from services.points.rules.books.tiers import Standing, TierEntry, revised, standing_before
from services.points.rules.program.compiled_rule import TIER
from services.points.rules.program.judgement import NO_RATE
from services.points.rules.program.limits import words
from shared.contracts.refunds import Kept
from tests.points.judging import case, judged, judged_review
from tests.points.shop import hour
from tests.points.states import ruleset

SKU_LIMIT = words(ruleset().on("review")[0].limits[0])


@pytest.mark.parametrize(
    "kept, multiplier, base, extra",
    [
        ("0", "1", 0, 0),
        ("0.9999", "1", 0, 0),
        ("1.00", "1", 1, 0),
        ("1.9999", "2", 1, 1),
        ("129.90", "1", 129, 0),
        ("129.90", "1.25", 129, 32),
        ("3.00", "1.25", 3, 0),
        ("4.00", "1.25", 4, 1),
        ("4.00", "1.250", 4, 1),
        ("10.00", "1.1", 10, 1),
        ("30.00", "1.1", 30, 3),
        ("3.00", "1.333333333", 3, 0),
        ("100.00", "0.5", 100, 0),
        ("100.00", "1.0", 100, 0),
        ("999999999999.9999", "1.5", 999999999999, 499999999999),
        ("999999999999.9999", "1.000000001", 999999999999, 999),
        ("999999999999", "3.9", 999999999999, 2899999999997),
    ],
)
def test_an_order_is_due_whole_points_and_its_tiers_extra(kept: str, multiplier: str, base: int, extra: int):
    judgement = judged(kept, multiplier)
    assert ([line.awarded for line in judgement.rules], judgement.extra) == ([base], extra)
    assert judgement.due == {rule: points for rule, points in {"base": base, TIER: extra}.items() if points}


def test_an_order_in_a_currency_without_a_rate_is_due_nothing():
    judgement = judged("100.00", "1.5", currency="EUR")
    assert judgement.due == {}
    [line] = judgement.rules
    assert (line.rule, line.matched, line.why, line.requested, line.awarded) == ("base", False, NO_RATE, 0, 0)


@given(
    units=st.integers(0, 10**16 - 1),
    parts=st.integers(1, 10**6),
    multiplier=st.integers(0, 10 * 10**9),
)
def test_the_points_due_are_exact(units: int, parts: int, multiplier: int):
    # `units` are ten-thousandths of the money; a part of it, as a fraction has no end in decimals.
    bought = case(f"{units // 10_000}.{units % 10_000:04}", standing=_standing(multiplier))
    kept = Kept(units, 10_000 * parts, (), (), gone=False)
    judgement = orders.judge_kept(bought, kept, {}, frozenset())
    base = units // (10_000 * parts)
    assert judgement.rules[0].awarded == base
    assert judgement.extra == max(0, base * (multiplier - 10**9) // 10**9)


def _standing(multiplier: int) -> Standing:
    return Standing(None, f"{multiplier // 10**9}.{multiplier % 10**9:09}")


@given(units=st.integers(0, 10**16 - 1), amount=st.integers(1000, 10**8), points=st.integers(1, 1000))
def test_any_rate_is_exact(units: int, amount: int, points: int):
    award = {"kind": "per_amount", "points": points, "amount": f"{amount // 10_000}.{amount % 10_000:04}"}
    rules = ruleset({"id": "base", "on": "purchase", "award": award})
    judgement = judged(f"{units // 10_000}.{units % 10_000:04}", rules=rules)
    assert judgement.rules[0].requested == units // amount * points
    assert judgement.rules[0].awarded == min(units // amount * points, 10**15)


@pytest.mark.parametrize(
    "verified, rewarded, awarded, limit, why",
    [
        (True, False, 50, None, None),
        (True, True, 0, SKU_LIMIT, None),
        (False, False, 0, None, "verified_purchase"),
        (False, True, 0, None, "verified_purchase"),
    ],
)
def test_a_review_is_due_once_per_sku_where_the_purchase_is_verified(
    verified: bool, rewarded: bool, awarded: int, limit: str | None, why: str | None
):
    [line] = judged_review(verified=verified, rewarded=rewarded).rules
    assert (line.awarded, line.limit, line.why, line.matched) == (awarded, limit, why, verified)


TIMELINE = (TierEntry(hour(0), "silver", "1.25"), TierEntry(hour(5), "gold", "1.5"))


@pytest.mark.parametrize(
    "hours, multiplier", [(-1, "1"), (0, "1"), (1, "1.25"), (5, "1.25"), (5.0001, "1.5"), (9, "1.5")]
)
def test_the_multiplier_is_the_one_strictly_before(hours: float, multiplier: str):
    assert standing_before(TIMELINE, hour(hours)).multiplier == multiplier


def test_without_tiers_the_multiplier_is_one():
    assert standing_before((), hour(0)) == (None, "1")


@pytest.mark.parametrize(
    "start, revision, expected",
    [
        (0, [(0, "gold")], [(0, "gold")]),
        (3, [(3, "member")], [(0, "silver"), (3, "member")]),
        (5, [(5, "member"), (6, "silver")], [(0, "silver"), (5, "member"), (6, "silver")]),
        (9, [(9, "member")], [(0, "silver"), (5, "gold"), (9, "member")]),
        (-2, [(-1, "gold"), (-2, "silver")], [(-2, "silver"), (-1, "gold")]),
    ],
)
def test_a_timeline_is_replaced_from_its_first_instant_on(
    start: int, revision: list[tuple[int, str]], expected: list[tuple[int, str]]
):
    entries = [TierEntry(hour(hours), tier, "1") for hours, tier in revision]
    timeline = revised(TIMELINE, entries, hour(start))
    assert [(entry.effective_at, entry.tier) for entry in timeline] == [(hour(hours), tier) for hours, tier in expected]


_RULES = st.dictionaries(st.sampled_from(("base", "tier", "review")), st.integers(1, 100))


@given(due=_RULES, given_=_RULES, lost=_RULES)
def test_the_difference_leads_from_what_was_given_to_what_is_due(
    due: dict[str, int], given_: dict[str, int], lost: dict[str, int]
):
    lost = {rule: min(points, given_.get(rule, 0)) for rule, points in lost.items()}
    more, less = differences(due, given_, lost)
    assert all(points > 0 for points in (*more.values(), *less.values()))
    assert not more.keys() & less.keys()
    settled = after(given_, more, less)
    for rule in {*due, *given_}:
        over = settled.get(rule, 0) - due.get(rule, 0)
        # What was lost to expiry counts as taken back, and is never paid again.
        assert 0 <= over <= lost.get(rule, 0)
        assert less.get(rule, 0) == max(0, given_.get(rule, 0) - lost.get(rule, 0) - due.get(rule, 0))
