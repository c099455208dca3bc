"""The replay: one event, one decision, one instant after the other. The door is `Model`."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from tests.referrals.oracles.evidence import told
from tests.referrals.oracles.program import Program
from tests.referrals.oracles.records import SINCE_EVER, By, Facts, Order, Published, Referral, Refund, SignUp, Told
from tests.referrals.oracles.signals import LASTING
from tests.referrals.oracles.steps import Steps

VERSION_1: Final[dict[str, Any]] = {
    "advocate_points": 500,
    "friend_points": 200,
    "currency": "USD",
    "qualifies": {"nth_order": 1, "amount_at_least": "20.00", "within_days": 30},
    "signals": [{"id": signal, "action": "block"} for signal in ("self", "already_bought", "already_referred")],
}


@dataclass
class Model:
    """The service at an instant that the caller gives; version 1 is in force since ever."""

    facts: Facts = field(default_factory=lambda: Facts(programs=[Program(1, VERSION_1, SINCE_EVER)]))

    @property
    def steps(self) -> Steps:
        """The steps of referrals, by the facts."""
        return Steps(self.facts)

    def publish(self, document: dict[str, Any], effective_at: datetime) -> int:
        """Publish the next version."""
        self.facts.programs.append(Program(len(self.facts.programs) + 1, document, effective_at))
        return len(self.facts.programs)

    # Events.

    def handle(self, events: Sequence[Any], now: datetime) -> None:
        """Handle a batch: what is due of everybody at hand, then each event, with what is due before and after it."""
        self._apply_due(events, now)
        for event in events:
            self._apply_due([event], now)
            _, noun, verb, _ = event.type.split(".")
            getattr(self, f"_{noun}_{verb}")(event, now)

    def _apply_due(self, events: Sequence[Any], now: datetime) -> None:
        concerned = [event for event in events if event.type != "shop.customer.erased.v1"]
        owners = {
            self.facts.codes.get(parse(event.data.code), str(event.customer_id))
            for event in concerned
            if event.type == "shop.referral.signed_up.v1"
        }
        self._apply_due_of({event.customer_id for event in concerned}, owners, now)

    def _apply_due_of(self, customers: Collection[str], owners: Collection[str], now: datetime) -> None:
        """Apply what is due of customers, of those who referred them, and of the owners of codes."""
        if customers:
            advocates = {
                referral.advocate_id
                for referral in self.facts.referrals
                if referral.friend_id in customers and referral.state != "rejected"
            }
            self.steps.apply_due(now, advocates.union(customers, owners), customers)

    def _purchase_completed(self, event: Any, now: datetime) -> None:
        data, own = event.data, self.facts.orders.setdefault(event.customer_id, [])
        known = next((order for order in own if order.order_id == data.order_id), None)
        if known is not None:
            if known.source != event.source:
                self.facts.refused.append((event.id, "order_conflict"))
            return
        lines = {line.line_id: Fraction(line.amount) for line in data.lines}
        order = Order(data.order_id, event.source, event.time, data.currency, Fraction(data.total), lines)
        own.append(order)
        waited = [
            w for w in self.facts.waiting if (w.customer_id, w.data.order_id) == (event.customer_id, data.order_id)
        ]
        self.facts.waiting = [refund for refund in self.facts.waiting if refund not in waited]
        for refund in sorted(waited, key=lambda refund: (refund.time, refund.data.refund_id)):
            self._add_refund(order, refund)
        for referral in self.facts.of_friend(event.customer_id):
            self.steps.bought_before(referral, order, now)
            self.steps.qualify(referral, now)

    def _purchase_refunded(self, event: Any, _now: datetime) -> None:
        own = self.facts.orders.get(event.customer_id, [])
        order = next((order for order in own if order.order_id == event.data.order_id), None)
        if order is None:
            self.facts.waiting.append(event)
        elif self._add_refund(order, event):
            for referral in self.facts.of_friend(event.customer_id):
                if referral.order is order:
                    self.steps.refund(referral)

    def _add_refund(self, order: Order, event: Any) -> bool:
        """Whether a refund is new and fits; those that do not fit are refused."""
        data = event.data
        if data.refund_id in order.refunds:
            return False
        if data.currency != order.currency:
            self.facts.refused.append((event.id, "currency_mismatch"))
            return False
        lines = [(line.line_id, Fraction(line.amount)) for line in data.lines]
        if order.lines and any(line_id not in order.lines for line_id, _ in lines):
            self.facts.refused.append((event.id, "unknown_line"))
            return False
        refund = Refund(data.refund_id, event.time, data.currency, Fraction(data.amount), lines)
        order.refunds[data.refund_id] = refund
        return True

    def _customer_registered(self, event: Any, now: datetime) -> None:
        if not self.facts.is_erased(event.customer_id, event.time):
            first = self.facts.registered.get(event.customer_id, event.time)
            self.facts.registered[event.customer_id] = min(first, event.time)
        self._customer_updated(event, now)

    def _customer_updated(self, event: Any, now: datetime) -> None:
        for kind, value in self._evidence_of(event, now):
            self.facts.told.append(Told(event.customer_id, kind, value, event.time))

    def _evidence_of(self, event: Any, now: datetime) -> list[tuple[str, str]]:
        """What an event tells, unless it is too old or from before an erasure."""
        is_erased = self.facts.is_erased(event.customer_id, event.time)
        return [] if is_erased or event.time < now - LASTING else list(told(event.data))

    def _customer_erased(self, event: Any, _now: datetime) -> None:
        customer_id = event.customer_id
        self.facts.erased[customer_id] = max(event.time, self.facts.erased.get(customer_id, SINCE_EVER))
        self.facts.told = [piece for piece in self.facts.told if piece.customer_id != customer_id]
        self.facts.registered.pop(customer_id, None)
        for referral in self.facts.referrals:
            if customer_id in {referral.friend_id, referral.advocate_id}:
                referral.history = [replace(step, note=None) for step in referral.history]
        self.facts.codes = {code: owner for code, owner in self.facts.codes.items() if owner != customer_id}
        self.facts.sign_ups = [
            SignUp(s.friend_id, s.advocate_id, s.code, s.time, None, None) if s.friend_id == customer_id else s
            for s in self.facts.sign_ups
        ]

    def _referral_signed_up(self, event: Any, now: datetime) -> None:
        code, friend_id = parse(event.data.code), event.customer_id
        if code not in self.facts.codes:
            self.facts.refused.append((event.id, "unknown_code"))
            return
        if any(referral.key == (friend_id, code) for referral in self.facts.referrals):
            return
        self._customer_updated(event, now)
        traces = dict(self._evidence_of(event, now))
        advocate_id = self.facts.codes[code]
        sign_up = SignUp(friend_id, advocate_id, code, event.time, traces.get("ip"), traces.get("network"))
        self.facts.sign_ups.append(sign_up)
        stands = any(referral.stands for referral in self.facts.of_friend(friend_id))
        program = self.facts.program_at(event.time)
        referral = Referral(len(self.facts.referrals), friend_id, advocate_id, code, program, event.time)
        self.facts.referrals.append(referral)
        self.steps.begin(referral, now, stands=stands)

    # People.

    def decide_on(self, referrals: Sequence[Referral], decision: str, by: By, now: datetime) -> list[bool]:
        """Decide on referrals, each on its own, after what is due of their sides; returns which could be decided on."""
        customers = {side for referral in referrals for side in (referral.friend_id, referral.advocate_id)}
        self._apply_due_of(customers, (), now)
        return [self.decide(referral, decision, by, now) for referral in referrals]

    def decide(self, referral: Referral, decision: str, by: By, now: datetime) -> bool:
        """Decide on a referral of which nothing is due; returns whether it could be decided on."""
        if decision == "reject":
            if referral.state != "flagged":
                return False
            self.steps.reject(referral, now, "decision", by)
            return True
        if referral.state != "flagged" and not self._can_be_overturned(referral):
            return False
        assert referral.due_at is not None
        referral.lifted = True
        if referral.due_at > now:
            self.steps.step(referral, "qualified", now, None, by)
        else:
            self.steps.approve(referral, now, None, by)
        return True

    def _can_be_overturned(self, referral: Referral) -> bool:
        return (
            referral.state == "rejected"
            and referral.reason in {"fraud", "undecided"}
            and referral.order is not None
            and referral.order.fell_at(referral.program) is None
            and not any(other.stands for other in self.facts.of_friend(referral.friend_id))
        )

    def queue(self) -> list[Referral]:
        """The flagged referrals, the highest score first."""
        return sorted((r for r in self.facts.referrals if r.state == "flagged"), key=lambda r: (-r.score, r.number))


def parse(code: str) -> str:
    """A code as it is compared."""
    return "".join(char for char in code.upper() if char not in " -")


def stories(events: Iterable[Published]) -> dict[tuple[str, str], list[Published]]:
    """The events of each referral in their order."""
    told_of: dict[tuple[str, str], list[Published]] = {}
    for event in events:
        told_of.setdefault((event.friend_id, event.code), []).append(event)
    return told_of
