"""Qualifying points, by the events that say which points were earned and reversed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from services.tiers.rules.counting import About, Counted, CountedKey, Early, Repeats
from services.tiers.rules.metrics import Change
from services.tiers.rules.reversing import Reversing, Transaction, UnreadTransactionsError
from shared.contracts.envelope import Event
from shared.contracts.loyalty import PointsMoved, PointsReason
from shared.contracts.orders import digest_of

_ENCODER: Final = msgspec.json.Encoder()


class Reason(NamedTuple):
    """What is stored of a reason: a state where it has several transactions, else its only one.

    `transactions` are all of them, None where they were not read.
    """

    state: Mapping[str, Any] | None
    only: Transaction | None
    transactions: Sequence[Transaction] | None = None

    def reversing(self) -> Reversing:
        """The state of the reason."""
        if self.state is not None:
            state = Reversing.from_json(self.state)
            state.transactions = None if self.transactions is None else list(self.transactions)
            return state
        assert self.only is not None, "a reason without a state has one transaction"
        state = Reversing.earned(self.only)
        state.transactions = [self.only]
        return state


@dataclass(slots=True)
class Qualifying:
    """Admits transactions of points, in the order of the log, each once.

    `rows` and `reasons` are the stored ones that the batch names; `new` are the keys of rows to write, `changed` the
    reasons with several transactions whose state changed. `unread` are those of which all transactions have to be read.
    """

    rows: dict[CountedKey, Counted]
    reasons: dict[About, Reversing]
    early: Early
    repeats: Repeats
    new: list[CountedKey] = field(default_factory=list[CountedKey])
    changed: dict[About, Reversing] = field(default_factory=dict[About, Reversing])
    unread: set[About] = field(default_factory=set[About])

    def earn(self, event: Event) -> Sequence[Change]:
        """Count what a transaction earned, less what waited for it; nothing for a repeat."""
        transaction, about = read(event)
        if not transaction.points or not self._is_new(event, transaction, about):
            return ()
        reason = event.customer_id, about
        if reason in self.reasons:
            return self._add(reason, transaction)
        state = self.reasons[reason] = Reversing.earned(transaction)
        state.transactions = [transaction]
        changes = [Change(transaction.time, transaction.time, "points", "", transaction.points)]
        for early in self.early.take((event.customer_id, waits_for(about))):
            changes += self.reverse(early)
        return changes

    def reverse(self, event: Event) -> Sequence[Change]:
        """Lower what was earned for the same reason; it waits until something was."""
        transaction, about = read(event)
        if not transaction.points:
            return ()
        reason = event.customer_id, about
        if reason not in self.reasons:
            self.early.add((event.customer_id, waits_for(about)), f"reversal/{transaction.id}", event)
            return ()
        if not self._is_new(event, transaction, about):
            return ()
        return self._add(reason, transaction)

    def _is_new(self, event: Event, transaction: Transaction, about: str) -> bool:
        """Record a transaction; False for a repeat, which is counted."""
        key = key_of(event, transaction.id)
        points = abs(transaction.points)
        digest = digest_of(_ENCODER.encode((transaction.time, points, about)))
        recorded = self.rows.get(key)
        if recorded is not None:
            self.repeats.note(differs=recorded.digest != digest)
            return False
        self.rows[key] = Counted(transaction.time, points, digest, about=about)
        self.new.append(key)
        return True

    def _add(self, reason: About, transaction: Transaction) -> Sequence[Change]:
        state = self.changed[reason] = self.reasons[reason]
        try:
            return state.add(transaction)
        except UnreadTransactionsError:
            self.unread.add(reason)
            return ()


EARNED: Final = "loyalty.points.earned.v1"
REVERSED: Final = "loyalty.points.reversed.v1"


def key_of(event: Event, transaction_id: str) -> CountedKey:
    """The natural key of a transaction."""
    return event.customer_id, "points" if event.type == EARNED else "reversal", transaction_id


def read(event: Event) -> tuple[Transaction, str]:
    """The transaction of an event (below 0: reversed), and the reason that it shares with others."""
    data = event.data
    assert isinstance(data, PointsMoved)
    # Whatever the sign of the field, the type of the event gives the direction.
    points = abs(data.qualifying_points)
    return Transaction(event.time, data.transaction_id, points if event.type == EARNED else -points), about_of(
        data.reason
    )


def about_of(reason: PointsReason) -> str:
    """What points were earned for, whether they are earned or reversed: the id that is named, else the kind."""
    if reason.order_id is not None:
        return f"order/{reason.order_id}"
    for name, id_ in (
        ("review", reason.review_id),
        ("referral", reason.referral_id),
        ("activity", reason.activity_id),
        ("answer", reason.answer_id),
    ):
        if id_ is not None:
            return f"{name}/{id_}"
    return reason.kind


def waits_for(about: str) -> str:
    """`Waiting.about` of a reversal."""
    return f"points/{about}"
