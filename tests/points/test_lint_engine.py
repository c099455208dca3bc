"""Properties of warnings, held against the engine: a rule with a warning gives nothing, a limit changes nothing."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.points.rules.program import limits
from services.points.rules.program.document import Document
from services.points.rules.program.facts import EMPTY, Basket, BasketLine, Facts
from services.points.rules.program.limits import Use, UseKey
from services.points.rules.program.lint import lint
from services.points.rules.program.requested import request
from services.points.rules.program.ruleset import RuleSet
from services.points.rules.program.values import On
from tests.points.rule_parts import (
    FIRST,
    NOW,
    PER_AMOUNT,
    PHOTO,
    TEN,
    VERIFIED,
    Json,
    document,
    hours,
    multiplier,
    rule,
    window,
)


def _some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique=True)


def _each(kind: str, field: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.builds(lambda value: {"kind": kind, field: value}, values)


def _ends(make: Any, *ends: str) -> st.SearchStrategy[Json]:
    return st.permutations(ends).map(lambda drawn: make(*drawn[:2]))


def _dates(*ends: str) -> st.SearchStrategy[Json]:
    return st.permutations(ends).map(lambda drawn: window(*sorted(drawn[:2])))


_ANYWHERE = (
    _dates("2026-05-20", "2026-06-02", "2026-06-04", "2026-06-06", "2026-06-09"),
    _ends(hours, "00:00", "05:00", "09:00", "17:00", "22:00"),
    _each("weekday_in", "days", _some("mon", "tue", "wed", "thu")),
    _each("tier_in", "values", _some("member", "silver", "platinum")),
)
_BY_EVENT: Mapping[On, tuple[st.SearchStrategy[Json], ...]] = {
    "purchase": (
        _each("amount_at_least", "amount", st.sampled_from(("0", "5.00", "9"))),
        *(_each(f"{kind}_in", "values", _some("a", "b", "c")) for kind in ("category", "sku", "channel", "store")),
        _each("currency_in", "values", _some("USD", "EUR", "GBP")),
        st.just(FIRST),
        _each("every_nth_purchase", "n", st.integers(1, 4)),
    ),
    "review": (
        _each("sku_in", "values", _some("a", "b", "c")),
        _each("rating_at_least", "rating", st.integers(1, 5)),
        _each("text_length_at_least", "length", st.integers(0, 2)),
        st.sampled_from((VERIFIED, PHOTO, FIRST)),
    ),
    "survey": (
        _each("survey_is", "survey", st.sampled_from(("nps", "csat"))),
        _each("score_at_least", "score", st.integers(0, 10)),
    ),
}
_LETTERS = st.sampled_from(("a", "b", "c", None))


@st.composite
def _documents(draw: st.DrawFn) -> tuple[On, Document]:
    on = draw(st.sampled_from(tuple(_BY_EVENT)))
    whens = st.lists(st.one_of(*_BY_EVENT[on], *_ANYWHERE), max_size=3)
    awards = st.sampled_from((TEN, PER_AMOUNT, multiplier("1"), multiplier("2")) if on == "purchase" else (TEN,))
    groups = st.sampled_from(("best", "best", "best", "other", None))
    made = st.builds(
        lambda when, award, group: rule(*when, on=on, award=award, exclusive_group=group), whens, awards, groups
    )
    return on, document(*draw(st.lists(made, min_size=1, max_size=5)), time_zone="Europe/Berlin")


@st.composite
def _occurrences(draw: st.DrawFn, on: On) -> tuple[Facts, Basket]:
    moment = NOW + timedelta(minutes=draw(st.integers(0, 9 * 24 * 60)))
    facts = Facts(moment, moment.astimezone(ZoneInfo("Europe/Berlin")), draw(st.sampled_from((None, "silver", "gold"))))
    if on == "review":
        count = st.one_of(st.none(), st.integers(0, 2))
        return facts._replace(
            sku=draw(_LETTERS.filter(bool)),
            rating=draw(st.integers(1, 5)),
            verified=draw(st.booleans()),
            text_length=draw(count),
            photo_count=draw(count),
        ), EMPTY
    if on == "survey":
        kind = draw(st.sampled_from(("nps", "csat")))
        return facts._replace(
            survey=kind, score=draw(st.integers(0, 10) if kind == "nps" else st.integers(1, 5))
        ), EMPTY
    line = st.builds(BasketLine, _LETTERS.filter(bool), _LETTERS, st.integers(0, 80_000))
    lines = draw(st.lists(line, max_size=3))
    return facts._replace(
        channel=draw(_LETTERS),
        store_id=draw(_LETTERS),
        currency=draw(st.sampled_from(("USD", "EUR"))),
        ordinal=draw(st.integers(1, 12)),
    ), Basket(sum(part.amount for part in lines), lines, 10_000)


@given(st.data())
def test_a_rule_with_a_warning_gives_nothing(data: st.DataObject):
    on, rules = data.draw(_documents())
    warnings = lint(rules, NOW)
    places = [warning.pointer.split("/")[2:] for warning in warnings]
    for warning, (index, *_) in zip(warnings, places, strict=True):
        assert warning.message.startswith(f"rule {rules.rules[int(index)].id} (")
    if warnings:
        compiled = RuleSet.of(1, rules).on(on)
        for facts, basket in data.draw(st.lists(_occurrences(on), min_size=5, max_size=5)):
            requests = request(compiled, facts, basket)
            for index, *steps in places:
                assert requests.points[int(index)] == 0
                assert requests.whys[int(index)] is not None or steps[:1] == ["award"]


_PERIODS = ("order", "day", "week", "month", "year", "ever")
_LIMITS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("count"), st.integers(1, 4)),
            st.tuples(st.just("points"), st.sampled_from((9, 10, 20, 30))),
        ),
        st.sampled_from(_PERIODS),
        st.sampled_from(("customer", "customer_sku", "program")),
    ),
    min_size=1,
    max_size=4,
)
_AWARDED = st.lists(
    st.tuples(
        st.sampled_from(("ann", "bob")),
        st.integers(0, 70),
        st.sets(st.sampled_from("ab")),
        st.integers(1, 25),
    ),
    min_size=1,
    max_size=30,
)


def _given(document: Document, orders: list[tuple[str, int, set[str], int]]) -> list[int]:
    """The points of the rule for each order after its limits: (customer, day, SKUs, points requested)."""
    rules = RuleSet.of(1, document)
    [only] = rules.on("purchase")
    uses: dict[UseKey, Use] = {}
    points: list[int] = []
    for customer, day, skus, requested in orders:
        keys = list(limits.keys(only, rules, customer, date(2026, 11, 20) + timedelta(days=day), skus))
        result, counted = limits.apply(only, only.fixed or requested, keys, uses)
        uses |= counted
        points.append(result.awarded)
    return points


@given(_LIMITS, st.sampled_from((TEN, PER_AMOUNT)), _AWARDED)
def test_a_limit_with_a_warning_changes_nothing(
    drawn: list[tuple[tuple[str, int], str, str]], award: Json, orders: list[tuple[str, int, set[str], int]]
):
    kept = [{unit: value, "per": per, "scope": scope} for (unit, value), per, scope in drawn]
    whole = document(rule(award=award, limits=kept))
    idle = {int(warning.pointer.split("/")[4]) for warning in lint(whole, NOW)}
    if idle:
        fewer = [limit for place, limit in enumerate(kept) if place not in idle]
        assert _given(document(rule(award=award, limits=fewer)), orders) == _given(whole, orders)
