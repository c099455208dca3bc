"""Warnings about valid tier programs, in words and with their places."""

from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.rules.program.checking import check
from services.tiers.rules.program.document import Conditions, ProgramDocument
from services.tiers.rules.program.implications import compared
from services.tiers.rules.program.lint import idle_moves, lint, unpriced
from tests.support.depth import examples
from tests.tiers.programs import DEFAULT, MINIMAL, WHOLE, changed, parse, program

NOW = datetime(2026, 3, 10, tzinfo=UTC)
SILVER, GOLD = "/tiers/1", "/tiers/2"
SOUND: Any = changed(MINIMAL, ("/downgrade/on_refund", "revoke"))
"""A document without warnings."""

Json = dict[str, Any]


def warnings(document: Json) -> list[tuple[str, str]]:
    return [(warning.pointer, warning.message) for warning in lint(parse(document), NOW)]


def spend(amount: str) -> Json:
    return {"metric": "spend", "at_least": amount}


def count(metric: str, at_least: int, **fields: str) -> Json:
    return {"metric": metric, "at_least": at_least, **fields}


def quiz(at_least: int) -> Json:
    return count("activities", at_least, activity="quiz")


@pytest.mark.parametrize("document", [SOUND, WHOLE])
def test_nothing_is_doubtful_about_a_sound_document(document: Json):
    assert warnings(document) == []


def test_what_version_1_allows():
    assert warnings(DEFAULT) == [
        (
            "/downgrade/on_refund",
            "a refund lowers no tier: who buys, reaches tier gold (1500 USD spent) and returns it, is in it for ever",
        )
    ]


DOUBTS: list[tuple[str, str, list[tuple[str, Any]]]] = [
    # a tier that a lower one's conditions imply
    (f"{GOLD}/enter", "nobody is promoted to tier silver", [(f"{GOLD}/enter", [[spend("500")]])]),
    (
        f"{GOLD}/enter",
        "nobody is promoted to tier silver",
        [(f"{GOLD}/enter", [[spend("499.99")], [count("points", 9)]])],
    ),
    (f"{GOLD}/enter", "nobody is promoted to tier silver", [(f"{GOLD}/enter", [[count("orders", 1)]])]),
    (
        f"{GOLD}/enter",
        "nobody is promoted to tier silver",
        [
            (f"{SILVER}/enter", [[quiz(2), count("activities", 3, activity="share")]]),
            (f"{GOLD}/enter", [[count("activities", 5)]]),
        ],
    ),
    # an order of ranks that does not rise
    (
        f"{GOLD}/enter/1",
        "asks no more than tier silver does with 3 reviews",
        [(f"{SILVER}/enter/1", [count("reviews", 3)]), (f"{GOLD}/enter/1", [count("reviews", 2)])],
    ),
    (
        f"{GOLD}/points_multiplier",
        "less than those of tier silver, which has 1.25",
        [(f"{SILVER}/points_multiplier", "1.25")],
    ),
    (f"{SILVER}/points_multiplier", "less than those of tier member", [(f"{SILVER}/points_multiplier", "0.5")]),
    # lists that change nothing
    (f"{SILVER}/keep/0", "harder than list 1 of `enter`", [(f"{SILVER}/keep", [[spend("501")]])]),
    (
        f"{SILVER}/keep/1",
        "harder than list 1 of `enter`",
        [(f"{SILVER}/keep", [[quiz(1)], [spend("500"), count("points", 1)]])],
    ),
    (f"{SILVER}/enter/1", "list 1 holds whenever this one does", [(f"{SILVER}/enter/1", [spend("500"), quiz(1)])]),
    (f"{SILVER}/keep/1", "list 1 holds whenever this one does", [(f"{SILVER}/keep", [[quiz(1)], [quiz(1)]])]),
    # names
    (f"{GOLD}/name", "customers see its id", [(f"{GOLD}/name", {})]),
    (f"{GOLD}/name", "no name in ar", [(f"{SILVER}/name/ar", "فضي"), ("/tiers/0/name/ar", "عضو")]),
    # benefits
    (f"{SILVER}/benefits/0/to", "benefit gift is over", [(f"{SILVER}/benefits", [{"to": "2026-03-10"}])]),
    (
        f"{GOLD}/benefits/0",
        "benefit gift is another in tier silver",
        [(f"{SILVER}/benefits", [{}]), (f"{GOLD}/benefits", [{"uses": {"count": 1, "per": "year"}}])],
    ),
    # what ends
    ("/at_risk_days/0", "has not begun 365 days before", [("/at_risk_days", [365, 7])]),
    ("/at_risk_days/0", "the period of 30 days", [("/period/days", 30), ("/at_risk_days", [30])]),
    ("/at_risk_days/0", "the period of 365 days", [("/period", {"kind": "calendar_year"}), ("/at_risk_days", [400])]),
    ("/at_risk_days/1", "listed twice", [("/at_risk_days", [7, 7])]),
    ("/at_risk_days", "no tier ends", [("/period", {"kind": "lifetime"}), ("/at_risk_days", [7])]),
    ("/at_risk_days", "no tier ends", [("/downgrade/to", "never"), ("/at_risk_days", [7])]),
    (
        "/at_risk_days",
        "no tier ends",
        [(f"{SILVER}/permanent", True), (f"{GOLD}/permanent", True), ("/at_risk_days", [7])],
    ),
    ("/downgrade/grace_days", "there is no grace", [("/period", {"kind": "lifetime"}), ("/downgrade/grace_days", 7)]),
    # what is lost, and when
    ("/downgrade/on_refund", "in it until its period ends", [("/downgrade/on_refund", "keep")]),
    ("/downgrade/on_refund", "in it for ever", [("/downgrade/on_refund", "keep"), ("/period", {"kind": "lifetime"})]),
    ("/on_publish", "falls at once", [("/on_publish", "full")]),
    ("/on_publish", "`full` changes nothing", [("/on_publish", "full"), ("/downgrade/to", "never")]),
    ("/moves/gold", "this document has tier gold", [("/moves", {"gold": "silver"})]),
]

