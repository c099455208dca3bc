"""A batch of events: what it is about is loaded once, folded, and written once."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from services.points.handlers.announcing import new_ids, save_and_announce
from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase, case_of
from services.points.rules.books.accruing import told_by
from services.points.rules.books.books import Books
from services.points.rules.books.fold import entries_of, fold
from services.points.rules.books.settling import about_order
from services.points.rules.books.state import State
from services.points.rules.program import birthdays
from services.points.rules.program.birthdays import origins_near
from services.points.rules.program.limits import UseKey
from services.points.rules.program.ruleset import RuleBook
from services.points.store import erasing, limits, loading, rules
from services.points.store.loading import Wanted
from services.points.store.rejudging import Telling
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.outcomes import Refusal
from shared.contracts.shop import (
    CustomerErased,
    CustomerProfile,
    CustomerRegistered,
    PurchaseCompleted,
    PurchaseDelivered,
    PurchaseRefunded,
    ReviewPublished,
    ReviewWithdrawn,
)
from shared.messaging import erasure
from shared.postgres.pool import Connection


async def handle(connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
    """Apply events to the books of their customers; returns what the rules refused."""
    wanted = wanted_by(events)
    born = list(_born_near(events, now))
    wanted.accruals.update((customer, origin) for customer, date in born for origin in origins_near(date, now))
    if born:
        judged = [(customer, at) for customer, _ in born for at in (now, now - _TWO_DAYS)]
        moments = wanted.moments
        wanted.moments = lambda: (*moments(), *judged)
    state = await loading.load(connection, wanted, now)
    book = await _rules(connection, state, events, [now, now - _TWO_DAYS] if born else [])
    if keys := {*_uses(events, state, book), *_uses_of_birthdays(born, book, now)}:
        state.uses.update(await limits.load(connection, keys))
    changes = fold(Books(state, book, now, new_ids()), events)
    await save_and_announce(connection, state, changes)
    await erasure.apply(connection, events, erasing.erase, now)
    telemetry.DUPLICATES.labels("natural_key").inc(changes.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(changes.repeats_that_differ)
    return changes.refusals


_TWO_DAYS: Final = timedelta(days=2)


def _born_near(events: Iterable[Event], now: datetime) -> Iterator[tuple[str, date]]:
    """Customers of whom an event tells a date of birth whose birthday may be today, with the date."""
    for event in events:
        born = event.data.birth_date if isinstance(event.data, CustomerProfile) else None
        if born is not None and any(origins_near(born, now)):
            yield event.customer_id, born


async def _rules(
    connection: Connection, state: State, events: Sequence[Event], moments: Sequence[datetime]
) -> RuleBook:
    """The versions in force at the times of the events and some others, and those that anything known was judged by."""
    times = [*moments, *(event.time for event in events)]
    times += [one.event.time for waiting in state.waiting.values() for one in waiting]
    # A promotion is judged as of its own instant.
    times += [
        one.effective_at for event in events if isinstance(event.data, TierChanged) for one in event.data.timeline
    ]
    judged = {order.rules_version for order in state.orders.values()}
    judged |= {accrual.rules_version for accrual in state.accruals.values()}
    return await rules.book_at(connection, times, judged)


def _uses(events: Sequence[Event], state: State, book: RuleBook) -> Iterator[UseKey]:
    """Every use of a limit that the events may go by, or free."""
    for event in events:
        in_force = book.in_force(event.time)
        if isinstance(event.data, PurchaseCompleted):
            if in_force.limits_purchases:
                yield from orders.use_keys(in_force, event.data, event.time)
        elif (found := told_by(event)) is not None:
            on, _, told = found
            yield from accruals.use_keys(AccrualCase(in_force, event.customer_id, on, event.time, told, None))
        elif isinstance(event.data, TierChanged):
            yield from _uses_of_promotions(event.customer_id, event.data, book)
    for (customer, _), accrual in state.accruals.items():
        version = book.version(accrual.rules_version)
        yield from accruals.use_keys(case_of(accrual, version, customer, accrual.tier))


def _uses_of_birthdays(born: Iterable[tuple[str, date]], book: RuleBook, now: datetime) -> Iterator[UseKey]:
    for customer, date_ in born:
        found = birthdays.birthday_at(date_, book.in_force(now), now)
        if found is not None:
            case = AccrualCase(book.in_force(found.starts), customer, "birthday", found.starts, {}, None)
            yield from accruals.use_keys(case)


def _uses_of_promotions(customer: str, data: TierChanged, book: RuleBook) -> Iterator[UseKey]:
    for entry in data.timeline:
        at = entry.effective_at
        yield from accruals.use_keys(AccrualCase(book.in_force(at), customer, "tier_promotion", at, {}, entry.tier))


def wanted_by(events: Sequence[Event]) -> Wanted:
    """What has to be loaded for events."""
    wanted = Wanted(moments=lambda: ((event.customer_id, event.time) for event in events))
    for event in events:
        wanted.customers.add(event.customer_id)
        match event.data:
            case PurchaseCompleted(order_id=order_id):
                key = (event.customer_id, order_id)
                wanted.orders.add(key)
                wanted.changed.add(key)
                wanted.waited_for.add((event.customer_id, about_order(order_id)))
            case PurchaseRefunded(order_id=order_id) | PurchaseDelivered(order_id=order_id):
                key = (event.customer_id, order_id)
                wanted.orders.add(key)
                wanted.changed.add(key)
                if isinstance(event.data, PurchaseRefunded):
                    wanted.refunds.setdefault(key, []).append(Refund.of(event.data, event.time))
            case _:
                _want_besides(wanted, event)
    return wanted


def _want_besides(wanted: Wanted, event: Event) -> None:
    """What has to be loaded for an event that is about no order."""
    customer = event.customer_id
    if (found := told_by(event)) is not None:
        wanted.accruals.add((customer, found[1]))
    match event.data:
        case ReviewPublished(review_id=review_id):
            wanted.waited_for.add((customer, f"review/{review_id}"))
        case ReviewWithdrawn(review_id=review_id):
            wanted.accruals.add((customer, f"review/{review_id}"))
        case TierChanged(effective_at=effective_at, timeline=timeline) as data:
            wanted.retold.setdefault(customer, []).append(Telling(effective_at, entries_of(data)))
            wanted.tiers.setdefault(customer, []).extend(entry.tier for entry in timeline)
        case ReferralChanged(friend_id=friend, referral_id=referral_id):
            wanted.customers.add(friend)
            wanted.payments.update(((customer, referral_id), (friend, referral_id)))
            wanted.accruals.add((customer, f"referral/{referral_id}"))
        case CustomerErased() | CustomerRegistered():
            wanted.births.add(customer)
        case CustomerProfile() as data if data.tells("birth_date"):
            wanted.births.add(customer)
        case _:
            pass
