"""Oracle of one customer's points over time, lot by lot, written apart from the ledger.

Uses plain numbers, fractions and lists. Time passes only in `pass_to`. The rules are those of `machine.version`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from shared.contracts.envelope import Event
from tests.points.books import Balances
from tests.points.oracles.mirror_records import (
    CHANGE,
    Hold,
    Lot,
    Order,
    Portions,
    Redemption,
    after_a_month,
    day_of,
    midnight,
)
from tests.points.oracles.model import parts_kept


class Mirror:
    """The state of one customer."""

    def __init__(self) -> None:
        self.lots: list[Lot] = []
        self.orders: dict[str, Order] = {}
        self.reviews: dict[str, tuple[Event, int]] = {}
        self.withdrawn: set[str] = set()
        self.early: dict[str, list[Event]] = defaultdict(list)
        self.timeline: dict[datetime, Fraction] = {}
        self.used: Counter[tuple[object, ...]] = Counter()
        self.holds: list[Hold] = []
        self.debt = self.earned = self.redeemed = 0

    def balances(self) -> Balances:
        """The current balances."""
        pending = sum(lot.left for lot in self.lots if lot.pending)
        held = sum(lot.held for lot in self.lots)
        return Balances(self.available, pending, held, self.debt, self.earned, self.redeemed)

    @property
    def available(self) -> int:
        """Points that can be spent."""
        return sum(lot.left for lot in self.lots if not lot.pending)

    # Time.

    def next_due(self) -> datetime | None:
        """The next instant at which something falls due; None where nothing will."""
        return min(self._dues(), default=None)

    def _dues(self) -> Iterator[datetime]:
        yield from (hold.ends for hold in self.holds if hold.open)
        for lot in self.lots:
            if lot.pending and (at := lot.activates or lot.cancels):
                yield at
            elif lot.left and lot.expires:
                yield lot.expires

    def pass_to(self, now: datetime) -> None:
        """Apply everything that falls due up to an instant."""
        while (at := self.next_due()) is not None and at <= now:
            for hold in self.holds:
                if hold.open and hold.ends <= at:
                    self.release(hold)
            due = [lot for lot in self.lots if lot.pending and lot.activates and lot.activates <= at]
            for lot in sorted(due, key=lambda lot: (lot.origin, lot.number)):
                self._activate(lot)
            for _, order in sorted(self.orders.items()):
                if order.cancels <= at:
                    self._settle(order, at)
            for lot in self.lots:
                if lot.pending and lot.cancels and lot.cancels <= at:
                    assert lot.left == 0, "points of an undelivered order were given up"
                    lot.pending = False
                if not lot.pending and lot.left and lot.expires and lot.expires <= at:
                    lot.lost, lot.left = lot.left, 0

    def _activate(self, lot: Lot) -> None:
        lot.pending, points, lot.left = False, lot.left, 0
        self._give(lot, points)

    def _give(self, lot: Lot, points: int) -> None:
        """Make points available; they repay debt first."""
        paid = min(self.debt, points)
        self.debt -= paid
        lot.left += points - paid

    # Events.

    def apply(self, event: Event, now: datetime) -> None:
        """Apply an event whose id was not seen before."""
        data: Any = event.data
        match event.type.split(".")[1:3]:
            case ["purchase", "completed"]:
                self._buy(event, data, now)
            case ["purchase", _] if data.order_id in self.orders:
                self._apply_to_order(self.orders[data.order_id], event, now)
            case ["purchase", _]:
                self.early[data.order_id].append(event)
            case ["review", "published"]:
                self._review(event, data, now)
            case ["review", _]:
                self._withdraw(data.review_id)
            case _:
                self._tier(data, now)
        self.pass_to(now)

    def _buy(self, event: Event, data: Any, now: datetime) -> None:
        if data.order_id in self.orders:
            return
        order = self.orders[data.order_id] = Order(event, tier=self._multiplier(event.time))
        key = ("coffee", str(day_of(event.time))[:7])
        if any(line.sku == "coffee" for line in data.lines) and self.used[key] < 2:
            self.used[key] += 1
            order.coffee = 25 if event.time >= CHANGE else 15
        self._settle(order, now)
        for early in sorted(self.early.pop(data.order_id, []), key=lambda event: (event.time, _name(event))):
            self._apply_to_order(order, early, now)

    def _apply_to_order(self, order: Order, event: Event, now: datetime) -> None:
        data: Any = event.data
        if event.type.endswith("delivered.v1"):
            if order.delivered is None:
                self._deliver(order, event.time, now)
        elif data.refund_id not in order.refunds:
            bought: Any = order.event.data
            line_ids = {line.line_id for line in bought.lines}
            if not line_ids or {line.line_id for line in data.lines} <= line_ids:
                order.refunds[data.refund_id] = event
                self._settle(order, now)

    def _deliver(self, order: Order, at: datetime, now: datetime) -> None:
        order.delivered = at
        self._settle(order, now)
        starts = max(order.event.time, at)
        for lot in self._own(order):
            if lot.pending and lot.activates is None:
                lot.expires = midnight(starts, 6)
                self._activate(lot)

    def _review(self, event: Event, data: Any, now: datetime) -> None:
        if data.review_id in self.reviews:
            return
        sku, month = ("sku", data.sku), ("month", str(day_of(event.time))[:7])
        points = min(50, 120 - self.used[month]) if data.verified_purchase and not self.used[sku] else 0
        self.reviews[data.review_id] = event, points
        if points:
            self.used[sku] += 1
            self.used[month] += points
            starts = midnight(event.time, 2)
            lot = self._lot(f"review/{data.review_id}", "review", event.time)
            lot.expires = midnight(starts, 31)
            if starts > now:
                lot.pending, lot.activates = True, starts
            self._earn(lot, points)
        if data.review_id in self.withdrawn:
            self._withdraw(data.review_id)

    def _withdraw(self, review_id: str) -> None:
        if review_id not in self.reviews:
            self.withdrawn.add(review_id)
            return
        event, points = self.reviews[review_id]
        data: Any = event.data
        self.reviews[review_id] = event, 0
        if points:
            self.used["sku", data.sku] -= 1
            self.used["month", str(day_of(event.time))[:7]] -= points
            own = [lot for lot in self.lots if lot.origin == f"review/{review_id}"]
            self._take_back({"review": points - sum(lot.lost for lot in own)}, own)

    def _tier(self, data: Any, now: datetime) -> None:
        self.timeline = {at: multiplier for at, multiplier in self.timeline.items() if at < data.effective_at}
        self.timeline |= {entry.effective_at: Fraction(entry.points_multiplier) for entry in data.timeline}
        for _, order in sorted(self.orders.items(), key=lambda item: (item[1].event.time, item[0])):
            order.tier = self._multiplier(order.event.time)
            self._settle(order, now)

    def _multiplier(self, moment: datetime) -> Fraction:
        before = [at for at in self.timeline if at < moment]
        return self.timeline[max(before)] if before else Fraction(1)

    # What an order earns, and what it was granted.

    def _due(self, order: Order, at: datetime) -> dict[str, int]:
        parts = parts_kept(order.event.data, list(order.refunds.values()))
        money = sum(parts.values())
        base = int(money) * (2 if order.event.time >= CHANGE else 1)
        missed = order.cancels <= at and (order.delivered is None or order.delivered >= order.cancels)
        return {
            "base": base,
            "coffee": order.coffee if parts.get("coffee") else 0,
            "delivery": 20 if money >= 20 and not missed else 0,
            "tier": max(0, int(base * (order.tier - 1))),
        }

    def _settle(self, order: Order, now: datetime) -> None:
        own = self._own(order)
        back: dict[str, int] = {}
        more: dict[str, int] = {}
        for rule, due in self._due(order, now).items():
            lost = sum(lot.lost for lot in own if lot.rule == rule)
            more[rule] = max(0, due - order.given[rule])
            back[rule] = max(0, order.given[rule] - due - lost)
            order.given[rule] += more[rule] - back[rule]
        self._take_back(back, own)
        for rule, points in more.items():
            if points:
                self._earn(self._granted(order, rule, now), points)

    def _granted(self, order: Order, rule: str, now: datetime) -> Lot:
        data: Any = order.event.data
        at = order.event.time
        lot = self._lot(f"order/{data.order_id}", rule, at)
        if rule == "coffee":
            lot.expires = midnight(at, 41)
        elif rule != "delivery":
            starts = midnight(at, 3)
            lot.expires = after_a_month(starts)
            if starts > now:
                lot.pending, lot.activates = True, starts
        elif order.delivered is None:
            lot.pending, lot.cancels = True, order.cancels
        else:
            lot.expires = midnight(max(at, order.delivered), 6)
        return lot

    def _earn(self, lot: Lot, points: int) -> None:
        self.earned += points
        if lot.pending:
            lot.left = points
        else:
            self._give(lot, points)

    def _lot(self, origin: str, rule: str, at: datetime) -> Lot:
        self.lots.append(Lot(len(self.lots), origin, rule, at, 0))
        return self.lots[-1]

    def _own(self, order: Order) -> list[Lot]:
        data: Any = order.event.data
        return [lot for lot in self.lots if lot.origin == f"order/{data.order_id}"]

    def _take_back(self, points: Mapping[str, int], own: Sequence[Lot]) -> None:
        """Take points from the lots of their origin (the rule's own, pending ones first), then of any, then as debt."""
        own = sorted(own, key=lambda lot: (not lot.pending, lot.turn))
        left = 0
        for rule, wanted in points.items():
            left += wanted - sum(part for _, part in self._take(wanted, [lot for lot in own if lot.rule == rule]))
        left -= sum(part for _, part in self._take(left, own))
        left -= sum(part for _, part in self._take(left, self._in_turn()))
        self.debt += left
        self.earned -= sum(points.values())

    def _in_turn(self) -> list[Lot]:
        return sorted((lot for lot in self.lots if not lot.pending), key=lambda lot: lot.turn)

    def _take(self, points: int, lots: Iterable[Lot]) -> Portions:
        taken: Portions = []
        for lot in lots:
            part = min(points, lot.left)
            if part:
                lot.left -= part
                points -= part
                taken.append((lot, part))
        return taken

    # Commands.

    def adjust(self, points: int, now: datetime) -> None:
        """Apply a manual adjustment."""
        if points > 0:
            self._give(self._lot("adjustment", "adjustment", now), points)
        else:
            self._take(-points, self._in_turn())

    def redeem(self, points: int) -> Redemption:
        """Redeem points."""
        self.redeemed += points
        return Redemption(points, self._take(points, self._in_turn()))

    def cancel(self, redemption: Redemption, now: datetime) -> None:
        """Return redeemed points; those that have expired since get 30 days."""
        if not redemption.cancelled:
            redemption.cancelled = True
            self.redeemed -= redemption.points
            for lot, points in redemption.portions:
                if lot.expires and lot.expires <= now:
                    lot.expires = midnight(now, 31)
                self._give(lot, points)

    def hold(self, points: int, ends: datetime) -> Hold:
        """Reserve points."""
        hold = Hold(points, self._take(points, self._in_turn()), ends)
        for lot, part in hold.portions:
            lot.held += part
        self.holds.append(hold)
        return hold

    def capture(self, hold: Hold, points: int, now: datetime) -> Redemption:
        """Redeem points of a hold, and release the rest."""
        spent: Portions = []
        rest: Portions = []
        self.redeemed += points
        redemption = Redemption(points, spent)
        for lot, part in hold.portions:
            taken = min(part, points)
            points -= taken
            lot.held -= taken
            spent += [(lot, taken)] if taken else []
            rest += [(lot, part - taken)] if part > taken else []
        hold.portions, hold.captured = rest, True
        self.release(hold)
        self.pass_to(now)
        return redemption

    def release(self, hold: Hold) -> None:
        """Release a hold."""
        hold.open = False
        for lot, part in hold.portions:
            lot.held -= part
            self._give(lot, part)


def _name(event: Event) -> str:
    """The sort key of events of one instant that wait for an order."""
    data: Any = event.data
    return f"refund/{data.refund_id}" if event.type.endswith("refunded.v1") else "delivery/1"
