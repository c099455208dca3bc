"""The books while they are written: what is known, and every entry noted as it happens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.points.rules.books.state import Announced, Changes, Key, State
from services.points.rules.ledger import postings, receipts
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.lots import Grant, Lot
from services.points.rules.ledger.receipts import Receipt
from services.points.rules.ledger.transactions import Entry, TransactionContext
from services.points.rules.program.compiled_rule import is_extra
from services.points.rules.program.ruleset import RuleBook
from shared.contracts.envelope import Cause

PUBLISHED: Final = frozenset({"earned", "activated", "reversed", "redeemed", "restored", "expired", "adjusted"})
"""The kinds of transactions that are told of; a hold moves points within their customer."""


_NO_INPUTS: Final[Mapping[str, Any]] = {}

MOST_OF_AN_ACCOUNT: Final = 4 * 10**18
"""The most points that rules bring an account to: what is given by hand beside it fits a number of the database."""

TIER_KIND: Final = "tier"
"""The kind of what a tier gives or takes: it qualifies for no tier, or the two would chase each other."""

_PLENTY: Final = 2 * 10**15
"""Room for whatever one event gives."""


class Trigger(NamedTuple):
    """What makes a entry happen: its business time, when it is recorded, and what it is caused by."""

    occurred_at: datetime
    recorded_at: datetime
    cause: Cause


@dataclass(slots=True)
class Books:
    """What is known of some customers, brought up to date by every movement; `changes` has to be written.

    `now` is the clock, `ids` are new ones, `rules` the versions that may be needed.
    """

    state: State
    rules: RuleBook
    now: datetime
    ids: Iterator[UUID]
    changes: Changes = field(default_factory=Changes)
    due_before: dict[str, datetime] = field(default_factory=dict, init=False)
    """When something fell due for customers next, as it was loaded."""
    _by_origin: dict[str, dict[str, dict[UUID, None]]] = field(default_factory=dict, init=False)
    """By customer, of those that were asked for, and origin: the lots that are known."""

    def __post_init__(self) -> None:
        for customer, account in self.state.accounts.items():
            if account.due_at is not None:
                self.due_before[customer] = account.due_at

    def lots_of(self, customer: str) -> dict[UUID, Lot]:
        """The lots of a customer that are loaded or were made since, by id."""
        return self.state.lots.setdefault(customer, {})

    def own_lots(self, key: Key) -> list[Lot]:
        """The lots of a customer, of those that are loaded or were made since, that came from one origin."""
        lots = self.lots_of(key[0])
        by_origin = self._by_origin.get(key[0])
        if by_origin is None:
            by_origin = self._by_origin[key[0]] = {}
            for lot in lots.values():
                by_origin.setdefault(lot.origin, {})[lot.id] = None
        return [lots[lot_id] for lot_id in by_origin.get(key[1], ())]

    def know(self, lots: Iterable[Lot]) -> None:
        """Add lots that were loaded; those that are known stay as they are."""
        for lot in lots:
            self.lots_of(lot.customer_id).setdefault(lot.id, lot)
            if lot.customer_id in self._by_origin:
                self._by_origin[lot.customer_id].setdefault(lot.origin, {})[lot.id] = None

    def fitting(self, customer: str, points: Mapping[str, int]) -> Mapping[str, int]:
        """Points (by rule) as far as they fit the customer's account, the last of them cut first."""
        room = _room(self.state.accounts[customer])
        if room >= _PLENTY or sum(points.values()) <= room:
            return points
        found: dict[str, int] = {}
        for rule, count in points.items():
            found[rule] = max(0, min(count, room))
            room -= found[rule]
        return found

    def earn(self, customer: str, grants: Sequence[Grant], context: TransactionContext, cause: Cause) -> UUID:
        """Give what rules grant; returns the transaction's id."""
        entry = postings.earn(self.state.accounts[customer], grants, context, self.ids)
        if context.reason["kind"] == TIER_KIND:
            return self.record(entry, cause)
        qualifying = entry.transaction.points
        for grant in grants:
            if is_extra(grant.rule):
                qualifying -= grant.points
        return self.record(entry, cause, qualifying)

    def take_back(self, customer: str, points: Mapping[str, int], context: TransactionContext, cause: Cause) -> UUID:
        """Take points (by rule) back; returns the transaction's id."""
        own = self.own_lots((customer, context.origin))
        suffices = sum(lot.remaining for lot in own) >= sum(points.values())
        lots = own if suffices else self.lots_of(customer).values()
        entry = postings.take_back(self.state.accounts[customer], points, lots, context, self.ids)
        if context.reason["kind"] == TIER_KIND:
            return self.record(entry, cause)
        return self.record(entry, cause, sum(count for name, count in points.items() if not is_extra(name)))

    def record(self, entry: Entry, cause: Cause, qualifying: int = 0) -> UUID:
        """Note a movement; returns its transaction's id."""
        transaction = entry.transaction
        customer = transaction.account.customer_id
        self.state.accounts[customer] = transaction.account
        lots = self.lots_of(customer)
        for lot in entry.made:
            lots[lot.id] = lot
        if entry.made and (by_origin := self._by_origin.get(customer)) is not None:
            for lot in entry.made:
                by_origin.setdefault(lot.origin, {})[lot.id] = None
        for lot in entry.changed:
            lots[lot.id] = lot
        changes = self.changes
        changes.accounts.add(customer)
        changes.keep_lots(entry.made, entry.changed)
        changes.transactions.append(transaction)
        if transaction.points and transaction.kind in PUBLISHED:
            changes.announced.append(Announced(transaction, transaction.context.occurred_at, qualifying, cause))
        return transaction.id


