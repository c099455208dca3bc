"""Settling: the ledger posts the difference between what an order is due and what was given for it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from services.points.rules.books import orders, rebuilding
from services.points.rules.books.books import Books, Trigger, after, differences, lost_of, plain_context, rules_context
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.state import Key, Order
from services.points.rules.books.tiers import Standing, TierEntry, standing_before
from services.points.rules.ledger import postings, receipts
from services.points.rules.program.compiled_rule import TIER, is_extra
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.kept import Kept, Taken


def about_order(order_id: str) -> str:
    """What refunds and deliveries wait for, and where an order's lots come from."""
    return f"order/{order_id}"


def case_of(order: Order, rules: RuleBook, standing: Standing) -> OrderCase:
    """An order as it is judged at a tier."""
    return OrderCase(rules.version(order.rules_version), order.bought, order.occurred_at, order.ordinal, standing)


def settle(books: Books, key: Key, standing: Standing, trigger: Trigger, refund: Taken | None = None) -> None:
    """Settle an order at the tier that it is judged by now, after `refund` or whatever else was learned of it."""
    order = books.state.orders[key]
    case = case_of(order, books.rules, standing)
    kept = books.state.kept_of(key)
    given_up = orders.undelivered(case, order.delivered_at, trigger.recorded_at)
    judgement = orders.judge_kept(case, kept, order.cuts, given_up)
    origin = about_order(order.order_id)
    more, less = differences(judgement.due, order.given, lost_of(books.own_lots((key[0], origin))))
    more = books.fitting(key[0], more)
    if more or less:
        receipt = receipts.of_order(order.rules_version, judgement, refund)
        count = 0 if kept is None else books.state.refunds_of(key).fold.count
        inputs = rebuilding.inputs_of_order(standing, count, refund, given_up)
        why = rules_context(trigger, origin, _reason(order, refund, _kind(order, standing, given_up)), receipt, inputs)
        if less:
            note_transaction(books, key, books.take_back(key[0], less, why, trigger.cause))
        if more:
            granted = orders.grants(case, more, order.delivered_at, books.now)
            note_transaction(books, key, books.earn(key[0], granted, why, trigger.cause))
    if more or less or standing != order.standing:
        keep_order(books, key, replace(order, given=after(order.given, more, less), standing=standing))


def note_transaction(books: Books, key: Key, transaction_id: UUID) -> None:
    """Note that the customer's last transaction is of an order, as its purchase's is."""
    sequence = books.state.accounts[key[0]].sequence
    books.changes.order_transactions.append((*key, sequence, transaction_id))


def _reason(order: Order, refund: Taken | None, kind: str) -> dict[str, str]:
    if refund is not None:
        return {"kind": "refund", "order_id": order.order_id, "refund_id": refund.refund_id}
    return {"kind": kind, "order_id": order.order_id}


def _kind(order: Order, standing: Standing, given_up: frozenset[str]) -> str:
    """Why an order without a new refund is settled again."""
    if standing != order.standing:
        return "tier"
    return "cancellation" if given_up else "purchase"


def keep_order(books: Books, key: Key, order: Order) -> None:
    """Keep what is known of an order now; one that was made in this batch stays one to be made."""
    books.state.orders[key] = order
    if key not in books.changes.orders_made:
        books.changes.orders_changed[key] = None


def deliver(books: Books, key: Key, delivered_at: datetime, trigger: Trigger) -> None:
    """Make what waited for an order's delivery available; what was given up before it comes back with it."""
    order = replace(books.state.orders[key], delivered_at=delivered_at)
    keep_order(books, key, order)
    settle(books, key, order.standing, trigger)
    order = books.state.orders[key]
    case = case_of(order, books.rules, order.standing)
    starts = max(order.occurred_at, delivered_at)
    origin = about_order(order.order_id)
    lots = [
        lot._replace(activates_at=starts, expires_at=orders.expiry_after_delivery(case, lot.rule, delivered_at))
        for lot in books.own_lots((key[0], origin))
        if lot.pending and lot.activates_at is None and lot.remaining
    ]
    if lots:
        why = plain_context(trigger, origin, {"kind": "purchase", "order_id": order.order_id})
        entry = postings.activate(books.state.accounts[key[0]], lots, why, books.ids)
        note_transaction(books, key, books.record(entry, trigger.cause))
    close_waiting(books, key)


def close_waiting(books: Books, key: Key) -> None:
    """See that lots wait for no delivery any more of which nothing is left: it came, or was given up."""
    drained = [
        lot._replace(pending=False)
        for lot in books.own_lots((key[0], about_order(key[1])))
        if lot.pending and lot.activates_at is None and not lot.remaining
    ]
    if drained:
        books.lots_of(key[0]).update({lot.id: lot for lot in drained})
        books.changes.keep_lots((), drained)


def due_for(
    order: Order, kept: Kept | None, timeline: Sequence[TierEntry], rules: RuleBook, at: datetime
) -> Iterator[Mapping[str, int]]:
    """What an order is due by all that is known of it at an instant: the ledger has to have given just this.

    Second, what it was due by the engine before: an order that was settled by it last has that.
    """
    case = case_of(order, rules, standing_before(timeline, order.occurred_at))
    given_up = orders.undelivered(case, order.delivered_at, at)
    yield orders.judge_kept(case, kept, order.cuts, given_up).due
    older = orders.judge_kept(case, kept, order.cuts, given_up, 2).due
    yield {TIER if is_extra(name) else name: points for name, points in older.items()}
