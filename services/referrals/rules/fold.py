"""The fold: the events of many customers, in log order, become the steps of their referrals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.referrals.rules import referral as steps
from services.referrals.rules.codes.code import parse
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Referral, SignUp, State
from shared.contracts.envelope import Event
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, UnreadRefundsError, key_of
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Refund
from shared.contracts.register import Register
from shared.contracts.shop import PurchaseCompleted, PurchaseRefunded, ReferralSignedUp
from shared.programs.kind import Book


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of the customers of a batch.

    `standing` has the referral of each friend that was not rejected; `referred` the friends who signed up with another
    customer's code; `recorded` the referrals that exist. `orders` are those that the batch refunds or repeats, and of
    friends who sign up in it those that can matter; `refunds` are those that the batch repeats. `waiting` are the
    refunds that came before the new orders of the batch.
    """

    programs: Book[Program] = field(default_factory=lambda: Book[Program](()))
    advocates: Mapping[str, str] = field(default_factory=dict[str, str])
    """Customer ids by referral code."""
    standing: Mapping[str, Referral] = field(default_factory=dict[str, Referral])
    referred: frozenset[str] = frozenset()
    recorded: frozenset[UUID] = frozenset()
    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    refunds: Mapping[RefundKey, Content] = field(default_factory=dict[RefundKey, Content])
    waiting: Mapping[OrderKey, Sequence[Event]] = field(default_factory=dict[OrderKey, Sequence[Event]])


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a referral, and the event that caused it."""

    referral: Referral
    cause: Event


@dataclass(slots=True)
class Outcome:
    """The outcome of a batch, each list in the order in which things happened.

    `refunds` are new, `waiting` are those without an order so far. `repeats` and `differing_repeats` count repeats of
    natural keys, with equal and with other content. `referrals` are those that changed, as they stand in the end.
    `unread` are the orders whose refunds have to be read before the batch can be folded; where it is not empty, the
    rest is incomplete.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunds: list[tuple[OrderKey, Refund]] = field(default_factory=list[tuple[OrderKey, Refund]])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    repeats: int = 0
    differing_repeats: int = 0
    referrals: dict[UUID, Referral] = field(default_factory=dict[UUID, Referral])
    unread: set[OrderKey] = field(default_factory=set[OrderKey])


def fold(events: Iterable[Event], stored: Stored) -> Outcome:
    """Fold events in log order.

    Raises:
        TypeError: an event has no place in the referrals service.
    """
    folding = _Fold(stored)
    for event in events:
        folding.apply(event)
    return folding.finish()


class _Fold:
    """The state as of the event at hand, and the outcome so far."""

    def __init__(self, stored: Stored) -> None:
        self.outcome = Outcome()
        self._programs = stored.programs
        self._advocates = stored.advocates
        self._standing = dict(stored.standing)
        self._referred = set(stored.referred)
        self._recorded = set(stored.recorded)
        self._register = Register(stored.orders, stored.refunds, stored.waiting)
        self._refunds: dict[OrderKey, list[Refund]] = {}
        """The refunds of those orders of which all refunds were read."""
        self._of_customer: defaultdict[str, list[OrderKey]] = defaultdict(list)
        for key, order in stored.orders.items():
            self._of_customer[key[0]].append(key)
            if order.refunds is not None:
                self._refunds[key] = list(order.refunds)

    def apply(self, event: Event) -> None:
        match event.data:
            case PurchaseCompleted():
                self._purchase(event)
            case PurchaseRefunded():
                self._refund(event)
            case ReferralSignedUp() as data:
                self._sign_up(event, data)
            case _:
                raise TypeError(f"{event.type} has no place in the referrals service")

    def finish(self) -> Outcome:
        outcome, register = self.outcome, self._register
        outcome.waiting = register.waiting()
        outcome.refused = register.refusals
        outcome.repeats += register.repeats
        outcome.differing_repeats = register.differing_repeats
        return outcome

    def _purchase(self, event: Event) -> None:
        refunds = self._register.purchase(event)
        if refunds is None:
            return
        key = key_of(event)
        self._of_customer[key[0]].append(key)
        self._refunds[key] = refunds
        self.outcome.refunds += [(key, refund) for refund in refunds]
        referral = self._standing.get(event.customer_id)
        if referral is not None:
            self._record(steps.judge_order(referral, self._order(key), self._program(referral)), event)

    def _refund(self, event: Event) -> None:
        refund = self._register.refund(event)
        if refund is None:
            return
        key = key_of(event)
        self.outcome.refunds.append((key, refund))
        if key in self._refunds:
            self._refunds[key].append(refund)
        referral = self._standing.get(event.customer_id)
        if referral is not None and steps.is_about(referral, key[1]):
            self._judge_refund(key, referral, refund, event)

    def _judge_refund(self, key: OrderKey, referral: Referral, refund: Refund, event: Event) -> None:
        program = self._program(referral)
        try:
            after = steps.judge_refund(referral, self._unread_order(key), refund, program)
        except UnreadRefundsError:
            if key not in self._refunds:
                self.outcome.unread.add(key)
                return
            after = steps.judge_refund(referral, self._order(key), refund, program)
        if after.state is not referral.state:
            self._record([after], event)
        else:
            self._change(after)

    def _order(self, key: OrderKey) -> Order:
        """An order, with its refunds where they were read."""
        refunds = self._refunds.get(key)
        return replace(self._register.orders[key], refunds=None if refunds is None else tuple(refunds))

    def _unread_order(self, key: OrderKey) -> Order:
        """An order without its refunds, which are many perhaps, and seldom needed."""
        return replace(self._register.orders[key], refunds=None)

    def _sign_up(self, event: Event, data: ReferralSignedUp) -> None:
        friend_id = event.customer_id
        code = parse(data.code)
        advocate_id = self._advocates.get(code) if code is not None else None
        if code is None or advocate_id is None:
            error = "data.code: no customer has this referral code"
            self._register.refusals.append(Refusal(event, Reason.UNKNOWN_CODE, error))
            return
        referral_id = steps.referral_id_of(event)
        if referral_id in self._recorded:
            self.outcome.repeats += 1
            return
        sign_up = SignUp(referral_id, friend_id, advocate_id, code, event.time)
        try:
            self._record(self._opened(sign_up), event)
        except UnreadRefundsError as error:
            self.outcome.unread.add((friend_id, str(error)))
        self._recorded.add(referral_id)
        # A customer's own code refers nobody.
        if advocate_id != friend_id:
            self._referred.add(friend_id)

    def _opened(self, sign_up: SignUp) -> list[Referral]:
        program = self._programs.in_force(sign_up.time)
        referred = sign_up.friend_id in self._referred
        keys = self._of_customer[sign_up.friend_id]
        try:
            orders = [self._unread_order(key) for key in keys]
            return steps.sign_up(sign_up, program, orders, referred=referred)
        except UnreadRefundsError:
            orders = [self._order(key) for key in keys]
            return steps.sign_up(sign_up, program, orders, referred=referred)

    def _record(self, taken: Sequence[Referral], cause: Event) -> None:
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
        return self._programs.version(referral.program_version)