GIFT: Json = {"id": "gift", "kind": "gift", "name": {"en": "Gift"}}


@pytest.mark.parametrize(("pointer", "words", "changes"), DOUBTS)
def test_what_is_doubtful_is_told_in_words(pointer: str, words: str, changes: list[tuple[str, Any]]):
    filled = [
        (path, [GIFT | benefit for benefit in value] if path.endswith("/benefits") else value)
        for path, value in changes
    ]
    [(told_at, message)] = warnings(changed(SOUND, *filled))
    assert told_at == pointer
    assert words in message
    if pointer.startswith("/tiers/"):
        tier = ("member", "silver", "gold")[int(pointer.split("/")[2])]
        assert message.startswith(f"tier {tier} (")


AT_ONCE: Json = {"to": "earned", "when": "at_once"}


def test_a_refund_lowers_tiers_that_are_lost_at_once():
    sent = changed(SOUND, ("/downgrade", AT_ONCE), ("/on_publish", "full"))
    assert [pointer for pointer, _ in warnings(sent)] == ["/on_publish"]
    never = changed(sent, ("/downgrade/to", "never"))
    assert [pointer for pointer, _ in warnings(never)] == ["/downgrade/when", "/downgrade/on_refund", "/on_publish"]


@pytest.mark.parametrize(
    "changes",
    [
        [(f"{SILVER}/keep", [[spend("500")]])],  # the same, and easier, is not harder
        [(f"{SILVER}/keep", [[spend("499")]])],
        [(f"{SILVER}/enter", [[count("reviews", 3)]]), (f"{SILVER}/keep", [[spend("400")]])],
        [(f"{SILVER}/enter", [[count("reviews", 3)], [spend("500")]]), (f"{GOLD}/enter", [[spend("501")]])],
        [(f"{GOLD}/enter", [[count("orders", 2)]])],
        [(f"{SILVER}/enter", [[count("activities", 5)]]), (f"{GOLD}/enter", [[quiz(5)]])],
        [("/at_risk_days", [364, 1])],
        [("/moves", {"bronze": "silver"})],
        [(f"{SILVER}/benefits", [GIFT | {"from": "2026-03-01", "to": "2026-03-10T00:00:01"}])],
        [(f"{SILVER}/benefits", [GIFT]), (f"{GOLD}/benefits", [GIFT | {"name": {"en": "A gift"}}])],
    ],
)
def test_what_is_not_doubtful(changes: list[tuple[str, Any]]):
    assert warnings(changed(SOUND, *changes)) == []


