"""Oracle of balances: sums over the events seen so far, without a ledger.

Written apart from the product: integers and fractions, no lots, no postings, no differences.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from shared.contracts.envelope import Event
from tests.points.oracles.rises import Promotions, Terms

Key = tuple[str, str]


@dataclass
class Model:
    """The events seen so far, applied in the order of arrival."""

    terms: Sequence[Terms] = (Terms(datetime.min.replace(tzinfo=UTC)),)
    """The programs for promotions, in order; version 1 gives nothing."""

    orders: dict[Key, Event] = field(default_factory=dict)
    refunds: dict[Key, dict[str, Event]] = field(default_factory=lambda: defaultdict(dict))
    early: dict[Key, list[Event]] = field(default_factory=lambda: defaultdict(list))
    reviews: dict[Key, Event] = field(default_factory=dict)
    rewarded: dict[Key, str] = field(default_factory=dict)
    withdrawn: set[Key] = field(default_factory=set)
    referrals: dict[Key, int] = field(default_factory=dict)
    voided: set[Key] = field(default_factory=set)
    tiers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    promotions: dict[str, Promotions] = field(default_factory=dict)
    adjusted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: list[Event] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        """Apply an event."""
        data: Any = event.data
        match event.type.split(".")[1:3]:
            case ["purchase", "completed"]:
                self._purchase(event, (data.customer_id, data.order_id))
            case ["purchase", _]:
                self._refund(event, (data.customer_id, data.order_id))
            case ["review", "published"]:
                self._review(event, (data.customer_id, data.review_id))
            case ["review", _]:
                self._withdraw((data.customer_id, data.review_id))
            case ["tier", "at_risk" | "benefit_used"]:
                pass
            case ["tier", _]:
                self.tiers[data.customer_id].append(data)
                self.promotions.setdefault(data.customer_id, Promotions(self.terms)).apply(data)
            case ["referral", verb]:
                self._referral(verb, data)

    def _purchase(self, event: Event, key: Key) -> None:
        if key not in self.orders:
            self.orders[key] = event
            for refund in sorted(self.early.pop(key, []), key=_time_and_refund):
                self._refund(refund, key)
        elif self.orders[key].source != event.source:
            self.refused.append(event)

    def _refund(self, event: Event, key: Key) -> None:
        data: Any = event.data
        if key not in self.orders:
            self.early[key].append(event)
        elif data.refund_id not in self.refunds[key]:
            order: Any = self.orders[key].data
            lines = {line.line_id for line in order.lines}
            if data.currency != order.currency or (lines and {line.line_id for line in data.lines} - lines):
                self.refused.append(event)
            else:
                self.refunds[key][data.refund_id] = event

    def _review(self, event: Event, key: Key) -> None:
        data: Any = event.data
        if key in self.reviews:
            return
        self.reviews[key] = event
        sku = (data.customer_id, data.sku)
        if data.verified_purchase and sku not in self.rewarded:
            self.rewarded[sku] = data.review_id
        if key in self.withdrawn:
            self._withdraw(key)

    def _withdraw(self, key: Key) -> None:
        self.withdrawn.add(key)
        if key in self.reviews:
            data: Any = self.reviews[key].data
            if self.rewarded.get((key[0], data.sku)) == key[1]:
                del self.rewarded[key[0], data.sku]

    def _referral(self, verb: str, data: Any) -> None:
        for customer, points in ((data.customer_id, data.advocate_points), (data.friend_id, data.friend_points)):
            if verb == "voided":
                self.voided.add((customer, data.referral_id))
            else:
                self.referrals.setdefault((customer, data.referral_id), points or 0)

    def earned(self, customer: str) -> int:
        """Points earned, minus those reversed."""
        extras = sum(self._extra(key) for key in self.orders if key[0] == customer)
        promotions = self.promotions[customer].points if customer in self.promotions else 0
        return self.qualifying(customer) + extras + promotions

    def qualifying(self, customer: str) -> int:
        """The part of the points earned that counts toward tiers: none that depends on a tier."""
        orders = sum(self._base(key) for key in self.orders if key[0] == customer)
        reviews = sum(50 for owner, _ in self.rewarded if owner == customer)
        referrals = sum(self.referrals[key] for key in self.referrals.keys() - self.voided if key[0] == customer)
        return orders + reviews + referrals

    def balance(self, customer: str) -> tuple[int, int]:
        """Available points and debt; at least one of them is 0."""
        net = self.earned(customer) + self.adjusted[customer]
        return max(net, 0), max(-net, 0)

    def _base(self, key: Key) -> int:
        order: Any = self.orders[key].data
        return int(kept_of(order, list(self.refunds[key].values()))) if order.currency == "USD" else 0

    def _extra(self, key: Key) -> int:
        return max(0, int(self._base(key) * (self._multiplier(key[0], self.orders[key].time) - 1)))

    def _multiplier(self, customer: str, moment: datetime) -> Fraction:
        # The last tier event that covers the instant just before the moment decides.
        covering = [data for data in self.tiers[customer] if data.effective_at < moment]
        if not covering:
            return Fraction(1)
        before = [entry for entry in covering[-1].timeline if entry.effective_at < moment]
        return Fraction(max(before, key=lambda entry: entry.effective_at).points_multiplier)


def kept_of(order: Any, refunds: Sequence[Event]) -> Fraction:
    """The amount of an order that is kept after its refunds."""
    return sum(parts_kept(order, refunds).values(), Fraction(0))


def parts_kept(order: Any, refunds: Sequence[Event]) -> dict[str, Fraction]:
    """The amount kept of each line of an order; the key is "" for an order without lines."""
    parts = {line.line_id: Fraction(line.amount) for line in order.lines} or {"": Fraction(order.total)}
    for event in sorted(refunds, key=_time_and_refund):
        data: Any = event.data
        whole = sum(parts.values())
        if data.lines and order.lines:
            for line in data.lines:
                parts[line.line_id] = max(Fraction(0), parts[line.line_id] - Fraction(line.amount))
        elif whole:
            share = max(Fraction(0), 1 - Fraction(data.amount) / whole)
            parts = {name: part * share for name, part in parts.items()}
    return parts


def _time_and_refund(event: Event) -> tuple[datetime, str]:
    data: Any = event.data
    return event.time, data.refund_id
