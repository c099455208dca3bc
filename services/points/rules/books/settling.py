"""Settling: the ledger posts the difference between what an order is due and what it was given so far."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from services.points.rules.books import orders
from services.points.rules.books.books import Books
from services.points.rules.books.differences import after, differences, lost_of
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.state import Key, Order
from services.points.rules.books.tiers import Standing, TierEntry, standing_before
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import postings, receipts
from services.points.rules.program.compiled_rule import TIER, is_extra
from services.points.rules.program.earning import PURCHASE
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.refunds import Kept, Taken


def case_of(order: Order, rules: RuleBook, standing: Standing) -> OrderCase:
    """An order as it is judged at a tier."""
    return OrderCase(rules.version(order.rules_version), order.bought, order.occurred_at, order.ordinal, standing)


def settle(books: Books, key: Key, standing: Standing, trigger: Trigger, refund: Taken | None = None) -> None:
    """Settle an order at the tier that it is judged by now, after `refund` or after anything else that changed it."""
    order = books.state.orders[key]
    case = case_of(order, books.rules, standing)
    kept = books.state.kept_of(key)
    given_up = orders.undelivered(case, order.delivered_at, trigger.recorded_at)
    judgement = orders.judge_kept(case, kept, order.cuts, given_up)
    origin = PURCHASE.origin_of(order.order_id)
    more, less = differences(judgement.due, order.given, lost_of(books.own_lots((key[0], origin))))
    more = books.fitting(key[0], more)
    if more or less:
        receipt = receipts.of_order(order.rules_version, judgement, refund)
        count = 0 if kept is None else books.state.refunds_of(key).fold.count
        inputs = orders.inputs_of(standing, count, refund, given_up)
        reason = _reason(order, refund, _kind(order, standing, given_up))
        context = trigger.context_of_rules(origin, reason, receipt, inputs)
        if less:
            books.attribute(key, books.take_back(key[0], less, context, trigger.cause))
        if more:
            granted = orders.grants(case, more, order.delivered_at, books.now)
            books.attribute(key, books.earn(key[0], granted, context, trigger.cause))
    if more or less or standing != order.standing:
        books.keep_order(key, replace(order, given=after(order.given, more, less), standing=standing))


def _reason(order: Order, refund: Taken | None, kind: str) -> dict[str, str]:
    if refund is not None:
        return {"kind": "refund", "order_id": order.order_id, "refund_id": refund.refund_id}
    return {"kind": kind, "order_id": order.order_id}


def _kind(order: Order, standing: Standing, given_up: frozenset[str]) -> str:
    """The kind of the reason for settling an order again without a new refund."""
    if standing != order.standing:
        return "tier"
    return "cancellation" if given_up else PURCHASE.reason


def deliver(books: Books, key: Key, delivered_at: datetime, trigger: Trigger) -> None:
    """Activate what waited for an order's delivery; points that were given up before come back with it."""
    order = replace(books.state.orders[key], delivered_at=delivered_at)
    books.keep_order(key, order)
    settle(books, key, order.standing, trigger)
    order = books.state.orders[key]
    case = case_of(order, books.rules, order.standing)
    starts = max(order.occurred_at, delivered_at)
    origin = PURCHASE.origin_of(order.order_id)
    lots = [
        lot._replace(activates_at=starts, expires_at=orders.expiry_after_delivery(case, lot.rule, delivered_at))
        for lot in books.own_lots((key[0], origin))
        if lot.pending and lot.activates_at is None and lot.remaining
    ]
    if lots:
        context = trigger.context(origin, PURCHASE.reason_of(order.order_id))
        entry = postings.activate(books.state.accounts[key[0]], lots, context, books.ids)
        books.attribute(key, books.record(entry, trigger.cause))
    close_waiting_lots(books, key)


def close_waiting_lots(books: Books, key: Key) -> None:
    """Let empty lots of an order wait for its delivery no longer: it came, or was given up."""
    books.keep_lots(
        [
            lot._replace(pending=False)
            for lot in books.own_lots((key[0], PURCHASE.origin_of(key[1])))
            if lot.pending and lot.activates_at is None and not lot.remaining
        ]
    )


def due_for(
    order: Order, kept: Kept | None, timeline: Sequence[TierEntry], rules: RuleBook, at: datetime
) -> Iterator[Mapping[str, int]]:
    """What an order is due by everything recorded about it at an instant: the ledger has to have given this.

    Second, what it was due by version 2 of the engine, for an order that was last settled by that version.
    """
    case = case_of(order, rules, standing_before(timeline, order.occurred_at))
    given_up = orders.undelivered(case, order.delivered_at, at)
    yield orders.judge_kept(case, kept, order.cuts, given_up).due
    older = orders.judge_kept(case, kept, order.cuts, given_up, 2).due
    yield {TIER if is_extra(name) else name: points for name, points in older.items()}