def test_tiers_are_told_in_words():
    lists = [
        [spend("1500"), count("orders", 1)],
        [count("reviews", 3), quiz(1), count("activities", 2)],
        [count("referrals", 1)],
    ]
    sent = changed(SOUND, (f"{GOLD}/enter", lists), (f"{GOLD}/name", {}))
    [(_, message)] = warnings(sent)
    assert message == (
        "tier gold (1500 USD spent and 1 order, or 3 reviews and 1 activity quiz and 2 activities, or 1 referral): "
        "it has no name: customers see its id"
    )


def test_a_period_of_a_lifetime_is_for_ever():
    uses = GIFT | {"uses": {"count": 1, "per": "period"}}
    sent = changed(SOUND, (f"{SILVER}/benefits", [uses]), ("/period", {"kind": "lifetime"}))
    assert [pointer for pointer, _ in warnings(sent)] == [f"{SILVER}/benefits/0/uses/per"]


def test_moves_from_tiers_that_nobody_is_in():
    document = parse(changed(SOUND, ("/moves", {"bronze": "silver", "gold": "silver"})))
    [warning] = idle_moves(program(version=4), document)
    assert (warning.pointer, "version 4 has no tier bronze" in warning.message) == ("/moves/bronze", True)


def test_currencies_without_a_rate():
    orders = {"USD": 70, "SAR": 10, "AED": 5, "EUR": 15}
    told = [(it.pointer, it.message) for it in unpriced(parse(WHOLE), orders)]
    assert told == [
        ("/rates", "15 of 100 orders looked at are in EUR, which has no rate: they are no spend"),
        ("/rates", "5 of 100 orders looked at are in AED, which has no rate: they are no spend"),
    ]
    by_orders = changed(SOUND, (f"{SILVER}/enter", [[count("orders", 1)]]), (f"{GOLD}/enter", [[count("orders", 9)]]))
    assert unpriced(parse(by_orders), orders) == []


LISTS = st.lists(
    st.one_of(
        st.builds(spend, st.sampled_from(["1", "1.5", "2"])),
        *(st.builds(count, st.just(metric), st.integers(1, 3)) for metric in ("orders", "activities")),
        st.builds(
            lambda name, least: count("activities", least, activity=name), st.sampled_from("ab"), st.integers(1, 2)
        ),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda condition: (condition["metric"], condition.get("activity")),
)
POINTS = [
    {"spend": spent, "orders": orders, "a": a, "b": b, "other": other}
    for spent in (0, 1, 1.5, 2)
    for orders in range(4)
    for a in range(3)
    for b in range(3)
    for other in range(4)
    if not spent or orders
]
"""What customers can have: who spent something ordered something."""


def holds_at(conditions: list[Json], point: dict[str, float]) -> bool:
    for condition in conditions:
        name = condition.get("activity")
        value = point[name] if name else point["a"] + point["b"] + point["other"]
        if condition["metric"] != "activities":
            value = point[condition["metric"]]
        if value < float(condition["at_least"]):
            return False
    return True


@given(first=LISTS, second=LISTS)
@examples(80, deep=600)
def test_a_list_implies_another_if_it_does_for_every_customer(first: list[Json], second: list[Json]):
    document = parse(changed(SOUND, (f"{SILVER}/enter", [first, second])))
    conditions: Conditions = document.tiers[1].enter or ()
    one, other = compared(conditions)
    assert one.implies(other) == all(holds_at(second, point) for point in POINTS if holds_at(first, point))


def test_the_largest_document_is_linted_quickly():
    names = [count("activities", 1, activity=f"a{number}") for number in range(50)]
    tiers = [
        {"id": f"t{rank}", "name": {}, "enter": [[names[(rank + n) % 50], spend(str(rank))] for n in range(5)]}
        for rank in range(1, 50)
    ]
    document = ProgramDocument.model_validate(SOUND | {"tiers": [SOUND["tiers"][0], *tiers]})
    check(document)
    began = perf_counter()
    assert lint(document, NOW)
    assert perf_counter() - began < 2
