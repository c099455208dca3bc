"""Events of many customers, folded in log order into the steps of their referrals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.referrals.rules import referral as steps
from services.referrals.rules.code import parse
from services.referrals.rules.order import Order, UnreadRefundsError, is_same_refund
from services.referrals.rules.program import Program, program_at
from services.referrals.rules.referral import Referral, SignUp, State
from shared.contracts.envelope import Event
from shared.contracts.kept import Refund, misfit
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded, ReferralSignedUp

OrderKey = tuple[str, str]
"""A customer id and an order id."""

RefundKey = tuple[str, str, str]
"""A customer id, an order id and a refund id."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the customers of a batch before it.

    `standing` holds a friend's referral that was not rejected; `referred` the friends who signed up
    with another customer's code before; `recorded` the referrals that exist already. `orders` are
    those that the batch refunds, and of friends who sign up in it those that can matter; `refunds` are
    those of the batch's refunds that are known. `waiting` are refunds that came before their order, which is in
    this batch.
    """

    programs: Sequence[Program] = ()
    advocates: Mapping[str, str] = field(default_factory=dict[str, str])
    standing: Mapping[str, Referral] = field(default_factory=dict[str, Referral])
    referred: frozenset[str] = frozenset()
    recorded: frozenset[UUID] = frozenset()
    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    refunds: Mapping[RefundKey, Refund] = field(default_factory=dict[RefundKey, Refund])
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
    natural keys that came again, with the same content or with other. `referrals` are those that changed, as they
    stand in the end. `unread` are orders whose refunds have to be read before the batch can be folded: where there are
    such, nothing else here counts.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunds: list[tuple[OrderKey, Refund]] = field(default_factory=list[tuple[OrderKey, Refund]])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    repeats: int = 0
    differing: int = 0
    referrals: dict[UUID, Referral] = field(default_factory=dict[UUID, Referral])
    unread: set[OrderKey] = field(default_factory=set[OrderKey])


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
        self._refunds = dict(known.refunds)
        self._read: dict[OrderKey, list[Refund]] = {}
        """The refunds of orders of which all are there."""
        for key, order in known.orders.items():
            self._enter(key, order)

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

    def _enter(self, key: OrderKey, order: Order) -> None:
        self._orders[key[0]][key[1]] = replace(order, refunds=None)
        if order.refunds is not None:
            self._read[key] = list(order.refunds)
            self._refunds |= {(*key, refund.refund_id): refund for refund in order.refunds}

    def _purchase(self, event: Event, data: PurchaseCompleted) -> None:
        key = (event.customer_id, data.order_id)
        order = Order.of(event)
        self._enter(key, order)
        early = (*self._waiting.get(key, ()), *self._early.pop(key, ()))
        for one in sorted(early, key=lambda one: (one.time, _refund_id(one))):
            self._take(key, order, one)
        referral = self._standing.get(event.customer_id)
        if referral is not None:
            whole = replace(order, refunds=tuple(self._read[key]))
            self._go(steps.judge_order(referral, whole, self._program(referral)), event)

    def _refund(self, event: Event, data: PurchaseRefunded) -> None:
        key = (event.customer_id, data.order_id)
        order = self._orders[event.customer_id].get(data.order_id)
        if order is None:
            self._early[key].append(event)
            return
        refund = self._take(key, order, event)
        referral = self._standing.get(event.customer_id)
        if refund is not None and referral is not None and steps.is_about(referral, data.order_id):
            self._judge_refund(key, referral, refund, event)

    def _judge_refund(self, key: OrderKey, referral: Referral, refund: Refund, event: Event) -> None:
        order, program = self._orders[key[0]][key[1]], self._program(referral)
        try:
            after = steps.judge_refund(referral, order, refund, program)
        except UnreadRefundsError:
            if key not in self._read:
                self.outcome.unread.add(key)
                return
            after = steps.judge_refund(referral, self._whole(key), refund, program)
        if after.state is not referral.state:
            self._go([after], event)
        else:
            self._change(after)

    def _whole(self, key: OrderKey) -> Order:
        """An order with its refunds, where they were read."""
        order, refunds = self._orders[key[0]][key[1]], self._read.get(key)
        return order if refunds is None else replace(order, refunds=tuple(refunds))

    def _take(self, key: OrderKey, order: Order, event: Event) -> Refund | None:
        """The refund of an event, known from now on; None where it does not fit or is not new."""
        data = event.data
        assert isinstance(data, PurchaseRefunded)
        refund = Refund.of(data, event.time)
        known = self._refunds.get((*key, refund.refund_id))
        if known is not None:
            self._count_repeat(same=is_same_refund(known, refund))
            return None
        wrong = misfit(order.purchase, refund)
        if wrong is not None:
            self.outcome.refused.append(Refusal(event, *wrong))
            return None
        self.outcome.refunds.append((key, refund))
        self._refunds[(*key, refund.refund_id)] = refund
        if key in self._read:
            self._read[key].append(refund)
        return refund

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
        program = program_at(self._programs, event.time)
        try:
            self._go(self._opened(asked, program, self._orders[friend_id].values()), event)
        except UnreadRefundsError as error:
            self.outcome.unread.add((friend_id, str(error)))
        self._recorded.add(referral_id)
        # A code of one's own refers nobody.
        if advocate_id != friend_id:
            self._referred.add(friend_id)

    def _opened(self, asked: SignUp, program: Program, orders: Iterable[Order]) -> list[Referral]:
        referred = asked.friend_id in self._referred
        try:
            return steps.sign_up(asked, program, tuple(orders), referred=referred)
        except UnreadRefundsError:
            whole = tuple(self._whole((asked.friend_id, order.order_id)) for order in orders)
            return steps.sign_up(asked, program, whole, referred=referred)

    def _go(self, taken: Sequence[Referral], cause: Event) -> None:
        for referral in taken:
            self.outcome.steps.append(Step(referral, cause))
            self._change(referral)

    def _change(self, referral: Referral) -> None:
        self.outcome.referrals[referral.referral_id] = referral
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
