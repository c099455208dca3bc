"""A batch of events: the state that it concerns is loaded once, folded, and written once."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from services.points.handlers.opening import open_batch
from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.fold import entries_of, fold
from services.points.rules.books.state import State
from services.points.rules.books.tiers import entries_before
from services.points.rules.program import birthdays, earning
from services.points.rules.program.birthdays import origins_near
from services.points.rules.program.earning import PURCHASE, REFERRAL, REVIEW
from services.points.rules.program.limits import UseKey
from services.points.rules.program.ruleset import RuleBook
from services.points.store import erasing, limits, loading, rules
from services.points.store.loading import Wanted
from services.points.store.rejudging import Revision
from shared import telemetry
from shared.contracts.envelope import Event
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.outcomes import Refusal
from shared.contracts.refunds import Refund
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
    async with open_batch(connection, state, book, now) as books:
        if keys := {*_uses(events, state, book), *_uses_of_birthdays(born, book, now)}:
            books.add_uses(await limits.load(connection, keys))
        changes = fold(books, events)
    await erasure.apply(connection, events, erasing.erase, now)
    telemetry.DUPLICATES.labels("natural_key").inc(changes.repeats)
    telemetry.DUPLICATES.labels("repeat_differs").inc(changes.repeats_that_differ)
    telemetry.UNLISTED_TIERS.inc(changes.unlisted_tiers)
    return changes.refusals


_TWO_DAYS: Final = timedelta(days=2)


def _born_near(events: Iterable[Event], now: datetime) -> Iterator[tuple[str, date]]:
    """Customers with a date of birth in an event, whose birthday may be today; with the date."""
    for event in events:
        born = event.data.birth_date if isinstance(event.data, CustomerProfile) else None
        if born is not None and any(origins_near(born, now)):
            yield event.customer_id, born


async def _rules(
    connection: Connection, state: State, events: Sequence[Event], moments: Sequence[datetime]
) -> RuleBook:
    """The versions in force at `moments` and at the times of the events, and those that the state was judged by."""
    times = [*moments, *(event.time for event in events)]
    times += [waiting.event.time for waiting_events in state.waiting.values() for waiting in waiting_events]
    for event in events:
        if isinstance(event.data, TierChanged):
            # A promotion is judged as of its own instant, and by the tier before it.
            times += [entry.effective_at for entry in event.data.timeline]
            stored = entries_before(state.timelines.get(event.customer_id, ()), event.data.effective_at)
            times += [entry.effective_at for entry in stored[-1:]]
    return await rules.book_at(connection, times, state.rules_versions)


def _uses(events: Sequence[Event], state: State, book: RuleBook) -> Iterator[UseKey]:
    """The keys of every use of a limit that the events may read or free."""
    for event in events:
        in_force = book.in_force(event.time)
        if isinstance(event.data, PurchaseCompleted):
            if in_force.limits_purchases:
                yield from orders.use_keys(in_force, event.data, event.time)
        elif (reported := earning.accruing(event)) is not None:
            case = AccrualCase(in_force, event.customer_id, reported.on, event.time, reported.facts, None)
            yield from accruals.use_keys(case)
        elif isinstance(event.data, TierChanged):
            yield from _uses_of_promotions(event.customer_id, event.data, book)
    for (customer, _), accrual in state.accruals.items():
        version = book.version(accrual.rules_version)
        yield from accruals.use_keys(accruals.case_of(accrual, version, customer, accrual.tier))


def _uses_of_birthdays(born: Iterable[tuple[str, date]], book: RuleBook, now: datetime) -> Iterator[UseKey]:
    for customer, date_ in born:
        birthday = birthdays.birthday_at(date_, book.in_force(now), now)
        if birthday is not None:
            case = AccrualCase(book.in_force(birthday.starts), customer, "birthday", birthday.starts, {}, None)
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
                wanted.waited_for.add((event.customer_id, PURCHASE.origin_of(order_id)))
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
    """What has to be loaded for an event that concerns no order."""
    customer = event.customer_id
    if (reported := earning.accruing(event)) is not None:
        wanted.accruals.add((customer, reported.origin))
    match event.data:
        case ReviewPublished(review_id=review_id):
            wanted.waited_for.add((customer, REVIEW.origin_of(review_id)))
        case ReviewWithdrawn(review_id=review_id):
            wanted.accruals.add((customer, REVIEW.origin_of(review_id)))
        case TierChanged(effective_at=effective_at, timeline=timeline) as data:
            wanted.revisions.setdefault(customer, []).append(Revision(effective_at, entries_of(data)))
            wanted.tiers.setdefault(customer, []).extend(entry.tier for entry in timeline)
        case ReferralChanged(friend_id=friend, referral_id=referral_id):
            wanted.customers.add(friend)
            wanted.payments.update(((customer, referral_id), (friend, referral_id)))
            wanted.accruals.add((customer, REFERRAL.origin_of(referral_id)))
        case CustomerErased() | CustomerRegistered():
            wanted.births.add(customer)
        case CustomerProfile() as data if data.sets("birth_date"):
            wanted.births.add(customer)
        case _:
            pass
