"""The fold: the events of many customers, in log order, become the steps of their referrals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from services.referrals.rules.codes.code import parse
from services.referrals.rules.due import fall_due
from services.referrals.rules.judging import LATEST, Judge, Known, Move, Wanted
from services.referrals.rules.referral import HELD, Referral, SignUp, State, Step, referral_id_of
from services.referrals.rules.rewards import Ledger
from shared.contracts.envelope import Cause, Event
from shared.contracts.orders import Content, Order, OrderKey, RefundKey, UnreadRefundsError, key_of
from shared.contracts.outcomes import Refusal, Waiting
from shared.contracts.reasons import Reason
from shared.contracts.refunds import Refund
from shared.contracts.register import Register
from shared.contracts.shop import CustomerProfile, PurchaseCompleted, PurchaseRefunded, ReferralSignedUp


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of the customers of a batch.

    `known` is None where no referral is concerned. `referrals` has those of each friend that were not rejected: the one
    that stands first, then the newest. `orders` are those that the batch refunds or repeats, and of friends who sign
    up in it those that can matter; `refunds` are those that the batch repeats. `waiting` are the refunds that came
    before the new orders of the batch.
    """

    known: Known | None = None
    advocates: Mapping[str, str] = field(default_factory=dict[str, str])
    """Customer ids by referral code."""
    referrals: Mapping[str, Sequence[Referral]] = field(default_factory=dict[str, Sequence[Referral]])
    rejected: frozenset[str] = frozenset()
    """The friends of whom a referral by another customer was rejected."""
    recorded: frozenset[tuple[str, str]] = frozenset()
    """The sign-ups that are recorded: friend and code."""
    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])
    refunds: Mapping[RefundKey, Content] = field(default_factory=dict[RefundKey, Content])
    waiting: Mapping[OrderKey, Sequence[Event]] = field(default_factory=dict[OrderKey, Sequence[Event]])
    marks: Sequence[int] = ()
    """The mark of each event, up to which evidence counts for it."""


@dataclass(slots=True)
class Outcome:
    """The outcome of a batch, each list in the order in which things happened.

    `refunds` are new, `waiting` are those without an order so far. `repeats` and `differing_repeats` count repeats of
    natural keys, with equal and with other content. `referrals` are those that changed, as they stand in the end.
    Where anything is `wanted`, the rest is incomplete: the batch has to be folded again once it is known.
    """

    steps: list[Step] = field(default_factory=list[Step])
    refunds: list[tuple[OrderKey, Refund]] = field(default_factory=list[tuple[OrderKey, Refund]])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    repeats: int = 0
    differing_repeats: int = 0
    referrals: dict[UUID, Referral] = field(default_factory=dict[UUID, Referral])
    ledger: Ledger = field(default_factory=Ledger)
    wanted: Wanted = field(default_factory=Wanted)


def fold(events: Iterable[Event], stored: Stored) -> Outcome:
    """Fold events in log order. Of the stored referrals, what has fallen due is applied already.

    Raises:
        TypeError: an event has no place in the referrals service.
    """
    folding = _Fold(stored)
    for place, event in enumerate(events):
        folding.apply(event, stored.marks[place] if stored.marks else LATEST)
    return folding.finish()


