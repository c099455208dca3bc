"""Judges referrals: what a sign-up, an order, a refund and time make of them, by their signals and the program.

Rewards, window, hold and caps are those of the program at the sign-up, signals those of the program in force at each
judgement. What a judgement needs and does not know is asked for (`Wanted`); it counts as nothing meanwhile, and the
whole is judged again once it is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from services.referrals.rules import steps
from services.referrals.rules.circle import Edges
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import HELD, OPEN, Ground, Referral, SignUp, State
from services.referrals.rules.rewards import Account, Ledger, Paid, Span
from services.referrals.rules.signals import NOTHING, Circumstances, Facts, Found, judge
from services.referrals.rules.steps import Verdict
from shared.contracts.orders import Order, OrderKey
from shared.contracts.refunds import Refund
from shared.programs.kind import Book

LATEST: Final = 2**63 - 1
"""The mark after everything that is stored."""

_KNOWN_ANYWAY: Final = frozenset({"self", "already_bought", "already_referred", "threshold_order"})
"""The signals that are judged without stored facts."""


class Move(NamedTuple):
    """A changed referral; `at` is the time of the event of its new state, None where the state is the same."""

    referral: Referral
    at: datetime | None = None


class Ask(NamedTuple):
    """Asks for the facts of a referral, of what was handled up to a mark."""

    referral_id: UUID
    friend_id: str
    advocate_id: str
    code: str
    signed_up_at: datetime
    mark: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides referrals and events: the published programs, and what was asked for before."""

    programs: Book[Program]
    now: datetime
    facts: Mapping[Ask, Facts] = field(default_factory=dict[Ask, Facts])
    accounts: Mapping[str, Account] = field(default_factory=dict[str, Account])
    paid: Mapping[Span, Paid] = field(default_factory=dict[Span, Paid])
    orders: Mapping[OrderKey, Order] = field(default_factory=dict[OrderKey, Order])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be known before the result counts; `orders` with their refunds."""

    accounts: set[str] = field(default_factory=set[str])
    spans: set[Span] = field(default_factory=set[Span])
    orders: set[OrderKey] = field(default_factory=set[OrderKey])
    facts: set[Ask] = field(default_factory=set[Ask])

    def __bool__(self) -> bool:
        """Whether anything is missing."""
        return bool(self.accounts or self.spans or self.orders or self.facts)


class Judge:
    """Judges referrals one after the other, as of `known.now`."""

    def __init__(self, known: Known) -> None:
        """Begin with what is known."""
        self._known = known
        self.now: Final = known.now
        self._in_force = known.programs.in_force(known.now)
        self._needs_facts = any(
            setting.action != "off" for id_, setting in self._in_force.settings.items() if id_ not in _KNOWN_ANYWAY
        )
        self.mark = LATEST
        """The mark of the event at hand, whose customers told nothing later."""
        self.edges: Final = Edges(facts.edges for facts in known.facts.values())
        """The fold tells it which referrals are rejected."""
        self.ledger: Final = Ledger(known.accounts, known.paid)
        self.wanted: Final = Wanted(self.ledger.missing_accounts, self.ledger.missing_spans)

    def program_of(self, referral: Referral) -> Program:
        """The program of the referral's sign-up."""
        return self._known.programs.version(referral.program_version)

    def sign_up(self, request: SignUp, orders: Sequence[Order], *, was_referred: bool, is_standing: bool) -> list[Move]:
        """Open a referral, by the friend's orders.

        `was_referred` says that the friend had signed up with another customer's code, and `is_standing` that this
        referral stands, which rejects another one whatever the signals are.

        Raises:
            UnreadRefundsError: the refunds of an order are needed.
        """
        self.edges.open(request.referral_id, request.friend_id, request.advocate_id)
        program = self._known.programs.in_force(request.time)
        has_bought = any(order.time < request.time for order in orders)
        opened = replace(steps.opened(request, program), has_bought=has_bought, was_referred=was_referred)
        if is_standing and not request.is_self:
            # The one that stands may be rejected once its facts are known: this one's are asked for in the same round.
            self._facts(opened)
            weight = self._in_force.settings["already_referred"].weight
            opened = steps.with_signals(opened, [Found("already_referred", "block", weight)], request.time)
        else:
            opened = self._judged(opened, request.time)
        if steps.verdict(opened, self._in_force) is Verdict.BLOCK:
            return [Move(steps.reject(opened, Ground.FRAUD, request.time), request.time)]
        fitting = [order for order in orders if steps.counts(opened, order, program)]
        counted = sorted(fitting, key=lambda order: (order.time, order.order_id))[: program.nth]
        if len(counted) == program.nth:
            return [Move(opened, request.time), *self._qualify(opened, counted[-1])]
        for order in counted:
            opened = steps.counting(opened, order)
        return [Move(opened, request.time)]

    def order(self, referral: Referral, order: Order, order_of: Callable[[str], Order]) -> list[Move]:
        """Take a new order of the friend into account; `order_of` returns a recorded order by its id.

        Raises:
            UnreadRefundsError: the refunds of an order are needed; the argument is its id.
        """
        if order.time < referral.signed_up_at:
            return self._order_from_before(referral)
        program = self.program_of(referral)
        if referral.state not in OPEN or not steps.counts(referral, order, program):
            return []
        counting = steps.counting(referral, order)
        if len(counting.counted) < program.nth:
            return [Move(counting)]
        qualifying = counting.counted[program.nth - 1].order_id
        return self._qualify(counting, order if qualifying == order.order_id else order_of(qualifying))

    def refund(self, referral: Referral, order: Order, refund: Refund) -> list[Move]:
        """Take a new refund of the qualifying order into account.

        Raises:
            UnreadRefundsError: other refunds of the order are needed.
        """
        after = steps.after_refund(referral, order, refund, self.program_of(referral))
        if isinstance(after, Referral):
            return [Move(after)]
        if referral.state is not State.APPROVED:
            return [Move(steps.reject(referral, Ground.REFUNDED, after), after)]
        self.ledger.void(referral.advocate_id, referral.milestones)
        return [Move(steps.void(referral, after), after)]

    def due(self, referral: Referral) -> list[Move]:
        """Apply what falls due next of a referral."""
        assert referral.next_at is not None, "it falls due"
        if referral.state is State.SIGNED_UP:
            expired = steps.expire(referral, self.program_of(referral))
            return [Move(expired, expired.closed_at)]
        at, is_undecided = referral.next_at, referral.state is State.FLAGGED
        if is_undecided and self.program_of(referral).then == "reject":
            return [Move(steps.reject(referral, Ground.UNDECIDED, at), at)]
        if not referral.is_cleared:
            referral = self._judged(referral, at)
            verdict = steps.verdict(referral, self._in_force)
            if verdict is Verdict.BLOCK:
                return [Move(steps.reject(referral, Ground.FRAUD, at), at)]
            # Nobody decided: what only flags it does not flag it again.
            if verdict is Verdict.FLAG and not is_undecided:
                return [self._flag(referral, at)]
        return [self.approve(referral, at, Ground.UNDECIDED if is_undecided else None)]

    def approve(self, referral: Referral, at: datetime, reason: Ground | None = None) -> Move:
        """Approve a referral at an instant, with its reward."""
        reward = self.ledger.approve(self.program_of(referral), referral.advocate_id, at)
        return Move(steps.approve(referral, at, reward, reason), at)

    def _qualify(self, referral: Referral, order: Order) -> list[Move]:
        program, at = self.program_of(referral), order.time
        qualified = replace(steps.qualify(referral, order, program), kept=steps.kept_of(order))
        fell_at = steps.fell_below(order, steps.least(program, order.purchase.currency))
        if fell_at is not None:
            return [Move(qualified, at), Move(steps.reject(qualified, Ground.REFUNDED, fell_at), fell_at)]
        qualified = self._judged(qualified, at, order)
        assert qualified.due_at is not None, "it is qualified"
        match steps.verdict(qualified, self._in_force):
            case Verdict.BLOCK:
                return [Move(qualified, at), Move(steps.reject(qualified, Ground.FRAUD, at), at)]
            case Verdict.FLAG:
                return [Move(qualified, at), self._flag(qualified, at)]
            case Verdict.CLEAN if qualified.due_at <= max(self._known.now, at):
                # Without a hold also an order that is dated ahead is approved at once.
                return [Move(qualified, at), self.approve(qualified, qualified.due_at)]
            case Verdict.CLEAN:
                return [Move(qualified, at)]

    def _order_from_before(self, referral: Referral) -> list[Move]:
        """An order from before the sign-up, which is known only now: it counts until the approval.

        Also after the window, so that the referral ends alike whichever of the two is handled first.
        """
        if referral.state not in OPEN | HELD:
            return []
        bought = replace(referral, has_bought=True)
        setting, at = self._in_force.settings["already_bought"], referral.signed_up_at
        if referral.is_cleared or setting.action == "off":
            return [Move(bought)]
        bought = steps.with_signals(bought, [Found("already_bought", setting.action, setting.weight)], at)
        verdict = steps.verdict(bought, self._in_force)
        if verdict is Verdict.BLOCK:
            return [Move(steps.reject(bought, Ground.FRAUD, at), at)]
        if verdict is Verdict.FLAG and referral.state is State.QUALIFIED:
            assert referral.qualified_at is not None, "it is qualified"
            return [self._flag(bought, referral.qualified_at)]
        return [Move(bought)]

    def _flag(self, referral: Referral, at: datetime) -> Move:
        return Move(steps.flag(referral, at, self._known.now, self.program_of(referral)), at)

    def _judged(self, referral: Referral, at: datetime, order: Order | None = None) -> Referral:
        """The referral with the signals that hold now; `order` is the one that qualified it, None: look it up."""
        facts = self._facts(referral)
        around = Circumstances(
            is_self=referral.friend_id == referral.advocate_id,
            referred=referral.was_referred,
            bought=referral.has_bought,
            closes_circle=self._in_force.settings["circle"].action != "off" and self._closes_circle(referral, facts),
            order=self._money(referral, order),
            terms=self.program_of(referral),
        )
        return steps.with_signals(referral, judge(facts, around, self._in_force), at)

    def _closes_circle(self, referral: Referral, facts: Facts) -> bool:
        return self.edges.closes(facts.edges, referral.referral_id, referral.advocate_id, referral.friend_id)

    def _facts(self, referral: Referral) -> Facts:
        if not self._needs_facts or referral.friend_id == referral.advocate_id:
            return NOTHING
        ask = Ask(
            *(referral.referral_id, referral.friend_id, referral.advocate_id, referral.code, referral.signed_up_at),
            self.mark,
        )
        facts = self._known.facts.get(ask)
        if facts is None:
            self.wanted.facts.add(ask)
        return facts or NOTHING

    def _money(self, referral: Referral, order: Order | None) -> tuple[str, str] | None:
        """The total and the currency of the qualifying order, where they matter."""
        if referral.order_id is None or self._in_force.settings["threshold_order"].action == "off":
            return None
        key = referral.friend_id, referral.order_id
        order = order or self._known.orders.get(key)
        if order is None:
            self.wanted.orders.add(key)
            return None
        return order.purchase.total, order.purchase.currency
