"""What a customer's points have to be, by the words of the design: sums over what is known, no ledger.

Apart from the product on purpose: integers and fractions, no lots, no postings, no differences.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

from shared.contracts.envelope import Event

Key = tuple[str, str]


@dataclass
class Model:
    """All that was told, event by event in the order of arrival."""

    promotion: int = 0
    """What a promotion earns by the rules in force; nothing by those of version 1."""

    orders: dict[Key, Event] = field(default_factory=dict)
    refunds: dict[Key, dict[str, Event]] = field(default_factory=lambda: defaultdict(dict))
    early: dict[Key, list[Event]] = field(default_factory=lambda: defaultdict(list))
    reviews: dict[Key, Event] = field(default_factory=dict)
    rewarded: dict[Key, str] = field(default_factory=dict)
    withdrawn: set[Key] = field(default_factory=set)
    referrals: dict[Key, int] = field(default_factory=dict)
    voided: set[Key] = field(default_factory=set)
    tiers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    adjusted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """One event more."""
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
            case ["tier", _]:
                self.tiers[data.customer_id].append(data)
            case ["referral", verb]:
                self._referral(verb, data)

    def _purchase(self, event: Event, key: Key) -> None:
        if key not in self.orders:
            self.orders[key] = event
            for one in sorted(self.early.pop(key, []), key=lambda one: (one.time, one.data.refund_id)):
                self._refund(one, key)
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
        """Points earned, less what was taken back."""
        orders = sum(self._due(key) for key in self.orders if key[0] == customer)
        reviews = sum(50 for owner, _ in self.rewarded if owner == customer)
        referrals = sum(self.referrals[key] for key in self.referrals.keys() - self.voided if key[0] == customer)
        return orders + reviews + referrals + self.promotion * self._rises(customer)

    def _rises(self, customer: str) -> int:
        """How often the timeline as told last goes up; a promotion earns each time, wherever that is."""
        told: dict[datetime, Fraction] = {}
        for data in self.tiers[customer]:
            told = {at: one for at, one in told.items() if at < data.effective_at}
            told |= {one.effective_at: Fraction(one.points_multiplier) for one in data.timeline}
        multipliers = [Fraction(1), *(told[at] for at in sorted(told))]
        return sum(later > before for before, later in pairwise(multipliers))

    def balance(self, customer: str) -> tuple[int, int]:
        """Available and debt: of what is net, one of them is 0."""
        net = self.earned(customer) + self.adjusted[customer]
        return max(net, 0), max(-net, 0)

    def _due(self, key: Key) -> int:
        order: Any = self.orders[key].data
        if order.currency != "USD":
            return 0
        base = int(kept_of(order, list(self.refunds[key].values())))
        extra = int(base * (self._multiplier(key[0], self.orders[key].time) - 1))
        return base + max(0, extra)

    def _multiplier(self, customer: str, moment: datetime) -> Fraction:
        # The last one who told of the instants just before the moment is right about them.
        told = [one for one in self.tiers[customer] if one.effective_at < moment]
        if not told:
            return Fraction(1)
        before = [one for one in told[-1].timeline if one.effective_at < moment]
        return Fraction(max(before, key=lambda one: one.effective_at).points_multiplier)


def kept_of(order: Any, refunds: Sequence[Event]) -> Fraction:
    """The money that is kept of an order."""
    return sum(parts_kept(order, refunds).values(), Fraction(0))


def parts_kept(order: Any, refunds: Sequence[Event]) -> dict[str, Fraction]:
    """The money that is kept of each line of an order; of one without lines, under no name."""
    parts = {line.line_id: Fraction(line.amount) for line in order.lines} or {"": Fraction(order.total)}
    for event in sorted(refunds, key=lambda one: (one.time, one.data.refund_id)):
        data: Any = event.data
        whole = sum(parts.values())
        if data.lines and order.lines:
            for line in data.lines:
                parts[line.line_id] = max(Fraction(0), parts[line.line_id] - Fraction(line.amount))
        elif whole:
            share = max(Fraction(0), 1 - Fraction(data.amount) / whole)
            parts = {name: part * share for name, part in parts.items()}
    return parts
