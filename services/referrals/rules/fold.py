"""Events of many customers, folded in log order into the steps of their referrals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.referrals.rules import referral as steps
from services.referrals.rules.code import parse
from services.referrals.rules.order import Order, is_same_refund
from services.referrals.rules.program import Program, program_at
from services.referrals.rules.referral import Referral, SignUp, State
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund, misfit
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded, ReferralSignedUp

OrderKey = tuple[str, str]
"""A customer id and an order id."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the customers of a batch before it.

    `standing` holds a friend's referral that was not rejected; `referred` the friends who signed up
    with another customer's code before; `recorded` the referrals that exist already. `orders` are
    those that the batch refunds, and of friends who sign up in it those that can matter.
    `waiting` are refunds that came before their order, which is in this batch.
    """

    programs: Sequence[Program] = ()
    advocates: Mapping[str, str] = field(default_factory=dict[str, str])
    standing: Mapping[str, Referral] = field(default_factory=dict[str, Referral])
    referred: frozenset[str] = frozenset()
    recorded: frozenset[UUID] = frozenset()
    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    waiting: Mapping[OrderKey, Sequence[Event]] = field(default_factory=dict[OrderKey, Sequence[Event]])


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a referral, and the event that made it known."""

    referral: Referral
    cause: Event


@dataclass(slots=True)
class Outcome:
    """What a batch came to, each list in the order in which it happened.

    `refunds` are new ones, `waiting` those without their order yet. `repeats` and `differing` count
    natural keys that came again, with the same content or with other.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunds: list[tuple[OrderKey, Refund]] = field(default_factory=list[tuple[OrderKey, Refund]])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    repeats: int = 0
    differing: int = 0


def fold(events: Iterable[Event], known: Known) -> Outcome:
    """Fold events in log order; of purchases, only such as are new and not refused."""
    folding = _Folding(known)
    for event in events:
        folding.apply(event)
    return folding.finish()


def about(order_id: str) -> str:
    """What a refund waits for."""
    return f"order/{order_id}"


def _refund_id(event: Event) -> str:
    assert isinstance(event.data, PurchaseRefunded)
    return event.data.refund_id


class _Folding:
    """The fold's state: what is known, as of the event that is at hand."""

    def __init__(self, known: Known) -> None:
        self.outcome = Outcome()
        self._programs = known.programs
        self._versions = {program.version: program for program in known.programs}
        self._advocates = known.advocates
        self._standing = dict(known.standing)
        self._referred = set(known.referred)
        self._recorded = set(known.recorded)
        self._waiting = known.waiting
        self._early: dict[OrderKey, list[Event]] = defaultdict(list)
        self._orders: dict[str, dict[str, Order]] = defaultdict(dict)
        for (customer_id, order_id), order in known.orders.items():
            self._orders[customer_id][order_id] = order

    def apply(self, event: Event) -> None:
        match event.data:
            case PurchaseCompleted():
                self._purchase(event, event.data)
            case PurchaseRefunded():
                self._refund(event, event.data)
            case ReferralSignedUp():
                self._sign_up(event, event.data)
            case _:
                raise TypeError(f"{event.type} is not of referrals")

    def finish(self) -> Outcome:
        for (_, order_id), events in self._early.items():
            self.outcome.waiting += [Waiting(about(order_id), f"refund/{_refund_id(one)}", one) for one in events]
        return self.outcome

    def _purchase(self, event: Event, data: PurchaseCompleted) -> None:
        key = (event.customer_id, data.order_id)
        order = Order.of(event)
        early = (*self._waiting.get(key, ()), *self._early.pop(key, ()))
        for one in sorted(early, key=lambda one: (one.time, _refund_id(one))):
            order = self._take(order, one)
        self._orders[event.customer_id][data.order_id] = order
        referral = self._standing.get(event.customer_id)
        if referral is not None:
            self._go(steps.judge_order(referral, order, self._program(referral)), event)

    def _refund(self, event: Event, data: PurchaseRefunded) -> None:
        order = self._orders[event.customer_id].get(data.order_id)
        if order is None:
            self._early[event.customer_id, data.order_id].append(event)
            return
        refunded = self._take(order, event)
        self._orders[event.customer_id][data.order_id] = refunded
        referral = self._standing.get(event.customer_id)
        if referral is not None and refunded is not order:
            self._go(steps.judge_refunds(referral, refunded, self._program(referral)), event)

    def _take(self, order: Order, event: Event) -> Order:
        """The order with the refund, where it fits and is new."""
        data = event.data
        assert isinstance(data, PurchaseRefunded)
        refund = Refund.of(data, event.time)
        known = order.refund(refund.refund_id)
        if known is not None:
            self._count_repeat(same=is_same_refund(known, refund))
            return order
        wrong = misfit(order.purchase, refund)
        if wrong is not None:
            self.outcome.refused.append(Refusal(event, *wrong))
            return order
        self.outcome.refunds.append(((event.customer_id, order.order_id), refund))
        return order.with_refund(refund)

    def _sign_up(self, event: Event, data: ReferralSignedUp) -> None:
        friend_id = event.customer_id
        code = parse(data.code)
        advocate_id = self._advocates.get(code) if code is not None else None
        if code is None or advocate_id is None:
            self.outcome.refused.append(Refusal(event, Reason.UNKNOWN_CODE, "data.code: no customer has this code"))
            return
        referral_id = steps.referral_id_of(event)
        if referral_id in self._recorded:
            self._count_repeat(same=True)
            return
        asked = SignUp(referral_id, friend_id, advocate_id, code, event.time)
        orders = tuple(self._orders[friend_id].values())
        program = program_at(self._programs, event.time)
        self._go(steps.sign_up(asked, program, orders, referred=friend_id in self._referred), event)
        self._recorded.add(referral_id)
        # A code of one's own refers nobody.
        if advocate_id != friend_id:
            self._referred.add(friend_id)

    def _go(self, taken: Sequence[Referral], cause: Event) -> None:
        for referral in taken:
            self.outcome.steps.append(Step(referral, cause))
            if referral.state is State.REJECTED:
                self._forget(referral)
            else:
                self._standing[referral.friend_id] = referral

    def _forget(self, referral: Referral) -> None:
        standing = self._standing.get(referral.friend_id)
        if standing is not None and standing.referral_id == referral.referral_id:
            del self._standing[referral.friend_id]

    def _program(self, referral: Referral) -> Program:
        return self._versions[referral.program_version]

    def _count_repeat(self, *, same: bool) -> None:
        if same:
            self.outcome.repeats += 1
        else:
            self.outcome.differing += 1
