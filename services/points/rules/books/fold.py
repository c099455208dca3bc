"""The fold: events of all types in log order, applied to what is known of their customers.

No case is special: whatever arrives changes what is known, and the ledger posts the difference
between what is due and what was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import cast

from services.points.rules.books import births, orders, rebuilding
from services.points.rules.books.accruing import Happening, Occasions
from services.points.rules.books.books import Books, Trigger
from services.points.rules.books.maturity import apply_due, is_due
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.promotions import settle_promotions
from services.points.rules.books.rejudging import Owned, note_rest
from services.points.rules.books.rises import numbered, rises_from
from services.points.rules.books.settling import about_order, deliver, keep_order, settle
from services.points.rules.books.state import Changes, Order
from services.points.rules.books.tiers import (
    FOR_EVER,
    NEWCOMER,
    SINCE_EVER,
    Span,
    TierEntry,
    changed,
    revised,
    standing_before,
)
from services.points.rules.ledger import receipts
from services.points.rules.ledger.transactions import TransactionContext
from services.points.rules.program.birthdays import birthday_at, origins_near
from shared.contracts.envelope import Cause, Event
from shared.contracts.kept import Purchase, Refund, misfit
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import (
    ActivityPerformed,
    CustomerErased,
    CustomerProfile,
    CustomerRegistered,
    PurchaseCompleted,
    PurchaseDelivered,
    PurchaseRefunded,
    ReviewPublished,
    ReviewWithdrawn,
    SurveyAnswered,
)


def fold(books: Books, events: Sequence[Event]) -> Changes:
    """Apply what is due and events in their order; the books are brought up to date, what has to be written returned.

    Raises:
        TypeError: an event has no place in the points service.
    """
    customers = list(books.state.accounts)
    apply_due(books, customers)
    step = _Fold(books)
    step.go_on()
    for event in events:
        step.apply(event)
        # What was just given may be over already (a backfill of orders whose points have expired since): it ends
        # before the next event can take from it, as it would in a batch of its own.
        if is_due(books, event.customer_id):
            apply_due(books, [event.customer_id])
    return books.changes


def entries_of(told: TierChanged) -> list[TierEntry]:
    """The entries of the timeline that an event tells."""
    return [TierEntry(entry.effective_at, entry.tier, entry.points_multiplier) for entry in told.timeline]


@dataclass(slots=True)
class _Fold:
    books: Books
    owned: Owned = field(init=False)
    occasions: Occasions = field(init=False)

    def __post_init__(self) -> None:
        self.owned = Owned(self.books)
        self.occasions = Occasions(self.books)

    def go_on(self) -> None:
        """Settle more of what a timeline changed that came before, of customers of whom not all of it is settled."""
        for customer in list(self.books.state.resettling):
            trigger = self.owned.go_on(customer)
            if trigger is not None:
                self.occasions.retell(customer, [Span(SINCE_EVER, FOR_EVER)], trigger)

    def apply(self, event: Event) -> None:
        match event.data:
            case PurchaseCompleted() as data:
                self._purchase(event, data)
            case PurchaseRefunded() as data:
                self._refund(event, data)
            case PurchaseDelivered() as data:
                self._deliver(event, data)
            case ReviewPublished() | ActivityPerformed() | SurveyAnswered():
                self._happened(event)
            case ReviewWithdrawn() as data:
                self._withdraw(event, data)
            case TierChanged() as data:
                self._tier(event, data)
            case ReferralChanged() as data:
                self.occasions.referral(event, data)
            case CustomerProfile() as data:
                self._profile(event, data)
            case CustomerErased():
                self._learn(event)
            case _:
                raise TypeError(f"{event.type} has no place in the points service")

    def _purchase(self, event: Event, data: PurchaseCompleted) -> None:
        books = self.books
        customer = data.customer_id
        key = (customer, data.order_id)
        known = books.state.orders.get(key)
        if known is not None:
            self._repeated_order(event, data, known)
            return
        about = about_order(data.order_id)
        timeline = books.state.timelines.get(customer)
        standing = NEWCOMER if timeline is None else standing_before(timeline, event.time)
        rules = books.rules.in_force(event.time)
        account = books.state.accounts[customer]
        case = OrderCase(rules, data, event.time, account.orders + 1, standing)
        judgement, found, used = orders.judge_bought(case, books.state.uses)
        due = books.fitting(customer, judgement.due)
        context = TransactionContext(
            event.time,
            books.now,
            about,
            {"kind": "purchase", "order_id": data.order_id},
            rules.version,
            rebuilding.first_inputs(standing),
            receipts.digest_of_order(rules.version, judgement),
            orders=1,
        )
        made = books.earn(customer, orders.grants(case, due, None, books.now), context, Cause.of(event))
        books.state.orders[key] = Order(
            data.order_id,
            event.source,
            event.time,
            case.ordinal,
            rules.version,
            data,
            due,
            standing,
            found,
            None,
            made,
        )
        self.owned.add(key, event.time)
        books.changes.orders_made[key] = None
        self.occasions.count(used)
        for waiting in self._waited(customer, about):
            if isinstance(waiting.data, PurchaseRefunded):
                self._refund(waiting, waiting.data)
            else:
                self._deliver(waiting, cast("PurchaseDelivered", waiting.data))

    def _repeated_order(self, event: Event, data: PurchaseCompleted, known: Order) -> None:
        if event.source != known.source:
            error = f"order_id: {data.order_id} came from {known.source} before, now from {event.source}"
            self._refuse(event, Reason.ORDER_CONFLICT, error)
        else:
            self.occasions.repeat(differs=_as_kept(data) != _as_kept(known.bought) or event.time != known.occurred_at)

    def _refund(self, event: Event, data: PurchaseRefunded) -> None:
        books = self.books
        key = (data.customer_id, data.order_id)
        order = books.state.orders.get(key)
        refund = Refund.of(data, event.time)
        if order is None:
            self._wait(event, about_order(data.order_id), f"refund/{data.refund_id}")
            return
        refunds = books.state.refunds_of(key)
        if data.refund_id in refunds.known:
            self.occasions.repeat(differs=refunds.known[data.refund_id] != refund)
            return
        reason = misfit(Purchase.of(order.bought), refund)
        if reason is not None:
            self._refuse(event, *reason)
            return
        taken = refunds.add(refund)
        books.changes.refunds.append((key, refund, refunds.fold.count))
        keep_order(books, key, order)
        settle(books, key, order.standing, self._trigger(event), taken)

    def _deliver(self, event: Event, data: PurchaseDelivered) -> None:
        key = (data.customer_id, data.order_id)
        order = self.books.state.orders.get(key)
        if order is None:
            self._wait(event, about_order(data.order_id), "delivery/1")
        elif order.delivered_at is not None:
            self.occasions.repeat(differs=event.time != order.delivered_at)
        else:
            deliver(self.books, key, event.time, self._trigger(event))

    def _tier(self, event: Event, data: TierChanged) -> None:
        books = self.books
        customer = data.customer_id
        had = books.state.timelines.get(customer, ())
        timeline = numbered(
            revised(had, entries_of(data), data.effective_at),
            data.effective_at,
            books.state.rises.get(customer, {}),
            lambda moment: books.rules.in_force(moment).document.tiers,
        )
        books.state.timelines[customer] = timeline
        starts = books.changes.timelines
        starts[customer] = min(data.effective_at, starts.get(customer, data.effective_at))
        trigger = self._trigger(event)
        spans = changed(had, timeline)
        for span in spans:
            self.owned.settle_within(customer, span, trigger)
        self.occasions.retell(customer, spans, trigger)
        note_rest(books, customer, trigger)
        before, after = (rises_from(one, data.effective_at) for one in (had, timeline))
        settle_promotions(books, customer, before, after, trigger)

    def _happened(self, event: Event) -> None:
        origin = self.occasions.happened(event)
        if origin is not None:
            for waiting in self._waited(event.customer_id, origin):
                self._withdraw(waiting, cast("ReviewWithdrawn", waiting.data))

    def _withdraw(self, event: Event, data: ReviewWithdrawn) -> None:
        if not self.occasions.withdraw(event, data):
            self._wait(event, f"review/{data.review_id}", f"withdrawal/{data.review_id}")

    def _profile(self, event: Event, data: CustomerProfile) -> None:
        self._learn(event)
        if isinstance(data, CustomerRegistered):
            self.occasions.happened(event)

    def _learn(self, event: Event) -> None:
        """Keep the date of birth that is known after an event; who becomes known on a birthday is awarded it."""
        state, customer = self.books.state, event.customer_id
        known = state.births.get(customer)
        learned = births.learn(known, event)
        if learned is not None and learned != known:
            state.births[customer] = learned
            self.books.changes.births.add(customer)
            if learned.born is not None and any(origins_near(learned.born, self.books.now)):
                self._celebrate(event, learned.born)

    def _celebrate(self, event: Event, born: date) -> None:
        """Award the birthday of today: the daily pipeline may have been through already."""
        books, customer = self.books, event.customer_id
        birthday = birthday_at(born, books.rules.in_force(books.now), books.now)
        if birthday is not None and (customer, birthday.origin) not in books.state.accruals:
            happened = Happening(customer, "birthday", birthday.origin, {}, birthday.starts)
            self.occasions.judge(happened, Trigger(birthday.starts, books.now, Cause.of(event)))

    def _trigger(self, event: Event) -> Trigger:
        return Trigger(event.time, self.books.now, Cause.of(event))

    def _refuse(self, event: Event, reason: Reason, error: str) -> None:
        self.books.changes.refusals.append(Refusal(event, reason, error))

    def _wait(self, event: Event, about: str, natural_id: str) -> None:
        waiting = Waiting(about, natural_id, event)
        self.books.state.waiting.setdefault((event.customer_id, about), []).append(waiting)
        self.books.changes.waiting.append(waiting)

    def _waited(self, customer: str, about: str) -> list[Event]:
        """What waited for this, from earlier batches or from this one, in its order; it waits no longer."""
        state, changes = self.books.state, self.books.changes
        if not state.waiting:
            return []
        waited = state.waiting.pop((customer, about), [])
        if waited and changes.waiting:
            changes.waiting = [one for one in changes.waiting if not any(one is other for other in waited)]
        return [one.event for one in sorted(waited, key=lambda one: (one.event.time, one.natural_id))]


def _as_kept(order: PurchaseCompleted) -> PurchaseCompleted:
    """An order without its coupon codes: no rule looks at them and they may name a person, so nothing keeps them."""
    return order.model_copy(update={"coupon_codes": ()})
