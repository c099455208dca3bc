"""No published document makes an event of any size fail, or take more than a bounded time.

Planted and caught here: points, uses of limits and payments of referrals beyond the range of the database's numbers; an
instant beyond the calendar; work proportional to lines x multipliers x rules per amount.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.points.rules.books import orders
from services.points.rules.books.books import Books
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.tiers import Standing
from services.points.rules.program.checking import parse
from services.points.rules.program.document import Document
from services.points.rules.program.lint import lint
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.envelope import Event
from shared.contracts.shop import Line, PurchaseCompleted
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.points import books
from tests.points.oracles.absurd import MOST, documents, events, rulesets
from tests.points.shop import hour, purchase
from tests.points.states import SINCE_EVER, apply, new_customers, numbered, rulebook
from tests.points.written import Json, fixed, is_in, limit, per_amount, rule, times
from tests.support.depth import examples
from tests.support.documents import put_into_force

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DOOMSDAY = datetime(9999, 1, 1, tzinfo=UTC)
LARGEST = 2**63 - 1
MOST_SECONDS = 5.0
"""Processor time for extreme documents, also on a busy machine."""


@given(rules=rulesets, history=st.lists(events(), max_size=12))
@examples(40, deep=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_event_fails_under_any_document(rules: RuleSet, history: list[Event]):
    book = rulebook((SINCE_EVER, rules))
    state = new_customers("ann", "bob")
    state.next_due.update(ann=None, bob=None)
    for item in history:
        changes = apply(state, item, rules=book, now=NOW)
        for transaction in changes.transactions:
            assert abs(transaction.points) <= 10**15 + 200 * 10**9
            assert all(0 < posting.points <= LARGEST for posting in transaction.postings)
    for order in state.orders.values():
        assert sum(order.given.values()) <= 10**15
    with_dues = Books(state, book, DOOMSDAY, numbered())
    apply_due(with_dues, ["ann", "bob"])
    for account in state.accounts.values():
        assert min(account.available, account.pending, account.held, account.debt) >= 0
        assert max(account.available, account.pending, account.debt, abs(account.earned)) <= LARGEST
    for use in state.uses.values():
        assert use.times >= 0
        assert 0 <= use.points <= LARGEST
    for lot in (lot for lots in state.lots.values() for lot in lots.values()):
        assert lot.granted == lot.remaining + lot.held + lot.spent + lot.reversed + lot.expired


@pytest.mark.timeout(400)
@given(document=documents(checked=True), history=st.lists(events(), min_size=1, max_size=12))
@examples(
    6,
    deep=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_the_database_refuses_no_event_under_any_published_document(
    points_pool: Pool, document: Document, history: list[Event]
):
    await books.empty(points_pool)
    await put_into_force(points_pool, "earning_rules", dump(document), SINCE_EVER)
    await books.deliver(points_pool, *history, now=NOW)
    reasons = {reason for _, reason in await books.refused(points_pool)}
    assert reasons <= {"currency_mismatch", "unknown_line", "order_conflict"}
    assert await books.offenders(points_pool) == {}


SKUS = [f"sku-{number}" for number in range(10_000)]


def large(*rules: Json) -> Document:
    return parse({"currency": "USD", "rules": [rule | {"id": f"rule-{at}"} for at, rule in enumerate(rules)]})


def _every(award: Json, *values: str, kind: str = "sku", **fields: object) -> Json:
    return rule("?", award, is_in(kind, *values), **fields)


LARGE: dict[str, Callable[[], Document]] = {
    "rules per amount and multipliers of the same lines": lambda: large(
        *(_every(per_amount(), "x", kind="category") for _ in range(100)),
        *(_every(times("2"), "x", kind="category") for _ in range(100)),
    ),
    "multipliers of other lines each": lambda: large(
        *(_every(per_amount(), "x", kind="category") for _ in range(96)),
        *(_every(times("2"), *SKUS[at % 20 * 500 : (at % 20 + 1) * 500]) for at in range(99)),
    ),
    "values": lambda: large(*(_every(fixed(1), *SKUS) for _ in range(5))),
    "conditions that leave all lines but the last": lambda: large(
        *(rule("?", fixed(1), *[is_in("category", "x")] * 49, is_in("sku", "none")) for _ in range(20))
    ),
    "limits": lambda: large(
        *(_every(fixed(1), "x", kind="category", limits=[limit("day", count=9)] * 10) for _ in range(50))
    ),
    "limits by sku": lambda: large(
        *(rule("?", per_amount(), limits=[limit("day", "customer_sku", count=9)]) for _ in range(5))
    ),
    "a group": lambda: large(
        *(_every(fixed(1), *SKUS[:250], exclusive_group="g") for _ in range(200)),
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_order_is_judged_by_the_largest_documents_in_bounded_time(name: str):
    document = LARGE[name]()
    lines = tuple(Line(str(at), sku, 1, "1.00", "x") for at, sku in enumerate(SKUS))
    began = time.process_time()
    lint(document, NOW)
    linted = time.process_time()
    rules = RuleSet.of(1, document)
    bought = PurchaseCompleted.model_construct(
        customer_id="ann", order_id="1", currency="USD", total="10000.00", lines=lines, channel=None, store_id=None
    )
    order = orders.OrderCase(rules, bought, hour(0), 1, Standing("silver", "1.25"))
    uses = dict.fromkeys(orders.use_keys(rules, bought, order.occurred_at))
    judgement, cuts, _ = orders.judge_bought(order, {})
    assert orders.judge_kept(order, None, cuts, frozenset()) == judgement
    judged = time.process_time()
    assert len(uses) <= 100_000
    assert linted - began < MOST_SECONDS
    assert judged - linted < MOST_SECONDS


@given(
    places=st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=6),
    multiplies=st.lists(st.booleans(), min_size=6, max_size=6),
)
@examples(5, deep=40)
def test_merging_lines_first_gives_the_same(places: list[set[int]], multiplies: list[bool]):
    # Lines of 31 skus: 12,400 are added up first, 31 of the same money are not.
    written: list[Json] = []
    for at, (skus, is_multiplier) in enumerate(zip(places, multiplies, strict=False)):
        award = times("1.5") if is_multiplier else per_amount("0.30", 7)
        written.append(rule(f"rule-{at}", award, is_in("sku", *map(str, skus or {99}))))
    rules = RuleSet.of(1, parse({"currency": "USD", "rules": [*written, rule("all", per_amount())]}))
    many = tuple(Line(str(at), str(at % 31), 1, "0.13", None) for at in range(31 * 400))
    few = tuple(Line(str(at), str(at), 1, "52.00", None) for at in range(31))
    first, second = (orders.judge_bought(_with(rules, lines), {}).judgement for lines in (many, few))
    assert first == second


def _with(rules: RuleSet, lines: tuple[Line, ...]) -> orders.OrderCase:
    bought = PurchaseCompleted.model_construct(
        customer_id="ann", order_id="1", currency="USD", total="1612.00", lines=lines, channel=None, store_id=None
    )
    return orders.OrderCase(rules, bought, hour(0), 1, Standing())


def test_the_most_points_for_the_most_money_fit_an_account():
    rules = rulebook((SINCE_EVER, RuleSet.of(1, large(rule("?", per_amount("0.0001"))))))
    state = new_customers("ann")
    apply(state, purchase("1", MOST), rules=rules)
    assert state.accounts["ann"].available == 10**15
