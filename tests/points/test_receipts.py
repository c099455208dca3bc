"""Receipts show decisions, and rebuild to their digest from stored inputs.

Planted and caught here: a receipt of today's refunds instead of those that had arrived by then.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

from services.points.rules.books import orders, rebuilding
from services.points.rules.books.rebuilding import Basis
from services.points.rules.books.refunds import RefundState, refund_states
from services.points.rules.books.state import Order, State
from services.points.rules.books.tiers import Standing
from services.points.rules.ledger import receipts
from services.points.rules.ledger.transactions import Transaction
from shared.contracts.envelope import Event
from tests.points.judging import case, judged, judged_review, lines
from tests.points.oracles.histories import CUSTOMERS, facts
from tests.points.shop import hour, purchase, refund, review, tier, withdrawal
from tests.points.states import apply, new_customers, rulebook, ruleset
from tests.points.written import is_in, on_delivery, per_amount, rule


@pytest.mark.parametrize(
    "amount, text",
    [
        (Fraction(0), "0.00"),
        (Fraction(10), "10.00"),
        (Fraction("10.1"), "10.10"),
        (Fraction("0.01"), "0.01"),
        (Fraction("1.0012"), "1.0012"),
        (Fraction("1.0010"), "1.0010"),
        (Fraction(1, 3), "0.3333"),
        (Fraction(2, 3), "0.6667"),
        (Fraction("0.00005"), "0.00"),
        (Fraction("0.00015"), "0.0002"),
        (Fraction("999999999999.9999"), "999999999999.9999"),
    ],
)
def test_an_amount_has_two_decimals_or_four(amount: Fraction, text: str):
    assert receipts.format_amount(amount) == text


def test_the_receipt_of_an_order_shows_each_rule_and_the_tiers_extra_apart():
    assert receipts.of_order(1, judged("100.00", "1.25")) == {
        "rules_version": 1,
        "engine": 3,
        "rules": [{"rule": "base", "matched": True, "requested": 100, "awarded": 100}],
        "tier": {"multiplier": "1.25", "extra": 25},
    }
    assert receipts.of_order(1, judged("100.00", currency="EUR"))["rules"] == [
        {"rule": "base", "matched": False, "why": "no_rate", "requested": 0, "awarded": 0}
    ]


def test_the_receipt_of_a_review_names_the_limit_that_cut_it():
    [shown] = receipts.of_rules(1, judged_review(verified=True, rewarded=True).rules)["rules"]
    assert shown == {
        "rule": "review",
        "matched": True,
        "requested": 50,
        "awarded": 0,
        "limit": "once per customer and sku",
    }


def test_a_digest_is_over_the_very_text_of_the_receipt():
    receipt = receipts.of_order(1, judged("100.00", "1.25"))
    # Stored digests are compared with it for ever: a change here needs a new ENGINE.
    assert receipts.digest(receipt).hex() == "3ed96df7aaf5ff4713612cbd76e1e0770032fcc22bdd56b5a474dd964b9a66cd"
    second = receipts.digest(receipt | {"engine": 2})
    assert second.hex() == "ff245590f4d2b8703c16fca94edf7092cb3e0164c2b5379f11cff8cd2127d872"
    first = receipts.digest(receipt | {"engine": 1})
    assert first.hex() == "bd2b2c598180fd40aaee7fff6cd42c632a0966be43f011f07e4df9412bb6c130"
    assert receipts.digest(receipt | {"engine": 4}) != receipts.digest(receipt)


def refunds_then(state: State, transaction: Transaction) -> RefundState | None:
    """The state of the order's refunds when a transaction was made."""
    key = transaction.account.customer_id, transaction.context.reason.get("order_id", "")
    if (count := transaction.context.inputs.get("refunds")) is None:
        return None
    arrived = enumerate(state.refunds_of(key).by_id.values(), 1)
    return dict(refund_states(state.orders[key].bought, {}, arrived))[count]


def basis_of(state: State, transaction: Transaction) -> Basis:
    """The basis that the store reads for a transaction, from the state by now."""
    reason, customer = transaction.context.reason, transaction.account.customer_id
    order = state.orders.get((customer, reason.get("order_id", "")))
    inputs, version = transaction.context.inputs, transaction.context.rules_version
    return Basis(
        customer_id=customer,
        reason=reason,
        rules=None if version is None else rulebook().version(version),
        inputs=inputs,
        order=order,
        refunds=refunds_then(state, transaction),
        accrual=state.accruals.get((customer, inputs.get("origin", ""))),
    )


@given(events=facts())
def test_every_receipt_rebuilds_to_its_digest_whatever_came_later(events: Sequence[Event]):
    state = new_customers(*CUSTOMERS)
    made = [transaction for event in events for transaction in apply(state, event).transactions]
    for transaction in made:
        rebuilt = rebuilding.rebuild(basis_of(state, transaction))
        assert receipts.digest(rebuilt) == transaction.context.receipt_digest


