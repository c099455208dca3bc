"""The fold: events of all types in log order, applied to the books of their customers.

No case is special: every event changes the state, and the ledger posts the difference between what is due and
what was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast

from services.points.rules.books import accruing, births, orders, rejudging
from services.points.rules.books.accruing import Happening
from services.points.rules.books.books import Books
from services.points.rules.books.maturity import apply_due, is_due
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.promotions import settle_promotions
from services.points.rules.books.referrals import settle_referral
from services.points.rules.books.rises import numbered, rises_from, unlisted
from services.points.rules.books.settling import deliver, settle
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
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import receipts
from services.points.rules.ledger.transactions import TransactionContext
from services.points.rules.program.birthdays import birthday_at, origins_near
from services.points.rules.program.earning import BY_EVENT, PURCHASE, REVIEW
from shared.contracts.envelope import Cause, Event
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.orders import Verdict, admit_delivery, admit_purchase, admit_refund, content_of_refund
from shared.contracts.outcomes import Refusal
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import (
    CustomerErased,
    CustomerProfile,
    CustomerRegistered,
    PurchaseCompleted,
    PurchaseDelivered,
    PurchaseRefunded,
    ReviewWithdrawn,
)


def fold(books: Books, events: Sequence[Event]) -> Changes:
    """Apply what is due, then events in their order; returns what has to be written.

    Raises:
        TypeError: the points service has no rule for an event.
    """
    apply_due(books, list(books.state.accounts))
    step = _Fold(books)
    step.go_on()
    for event in events:
        step.apply(event)
        # What was just given may be over already (a backfill of orders whose points have expired since): it expires
        # before the next event can take from it, as it would in a batch of its own.
        if is_due(books, event.customer_id):
            apply_due(books, [event.customer_id])
    return books.changes


def entries_of(data: TierChanged) -> list[TierEntry]:
    """The entries of the timeline that an event carries."""
    return [TierEntry(entry.effective_at, entry.tier, entry.points_multiplier) for entry in data.timeline]


@dataclass(slots=True)
class _Fold:
    books: Books

    def go_on(self) -> None:
        """Settle more of the timelines of which an earlier transaction settled only a part."""
        for customer in list(self.books.state.resettling):
            trigger = rejudging.go_on(self.books, customer)
            if trigger is not None:
                accruing.settle_again(self.books, customer, [Span(SINCE_EVER, FOR_EVER)], trigger)

    def apply(self, event: Event) -> None:
        match event.data:
            case PurchaseCompleted() as data:
                self._purchase(event, data)
            case PurchaseRefunded() as data:
                self._refund(event, data)
            case PurchaseDelivered() as data:
                self._deliver(event, data)
            case ReviewWithdrawn() as data:
                self._withdraw(event, data)
            case TierChanged() as data:
                self._tier(event, data)
            case ReferralChanged() as data:
                settle_referral(self.books, event, data)
            case CustomerRegistered():
                self._learn_birth(event)
                accruing.accrue(self.books, event)
            case CustomerProfile() | CustomerErased():
                self._learn_birth(event)
            case _ if event.type in BY_EVENT:
                self._accrue(event)
            case _:
                raise TypeError(f"the points service has no rule for {event.type}")

    def _purchase(self, event: Event, data: PurchaseCompleted) -> None:
        books = self.books
        customer = data.customer_id
        key = (customer, data.order_id)
        existing = books.state.orders.get(key)
        if existing is not None:
            self._has_effect(admit_purchase(event, existing))
            return
        origin = PURCHASE.origin_of(data.order_id)
        timeline = books.state.timelines.get(customer)
        standing = NEWCOMER if timeline is None else standing_before(timeline, event.time)
        rules = books.rules.in_force(event.time)
        ordinal = books.state.accounts[customer].orders + 1
        case = OrderCase(rules, data, event.time, ordinal, standing)
        judgement, cuts, used = orders.judge_bought(case, books.state.uses)
        given = books.fitting(customer, judgement.due)
        context = TransactionContext(
            event.time,
            books.now,
            origin,
            {"kind": "purchase", "order_id": data.order_id},
            rules.version,
            orders.first_inputs(standing),
            receipts.digest_of_order(rules.version, judgement),
            orders=1,
        )
        made = books.earn(customer, orders.grants(case, given, None, books.now), context, Cause.of(event))
        order = Order(
            data.order_id,
            event.source,
            event.time,
            ordinal,
            rules.version,
            data,
            given,
            standing,
            cuts,
            None,
            made,
        )
        books.add_order(key, order)
        if used:
            books.count_uses(used)
        for waiting in books.take_waiting(customer, origin) if books.state.waiting else ():
            if isinstance(waiting.data, PurchaseRefunded):
                self._refund(waiting, waiting.data)
            else:
                self._deliver(waiting, cast("PurchaseDelivered", waiting.data))

    def _refund(self, event: Event, data: PurchaseRefunded) -> None:
        books = self.books
        key = (data.customer_id, data.order_id)
        order = books.state.orders.get(key)
        if order is None:
            books.let_wait(event, PURCHASE.origin_of(data.order_id), f"refund/{data.refund_id}")
            return
        refund = Refund.of(data, event.time)
        first = books.state.refunds_of(key).by_id.get(data.refund_id)
        recorded = None if first is None else content_of_refund(first)
        if self._has_effect(admit_refund(event, refund, Purchase.of(order.bought), recorded)):
            taken = books.add_refund(key, refund)
            settle(books, key, order.standing, Trigger.of(event, books.now), taken)

    def _deliver(self, event: Event, data: PurchaseDelivered) -> None:
        books = self.books
        key = (data.customer_id, data.order_id)
        order = books.state.orders.get(key)
        if order is None:
            books.let_wait(event, PURCHASE.origin_of(data.order_id), "delivery/1")
        elif self._has_effect(admit_delivery(event, order.delivered_at, is_ordered=True)):
            deliver(books, key, event.time, Trigger.of(event, books.now))

    def _has_effect(self, verdict: Verdict | Refusal) -> bool:
        """Whether an event about a recorded order has an effect; otherwise it is refused, or counted as a repeat."""
        if isinstance(verdict, Refusal):
            self.books.refuse(verdict)
        elif verdict is not Verdict.NEW:
            self.books.note_repeat(differs=verdict is Verdict.DIFFERING_REPEAT)
        return verdict is Verdict.NEW

    def _tier(self, event: Event, data: TierChanged) -> None:
        books = self.books
        customer = data.customer_id
        before, entries = books.state.timelines.get(customer, ()), entries_of(data)

        def ladder_at(moment: datetime) -> Sequence[str]:
            return books.rules.in_force(moment).document.tiers

        timeline = numbered(
            revised(before, entries, data.effective_at),
            data.effective_at,
            books.state.rises.get(customer, {}),
            ladder_at,
        )
        books.note_unlisted(len(unlisted(entries, ladder_at)))
        books.set_timeline(customer, timeline, data.effective_at)
        trigger = Trigger.of(event, books.now)
        spans = changed(before, timeline)
        for span in spans:
            rejudging.settle_within(books, customer, span, trigger)
        accruing.settle_again(books, customer, spans, trigger)
        rejudging.note_rest(books, customer, trigger)
        had, has = rises_from(before, data.effective_at), rises_from(timeline, data.effective_at)
        settle_promotions(books, customer, had, has, trigger)

    def _accrue(self, event: Event) -> None:
        origin = accruing.accrue(self.books, event)
        if origin is not None:
            for waiting in self.books.take_waiting(event.customer_id, origin):
                self._withdraw(waiting, cast("ReviewWithdrawn", waiting.data))

    def _withdraw(self, event: Event, data: ReviewWithdrawn) -> None:
        if not accruing.withdraw_review(self.books, event, data):
            self.books.let_wait(event, REVIEW.origin_of(data.review_id), f"withdrawal/{data.review_id}")

    def _learn_birth(self, event: Event) -> None:
        """Keep the date of birth after an event; a birth date that arrives on the birthday is awarded."""
        books, customer = self.books, event.customer_id
        before = books.state.births.get(customer)
        birth = births.learn(before, event)
        if birth is not None and birth != before:
            books.keep_birth(customer, birth)
            if birth.born is not None and any(origins_near(birth.born, books.now)):
                self._celebrate(event, birth.born)

    def _celebrate(self, event: Event, born: date) -> None:
        """Award the birthday of today: the daily pipeline may have run already."""
        books, customer = self.books, event.customer_id
        birthday = birthday_at(born, books.rules.in_force(books.now), books.now)
        if birthday is not None and (customer, birthday.origin) not in books.state.accruals:
            happening = Happening(customer, "birthday", birthday.origin, {}, birthday.starts)
            accruing.award(books, happening, Trigger(birthday.starts, books.now, Cause.of(event)))