class _Fold:
    """The state as of the event at hand, and the outcome so far."""

    def __init__(self, stored: Stored) -> None:
        self.outcome = Outcome()
        self._stored = stored
        self._judge: Judge | None = None
        if stored.known is not None:
            self._judge = Judge(stored.known)
            self.outcome.ledger, self.outcome.wanted = self._judge.ledger, self._judge.wanted
        self._of_friend = {friend: list(own) for friend, own in stored.referrals.items()}
        self._rejected = set(stored.rejected)
        self._recorded = set(stored.recorded)
        self._register = Register(stored.orders, stored.refunds, stored.waiting)
        self._refunds: dict[OrderKey, list[Refund]] = {}
        """The refunds of those orders of which all refunds were read."""
        self._of_customer: defaultdict[str, list[OrderKey]] = defaultdict(list)
        for key, order in stored.orders.items():
            self._of_customer[key[0]].append(key)
            if order.refunds is not None:
                self._refunds[key] = list(order.refunds)

    def apply(self, event: Event, mark: int) -> None:
        if self._judge is not None:
            self._judge.mark = mark
        match event.data:
            case PurchaseCompleted():
                self._purchase(event)
            case PurchaseRefunded():
                self._refund(event)
            case ReferralSignedUp() as data:
                self._sign_up(event, data)
            case CustomerProfile():
                pass  # it tells evidence, and judges nothing
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
        referral = self._current(event.customer_id)
        if referral is None or self._judge is None:
            return
        try:
            self._record(self._judge.order(referral, self._order(key), partial(self._order_of, key[0])), event)
        except UnreadRefundsError as error:
            self.outcome.wanted.orders.add((event.customer_id, str(error)))

    def _refund(self, event: Event) -> None:
        refund = self._register.refund(event)
        if refund is None:
            return
        key = key_of(event)
        self.outcome.refunds.append((key, refund))
        if key in self._refunds:
            self._refunds[key].append(refund)
        referral = self._current(event.customer_id)
        if referral is not None and referral.state in {*HELD, State.APPROVED} and referral.order_id == key[1]:
            self._judge_refund(key, referral, refund, event)

    def _judge_refund(self, key: OrderKey, referral: Referral, refund: Refund, event: Event) -> None:
        assert self._judge is not None, "programs are loaded with referrals"
        try:
            moves = self._judge.refund(referral, self._unread_order(key), refund)
        except UnreadRefundsError:
            if key not in self._refunds:
                self.outcome.wanted.orders.add(key)
                return
            moves = self._judge.refund(referral, self._order(key), refund)
        self._record(moves, event)

    def _order(self, key: OrderKey) -> Order:
        """An order with its refunds, None of which may have been read.

        Raises:
            UnreadRefundsError: the order was not read; the argument is its id.
        """
        order, refunds = self._register.orders.get(key), self._refunds.get(key)
        if order is None:
            raise UnreadRefundsError(key[1])
        return replace(order, refunds=None if refunds is None else tuple(refunds))

    def _order_of(self, customer_id: str, order_id: str) -> Order:
        return self._order((customer_id, order_id))

    def _unread_order(self, key: OrderKey) -> Order:
        """An order without its refunds, which are many perhaps, and seldom needed."""
        return replace(self._register.orders[key], refunds=None)

    def _sign_up(self, event: Event, data: ReferralSignedUp) -> None:
        friend_id = event.customer_id
        code = parse(data.code)
        advocate_id = self._stored.advocates.get(code) if code is not None else None
        if code is None or advocate_id is None:
            error = "data.code: no customer has this referral code"
            self._register.refusals.append(Refusal(event, Reason.UNKNOWN_CODE, error))
            return
        if (friend_id, code) in self._recorded:
            self.outcome.repeats += 1
            return
        self._recorded.add((friend_id, code))
        request = SignUp(referral_id_of(event), friend_id, advocate_id, code, event.time)
        try:
            self._record(self._opened(request), event)
        except UnreadRefundsError as error:
            self.outcome.wanted.orders.add((friend_id, str(error)))

    def _opened(self, request: SignUp) -> list[Move]:
        assert self._judge is not None, "programs are loaded for sign-ups"
        current = self._current(request.friend_id)
        is_standing = current is not None and current.state is not State.EXPIRED
        orders = [self._order(key) for key in self._of_customer[request.friend_id]]
        return self._judge.sign_up(
            request, orders, was_referred=is_standing or request.friend_id in self._rejected, is_standing=is_standing
        )

    def _current(self, friend_id: str) -> Referral | None:
        """The friend's referral that stands, else the newest expired one."""
        own = self._of_friend.get(friend_id)
        return own[0] if own else None

    def _record(self, moves: Sequence[Move], event: Event) -> None:
        """Record what an event changes of a referral, with what falls due by it."""
        cause = Cause.of(event)
        for referral, at in moves:
            if at is None:
                self._change(referral)
            else:
                self._step(Step(replace(referral, cause=cause), at, cause))
        if moves:
            self._settle(self.outcome.referrals[moves[-1].referral.referral_id])

    def _settle(self, referral: Referral) -> None:
        assert self._judge is not None, "it was judged"
        for step in fall_due(self._judge, referral):
            self._step(step)

    def _step(self, step: Step) -> None:
        self.outcome.steps.append(step)
        self._change(step.referral)

    def _change(self, referral: Referral) -> None:
        self.outcome.referrals[referral.referral_id] = referral
        own = self._of_friend.setdefault(referral.friend_id, [])
        own[:] = [other for other in own if other.referral_id != referral.referral_id]
        if self._judge is not None and referral.state is State.REJECTED:
            self._judge.edges.reject(referral.referral_id, referral.friend_id, referral.advocate_id)
        if referral.state is not State.REJECTED:
            own.insert(0, referral)
        elif referral.advocate_id != referral.friend_id:
            self._rejected.add(referral.friend_id)