def is_full(account: Account) -> bool:
    """Whether an account may have been given less than it was due, for want of room."""
    return _room(account) < _PLENTY


def _room(account: Account) -> int:
    return MOST_OF_AN_ACCOUNT - max(account.earned, account.available + account.pending + account.held)


def rules_context(
    trigger: Trigger, origin: str, reason: Mapping[str, str], receipt: Receipt, inputs: Mapping[str, Any]
) -> TransactionContext:
    """Why and when a transaction is made, with its receipt's digest."""
    return TransactionContext(
        occurred_at=trigger.occurred_at,
        recorded_at=trigger.recorded_at,
        origin=origin,
        reason=reason,
        rules_version=receipt["rules_version"],
        inputs=inputs,
        receipt_digest=receipts.digest(receipt),
    )


def plain_context(
    trigger: Trigger, origin: str, reason: Mapping[str, str], inputs: Mapping[str, Any] = _NO_INPUTS
) -> TransactionContext:
    """Why and when a transaction is made that no earning rule decided."""
    digest = receipts.digest_without_rules()
    return TransactionContext(trigger.occurred_at, trigger.recorded_at, origin, reason, None, inputs, digest)


def differences(
    due: Mapping[str, int], given: Mapping[str, int], lost: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """By rule: what is due beyond what was given, and what has to be taken back of what was given.

    What a rule's own lots lost to expiry counts as taken back, and is never paid again.
    """
    more: dict[str, int] = {}
    less: dict[str, int] = {}
    for rule in {**due, **given}:
        change = due.get(rule, 0) - given.get(rule, 0)
        if change > 0:
            more[rule] = change
        elif (back := -change - lost.get(rule, 0)) > 0:
            less[rule] = back
    return more, less


def lost_of(lots: Sequence[Lot]) -> dict[str, int]:
    """By rule: what lots lost to expiry."""
    lost: dict[str, int] = {}
    for lot in lots:
        if lot.expired:
            lost[lot.rule] = lost.get(lot.rule, 0) + lot.expired
    return lost


def after(given: Mapping[str, int], more: Mapping[str, int], less: Mapping[str, int]) -> dict[str, int]:
    """What was given by rule, after a settling."""
    rules = {**given, **more}
    result = {rule: given.get(rule, 0) + more.get(rule, 0) - less.get(rule, 0) for rule in rules}
    return {rule: points for rule, points in result.items() if points}
