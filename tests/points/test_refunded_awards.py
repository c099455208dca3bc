"""Properties of awards for any rules and baskets: what refunds take back, and the most that is left.

Planted and caught here: a floor for each line; a group that is capped rule by rule or not at all.
"""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.points.rules.books import orders
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import Standing
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import RefundLine
from tests.points.judging import case, lines
from tests.points.shop import NOON, event, hour, refund
from tests.points.states import apply, new_customers, rulebook, ruleset
from tests.points.written import at_least, fixed, is_in, limit, per_amount, rule, times

COFFEE = is_in("category", "coffee")
TEA = is_in("category", "tea")

_WHEN = st.lists(
    st.one_of(
        st.sampled_from([COFFEE, TEA, is_in("sku", "a", "b"), is_in("sku", "c")]),
        st.integers(0, 6000).map(lambda cents: at_least(f"{cents // 100}.{cents % 100:02}")),
    ),
    max_size=2,
)
_AWARD = st.one_of(
    st.builds(per_amount, st.sampled_from(["0.30", "1.00", "7.77"]), st.integers(1, 9)),
    st.integers(1, 50).map(fixed),
    st.sampled_from(["1", "1.3", "2", "3.5"]).map(times),
)
_RULES = st.lists(
    st.builds(
        lambda award, when, group, limits: (
            rule("?", award, *when, limits=limits) | ({"exclusive_group": group} if group else {})
        ),
        _AWARD,
        _WHEN,
        st.sampled_from([None, None, "g", "h"]),
        st.sampled_from([[], [], [limit("order", points=12)], [limit("day", points=20)], [limit(count=1)]]),
    ),
    min_size=1,
    max_size=6,
).map(lambda rules: ruleset(*({**rule, "id": f"rule-{number}"} for number, rule in enumerate(rules))))
_BASKET = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["coffee", "tea"]), st.integers(1, 3000)), min_size=1, max_size=4
)
_Basket = list[tuple[str, str, int]]


def _taken(amount: str, *parts: tuple[str, str], name: str) -> Refund:
    return Refund(name, NOON, "USD", amount, tuple(RefundLine(line, 1, part) for line, part in parts))


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _case(rules: RuleSet, basket: _Basket) -> OrderCase:
    parts = [(sku, category, _money(cents)) for sku, category, cents in basket]
    total = _money(sum(cents for *_, cents in basket))
    return case(total, rules, Standing("silver", "1.3"), lines=lines(*parts))


@given(rules=_RULES, basket=_BASKET, data=st.data())
def test_partial_refunds_by_lines_equal_one_full_one(rules: RuleSet, basket: _Basket, data: st.DataObject):
    bought = event("shop.purchase.completed.v1", NOON, _case(rules, basket).bought)
    back = data.draw(st.sets(st.integers(1, len(basket)), min_size=1))
    whole = [(str(number), basket[number - 1][2]) for number in sorted(back)]
    parts: list[tuple[str, int]] = []
    for number, cents in whole:
        first = data.draw(st.integers(0, cents))
        parts += [(number, part) for part in (first, cents - first) if part]
    refunds = [
        refund("1", f"r{at}", _money(cents), hour(at), lines=[(line, _money(cents))])
        for at, (line, cents) in enumerate(data.draw(st.permutations(parts)))
    ]
    once = refund("1", "r", _money(sum(cents for _, cents in whole)), lines=[(a, _money(b)) for a, b in whole])
    book = rulebook((datetime(1, 1, 1, tzinfo=UTC), rules))
    partly, fully = new_customers("ann"), new_customers("ann")
    apply(partly, bought, *refunds, rules=book)
    apply(fully, bought, once, rules=book)
    assert partly.orders["ann", "1"].given == fully.orders["ann", "1"].given
    assert partly.accounts["ann"].available == fully.accounts["ann"].available
    assert partly.accounts["ann"].debt == 0
    assert partly.accounts["ann"].available == sum(partly.orders["ann", "1"].given.values())


@given(rules=_RULES, basket=_BASKET, data=st.data())
def test_no_rule_or_group_gives_more_on_what_is_kept_than_at_first(
    rules: RuleSet, basket: _Basket, data: st.DataObject
):
    bought = _case(rules, basket)
    first, cuts, _ = orders.judge_bought(bought, {})
    refunds: list[Refund] = []
    for at in range(data.draw(st.integers(0, 3))):
        cents = data.draw(st.integers(1, 4000))
        line = data.draw(st.none() | st.integers(1, len(basket)))
        refunds.append(_taken(_money(cents), *([(str(line), _money(cents))] if line else []), name=str(at)))
    kept = keep(Purchase.of(bought.bought), refunds)
    later = orders.judge_kept(bought, kept if refunds else None, cuts, frozenset())
    assert later == first or refunds
    assert later.extra <= first.extra
    by_group: dict[str, list[int]] = {}
    for compiled, before, after in zip(rules.on("purchase"), first.rules, later.rules, strict=True):
        assert 0 <= after.awarded <= after.requested
        sums = by_group.setdefault(compiled.group or compiled.id, [0, 0])
        sums[0] += before.awarded
        sums[1] += after.awarded
    assert all(after <= before for before, after in by_group.values())
