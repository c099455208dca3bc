"""The fold: events of all types in log order, applied to what is known of their customers.

No case is special: whatever arrives changes what is known, and the ledger posts the difference
between what is due and what was given.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, cast
from uuid import UUID

from services.points.rules import ledger, receipts
from services.points.rules.earning import (
    DEFAULT,
    REFERRAL,
    REVIEW,
    TIER,
    EarningRules,
    TierEntry,
    judge_order,
    judge_review,
    multiplier_before,
    revised,
)
from services.points.rules.known import Announced, Changes, Key, Order, Payment, Review, State
from services.points.rules.ledger import Movement, Occasion
from services.points.rules.receipts import Receipt
from shared.contracts.envelope import Cause, Event
from shared.contracts.kept import Purchase, Refund, Taken, keep, misfit
from shared.contracts.loyalty import ReferralChanged, TierChanged
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import (
    PurchaseCompleted,
    PurchaseRefunded,
    ReviewPublished,
    ReviewWithdrawn,
)


def about_order(order_id: str) -> str:
    """What a refund waits for."""
    return f"order/{order_id}"


def about_review(review_id: str) -> str:
    """What a withdrawal waits for."""
    return f"review/{review_id}"


def fold(state: State, events: Sequence[Event], now: datetime, ids: Iterator[UUID]) -> Changes:
    """Apply events in their order; `state` is brought up to date, what has to be written is returned."""
    step = _Fold(state, now, ids)
    for event in events:
        step.apply(event)
    return step.changes


@dataclass(slots=True)
class _Fold:
    state: State
    now: datetime
    ids: Iterator[UUID]
    changes: Changes = field(default_factory=Changes)
    rules: EarningRules = DEFAULT
    owned: dict[str, list[Key]] = field(default_factory=lambda: defaultdict(list), init=False)
    """The orders known of each customer."""

    def __post_init__(self) -> None:
        for key in self.state.orders:
            self.owned[key[0]].append(key)

    def apply(self, event: Event) -> None:
        match event.data:
            case PurchaseCompleted() as data:
                self._purchase(event, data)
            case PurchaseRefunded() as data:
                self._refund(event, data)
            case ReviewPublished() as data:
                self._review(event, data)
            case ReviewWithdrawn() as data:
                self._withdraw(event, data)
            case TierChanged() as data:
                self._tier(event, data)
            case ReferralChanged() as data:
                self._referral(event, data)
            case _:
                raise TypeError(f"{event.type} has no place in the points service")

    def _purchase(self, event: Event, data: PurchaseCompleted) -> None:
        key = (data.customer_id, data.order_id)
        known = self.state.orders.get(key)
        if known is not None:
            self._repeated_order(event, data, known)
            return
        about = about_order(data.order_id)
        multiplier = multiplier_before(self.state.timelines.get(data.customer_id, ()), event.time)
        judgement = judge_order(data.currency, Decimal(data.total), multiplier, self.rules)
        occasion = Occasion(
            occurred_at=event.time,
            recorded_at=self.now,
            origin=about,
            reason={"kind": "purchase", "order_id": data.order_id},
            rules_version=self.rules.version,
            inputs={"multiplier": multiplier},
            receipt_digest=receipts.digest_of_order(self.rules.version, judgement),
            orders=1,
        )
        due = judgement.due
        movement = ledger.earn(self.state.accounts[data.customer_id], due, occasion, self.ids)
        self.state.orders[key] = Order(
            order_id=data.order_id,
            source=event.source,
            occurred_at=event.time,
            ordinal=movement.transaction.account.orders,
            rules_version=self.rules.version,
            bought=data,
            given=due,
            multiplier=multiplier,
            transaction_ids=(movement.transaction.id,),
        )
        self.owned[data.customer_id].append(key)
        self.changes.orders_made[key] = None
        self._record(event, movement, movement.transaction.points - judgement.extra)
        for waiting in self._waited(data.customer_id, about):
            self._refund(waiting, cast("PurchaseRefunded", waiting.data))

    def _repeated_order(self, event: Event, data: PurchaseCompleted, known: Order) -> None:
        if event.source != known.source:
            error = f"order_id: {data.order_id} came from {known.source} before, now from {event.source}"
            self.changes.refusals.append(Refusal(event, Reason.ORDER_CONFLICT, error))
        else:
            self._repeat(differs=data != known.bought or event.time != known.occurred_at)

    def _refund(self, event: Event, data: PurchaseRefunded) -> None:
        key = (data.customer_id, data.order_id)
        order = self.state.orders.get(key)
        refund = Refund.of(data, event.time)
        if order is None:
            self._wait(event, about_order(data.order_id), f"refund/{data.refund_id}")
            return
        refunds = self.state.refunds.setdefault(key, {})
        if data.refund_id in refunds:
            self._repeat(differs=refunds[data.refund_id] != refund)
            return
        reason = misfit(Purchase.of(order.bought), refund)
        if reason is not None:
            self.changes.refusals.append(Refusal(event, *reason))
            return
        refunds[data.refund_id] = refund
        self.changes.refunds.append((key, refund))
        self._settle(event, key, order.multiplier, refund)

    def _tier(self, event: Event, data: TierChanged) -> None:
        customer = data.customer_id
        told = [TierEntry(one.effective_at, one.tier, one.points_multiplier) for one in data.timeline]
        timeline = revised(self.state.timelines.get(customer, ()), told, data.effective_at)
        self.state.timelines[customer] = timeline
        self.changes.timelines[customer] = min(
            data.effective_at, self.changes.timelines.get(customer, data.effective_at)
        )
        known = [self.state.orders[key] for key in self.owned[customer]]
        for order in sorted(known, key=lambda one: (one.occurred_at, one.order_id)):
            multiplier = multiplier_before(timeline, order.occurred_at)
            if order.occurred_at > data.effective_at and multiplier != order.multiplier:
                self._settle(event, (customer, order.order_id), multiplier, None)

    def _settle(self, event: Event, key: Key, multiplier: str, refund: Refund | None) -> None:
        """Post the difference between what an order is due and what was given for it."""
        order = self.state.orders[key]
        kept = keep(Purchase.of(order.bought), self.state.refunds.get(key, _NO_REFUNDS).values())
        amount = Fraction(0) if kept.gone else kept.total
        judgement = judge_order(order.bought.currency, amount, multiplier, self.rules)
        due = judgement.due
        more, less = differences(due, order.given)
        taken = _find(kept.refunds, refund)
        receipt = receipts.of_order(order.rules_version, judgement, taken)
        inputs: dict[str, Any] = {"multiplier": multiplier, "refunds": [one.refund_id for one in kept.refunds]}
        reason = {"kind": "tier", "order_id": order.order_id}
        if refund is not None:
            inputs["refund"] = refund.refund_id
            reason = {"kind": "refund", "order_id": order.order_id, "refund_id": refund.refund_id}
        occasion = self._occasion(event, about_order(order.order_id), reason, receipt, inputs)
        made: list[UUID] = []
        if less:
            made.append(self._take_back(event, occasion, less, sum(less.values()) - less.get(TIER, 0)))
        if more:
            movement = ledger.earn(self.state.accounts[key[0]], more, occasion, self.ids)
            made.append(self._record(event, movement, sum(more.values()) - more.get(TIER, 0)))
        if made or multiplier != order.multiplier:
            self.state.orders[key] = order._replace(
                given=due, multiplier=multiplier, transaction_ids=(*order.transaction_ids, *made)
            )
            if key not in self.changes.orders_made:
                self.changes.orders_changed[key] = None

    def _review(self, event: Event, data: ReviewPublished) -> None:
        key = (data.customer_id, data.review_id)
        known = self.state.reviews.get(key)
        if known is not None:
            told = (data.sku, data.verified_purchase is True, event.time)
            self._repeat(differs=told != (known.sku, known.verified, known.occurred_at))
            return
        rewarded = (data.customer_id, data.sku) in self.state.rewarded
        verified = data.verified_purchase is True
        line = judge_review(verified=verified, sku_was_rewarded=rewarded, rules=self.rules)
        receipt = receipts.of_rules(self.rules.version, (line,))
        reason, inputs = {"kind": "review", "review_id": data.review_id}, {"sku_was_rewarded": rewarded}
        occasion = self._occasion(event, about_review(data.review_id), reason, receipt, inputs)
        movement = ledger.earn(self.state.accounts[data.customer_id], {REVIEW: line.awarded}, occasion, self.ids)
        self._keep_review(
            key,
            Review(data.review_id, data.sku, event.time, verified, self.rules.version, line.awarded, withdrawn=False),
        )
        if line.awarded:
            self.state.rewarded.add((data.customer_id, data.sku))
        self._record(event, movement, line.awarded)
        for waiting in self._waited(data.customer_id, about_review(data.review_id)):
            self._withdraw(waiting, cast("ReviewWithdrawn", waiting.data))

    def _withdraw(self, event: Event, data: ReviewWithdrawn) -> None:
        key = (data.customer_id, data.review_id)
        review = self.state.reviews.get(key)
        if review is None:
            self._wait(event, about_review(data.review_id), f"withdrawal/{data.review_id}")
            return
        if review.withdrawn:
            self._repeat(differs=False)
            return
        self._keep_review(key, review._replace(withdrawn=True))
        if review.awarded:
            self.state.rewarded.discard((data.customer_id, review.sku))
            receipt = receipts.of_rules(review.rules_version, ())
            reason = {"kind": "review_withdrawn", "review_id": data.review_id}
            occasion = self._occasion(event, about_review(data.review_id), reason, receipt, {"withdrawn": True})
            self._take_back(event, occasion, {REVIEW: review.awarded}, review.awarded)

    def _keep_review(self, key: Key, review: Review) -> None:
        self.state.reviews[key] = review
        self.changes.reviews.add(key)

    def _referral(self, event: Event, data: ReferralChanged) -> None:
        """Pay both sides what an approved referral gives, or take it back from both for good."""
        sides = ((data.customer_id, data.advocate_points or 0), (data.friend_id, data.friend_points or 0))
        for customer, points in sides:
            key = (customer, data.referral_id)
            known = self.state.payments.get(key)
            if event.type.endswith(".voided.v1"):
                self._void(event, key, known)
            elif known is None:
                self._keep_payment(key, Payment(data.referral_id, points, voided=False))
                if points:
                    occasion = self._referral_occasion(event, data.referral_id, "referral")
                    account = self.state.accounts[customer]
                    self._record(event, ledger.earn(account, {REFERRAL: points}, occasion, self.ids), points)
            else:
                self._repeat(differs=not known.voided and known.points != points)

    def _void(self, event: Event, key: Key, known: Payment | None) -> None:
        # Voided before it was paid: it stays unpaid.
        self._keep_payment(key, Payment(key[1], known.points if known else 0, voided=True))
        if known is not None and not known.voided and known.points:
            occasion = self._referral_occasion(event, key[1], "referral_voided")
            self._take_back(event, occasion, {REFERRAL: known.points}, known.points, customer=key[0])

    def _keep_payment(self, key: Key, payment: Payment) -> None:
        self.state.payments[key] = payment
        self.changes.payments.add(key)

    def _referral_occasion(self, event: Event, referral_id: str, kind: str) -> Occasion:
        reason = {"kind": kind, "referral_id": referral_id}
        return self._occasion(event, f"referral/{referral_id}", reason, receipts.without_rules(), {})

    def _occasion(
        self, event: Event, origin: str, reason: Mapping[str, str], receipt: Receipt, inputs: Mapping[str, Any]
    ) -> Occasion:
        return Occasion(
            occurred_at=event.time,
            recorded_at=self.now,
            origin=origin,
            reason=reason,
            rules_version=receipt["rules_version"],
            inputs=inputs,
            receipt_digest=receipts.digest(receipt),
        )

    def _take_back(
        self, event: Event, occasion: Occasion, points: Mapping[str, int], qualifying: int, customer: str | None = None
    ) -> UUID:
        owner = customer or event.customer_id
        lots = list(self.state.lots.get(owner, {}).values())
        movement = ledger.take_back(self.state.accounts[owner], points, lots, occasion, self.ids)
        return self._record(event, movement, qualifying)

    def _record(self, event: Event, movement: Movement, qualifying: int) -> UUID:
        transaction = movement.transaction
        customer = transaction.account.customer_id
        self.state.accounts[customer] = transaction.account
        lots = self.state.lots.setdefault(customer, {})
        for lot in (*movement.made, *movement.changed):
            lots[lot.id] = lot
        changes = self.changes
        changes.accounts.add(customer)
        changes.keep_lots(movement.made, movement.changed)
        changes.transactions.append(transaction)
        if transaction.points:
            changes.announced.append(Announced(transaction, event.time, qualifying, Cause.of(event)))
        return transaction.id

    def _wait(self, event: Event, about: str, natural_id: str) -> None:
        waiting = Waiting(about, natural_id, event)
        self.state.waiting.setdefault((event.customer_id, about), []).append(waiting)
        self.changes.waiting.append(waiting)

    def _waited(self, customer: str, about: str) -> list[Event]:
        """What waited for this, from earlier batches or from this one, in its order; it waits no longer."""
        if not self.state.waiting:
            return []
        waited = self.state.waiting.pop((customer, about), [])
        if waited and self.changes.waiting:
            self.changes.waiting = [one for one in self.changes.waiting if not any(one is other for other in waited)]
        return [one.event for one in sorted(waited, key=lambda one: (one.event.time, one.natural_id))]

    def _repeat(self, *, differs: bool) -> None:
        self.changes.repeats += not differs
        self.changes.repeats_that_differ += differs


_NO_REFUNDS: Final[dict[str, Refund]] = {}


def differences(due: Mapping[str, int], given: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """By rule: what is due beyond what was given, and what was given beyond what is due."""
    change = {rule: due.get(rule, 0) - given.get(rule, 0) for rule in {**due, **given}}
    more = {rule: points for rule, points in change.items() if points > 0}
    less = {rule: -points for rule, points in change.items() if points < 0}
    return more, less


def due_for(order: Order, refunds: Mapping[str, Refund], timeline: Sequence[TierEntry]) -> dict[str, int]:
    """What an order is due by all that is known of it: the ledger has to have given just this."""
    kept = keep(Purchase.of(order.bought), refunds.values())
    amount = Fraction(0) if kept.gone else kept.total
    return judge_order(order.bought.currency, amount, multiplier_before(timeline, order.occurred_at), DEFAULT).due


def _find(taken: Sequence[Taken], refund: Refund | None) -> Taken | None:
    return next((one for one in taken if refund is not None and one.refund_id == refund.refund_id), None)