def receipts_after(*events: Event) -> list[receipts.Receipt]:
    state = new_customers("ann")
    made = apply(state, *events).transactions
    return [rebuilding.rebuild(basis_of(state, transaction)) for transaction in made]


def test_a_receipt_is_rebuilt_with_the_refunds_of_its_time():
    bought, late, early = receipts_after(
        purchase("1", "100.00"), refund("1", "r2", "60.00", hour(2)), refund("1", "r1", "70.00", hour(1))
    )
    assert "refund" not in bought
    assert late["refund"] == {"asked": "60.00", "taken": "60.00"}
    assert late["rules"][0]["awarded"] == 40
    # By time it is the first of the two, so its whole amount was left.
    assert early["refund"] == {"asked": "70.00", "taken": "70.00"}
    assert early["rules"][0]["awarded"] == 0


def test_the_receipt_of_a_refund_of_more_than_is_kept_has_the_amount_taken():
    *_, last = receipts_after(purchase("1", "100.00"), refund("1", "r", "130.00"))
    assert last["refund"] == {"asked": "130.00", "taken": "100.00"}


def test_a_receipt_after_a_new_timeline_has_its_multiplier():
    *_, last = receipts_after(purchase("1", "100.00", hour(1)), tier([(hour(0), "1.25")]))
    assert last["tier"] == {"multiplier": "1.25", "extra": 25}


def test_a_withdrawn_review_has_a_receipt_without_rules():
    *_, last = receipts_after(review("v", "s"), withdrawal("v"))
    assert last == {"rules_version": 1, "engine": 3, "rules": []}


@pytest.mark.parametrize("kind", ["purchase", "review"])
def test_a_receipt_without_its_stored_inputs_cannot_be_rebuilt(kind: str):
    events: dict[str, Any] = {"purchase": purchase("1", "1.00"), "review": review("v", "s")}
    state = new_customers("ann")
    [transaction] = apply(state, events[kind]).transactions
    gone = replace(basis_of(state, transaction), order=None, accrual=None)
    with pytest.raises(LookupError):
        rebuilding.rebuild(gone)


def first_engine(receipt: receipts.Receipt, *lines: dict[str, Any]) -> bytes:
    """The digest of a receipt as the first engine made it."""
    return receipts.digest(receipt | {"engine": 1, "rules": list(lines)})


@pytest.mark.parametrize(
    "events, line",
    [
        ([purchase("1", "10.00")], {"rule": "base", "matched": True, "requested": 10, "awarded": 10}),
        (
            [purchase("1", "10.00"), refund("1", "r", "10.00")],
            {"rule": "base", "matched": True, "requested": 0, "awarded": 0},
        ),
        (
            [review("v", "s", verified=False)],
            {
                "rule": "review",
                "matched": False,
                "why": "not_verified_purchase",
                "requested": 0,
                "awarded": 0,
            },
        ),
    ],
    ids=["bought", "refunded", "not verified"],
)
def test_a_receipt_of_the_first_engine_is_verified_in_its_format(events: Sequence[Event], line: dict[str, Any]):
    state = new_customers("ann")
    basis = basis_of(state, apply(state, *events).transactions[-1])
    now = rebuilding.rebuild(basis)
    then, proved = rebuilding.prove(basis, first_engine(now, line))
    assert (proved, then["engine"], then["rules"]) == (True, 1, [line])
    then, proved = rebuilding.prove(basis, receipts.digest(now | {"engine": 2}))
    assert (proved, then) == (True, now | {"engine": 2})
    assert rebuilding.prove(basis, receipts.digest(now)) == (now, True)
    assert rebuilding.prove(basis, b"another") == (now, False)


def test_a_receipt_of_the_second_engine_is_proved_where_the_extra_was_given_up_with_a_rule_that_did_not_match():
    waiting = rule("p", per_amount(), is_in("sku", "p"), activate=on_delivery(10))
    rules = ruleset(waiting, rule("base", per_amount()))
    basket = lines(("q", "x", "100.00"))
    bought = case("100.00", rules, lines=basket).bought
    order = Order("1", "/shop", hour(0), 1, 1, bought, {}, Standing("silver", "1.25"), {}, None)
    inputs = orders.inputs_of(order.standing, undelivered=["p"])
    basis = Basis("ann", {"kind": "cancellation", "order_id": "1"}, rules, inputs, order, None, None)
    now = rebuilding.rebuild(basis)
    assert (now["engine"], now["tier"]["extra"]) == (3, 25)
    second = now | {"engine": 2, "tier": {"multiplier": "1.25", "extra": 0}}
    assert rebuilding.prove(basis, receipts.digest(second)) == (second, True)
    assert rebuilding.prove(basis, receipts.digest(now | {"engine": 2})) == (now, False)
