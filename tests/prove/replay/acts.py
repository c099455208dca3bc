"""Applies acknowledged API writes to a replayed customer's books."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.points.rules.books import maturity
from services.points.rules.books.books import Books
from services.points.rules.books.maturity import apply_due
from services.points.rules.books.state import Hold
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import postings
from services.points.rules.ledger.lots import Lot, Portion, earliest
from services.points.rules.ledger.transactions import Entry, TransactionContext
from shared.contracts.envelope import Cause
from tests.prove.writes import Kind, Write

Portions = Sequence[tuple[UUID, int]]

_NOBODY = Cause("api", "api")


@dataclass(slots=True)
class Acts:
    """A customer's acknowledged writes; `applied` has the keys of those in the ledger."""

    adjustments: dict[str, Write] = field(default_factory=dict)
    """By reason, which the statement has as its note until the customer is erased, and by transaction."""
    redemptions: dict[str, Write] = field(default_factory=dict)
    """By id, like holds, captures, releases and cancellations."""
    holds: dict[str, Write] = field(default_factory=dict)
    captures: dict[str, Write] = field(default_factory=dict)
    releases: dict[str, Write] = field(default_factory=dict)
    cancellations: dict[str, Write] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    _spent: dict[str, Portions] = field(default_factory=dict)

    @classmethod
    def of(cls, writes: Sequence[Write]) -> "Acts":
        """The acknowledged writes of a customer."""
        acts = cls()
        for write in writes:
            if write.done:
                acts._add(write)
        return acts

    def _add(self, write: Write) -> None:
        match write.kind:
            case Kind.ADJUST:
                self.adjustments[write.body["reason"]] = write
                if "id" in write.answer:
                    self.adjustments[write.answer["id"]] = write
            case Kind.HOLD:
                self.holds[write.answer["id"]] = write
            case Kind.CAPTURE:
                self.captures[write.answer["id"]] = write
            case Kind.RELEASE:
                self.releases[write.answer["id"]] = write
            case Kind.CANCEL:
                self.cancellations[write.answer["id"]] = write
            case Kind.REDEEM | Kind.REWARD:
                self.redemptions[write.answer["id"]] = write
            case _:
                pass  # it moves no points

    def adjust(self, books: Books, customer: str, note: str) -> None:
        """Apply a correction by hand, found by its note or its transaction.

        Raises:
            LookupError: it was not acknowledged, or it was applied before; the other methods raise it too.
        """
        write = self._take(self.adjustments.get(note), f"adjustment {note!r}")
        account, lots = books.state.accounts[customer], list(books.lots_of(customer).values())
        _book(books, postings.adjust(account, write.body["points"], lots, _why(books), books.ids))

    def redeem(self, books: Books, customer: str, redemption: str) -> None:
        """Apply a redemption."""
        write = self._take(self.redemptions.get(redemption), f"redemption {redemption}")
        account, lots = books.state.accounts[customer], books.lots_of(customer).values()
        update = postings.redeem(account, write.answer["points"], lots, _why(books), books.ids)
        self._spent[redemption] = [
            (posting.lot_id, posting.points) for posting in update.transaction.postings if posting.lot_id
        ]
        _book(books, update)

    def cancel(self, books: Books, customer: str, redemption: str) -> None:
        """Apply a cancellation; no lot of a run is old enough to need a new expiry."""
        self._take(self.cancellations.get(redemption), f"cancellation of {redemption}")
        lots = books.lots_of(customer)
        portions = _portions(lots, self._spent[redemption])
        _book(books, postings.restore(books.state.accounts[customer], portions, _why(books), books.ids))

    def hold(self, books: Books, customer: str, hold_id: str) -> None:
        """Apply a hold."""
        write = self._take(self.holds.get(hold_id), f"hold {hold_id}")
        account, lots = books.state.accounts[customer], books.lots_of(customer).values()
        update = postings.hold(account, write.answer["points"], lots, _why(books), books.ids)
        books.record(update, _NOBODY)
        ends = datetime.fromisoformat(write.answer["expires_at"])
        portions = tuple((posting.lot_id, posting.points) for posting in update.transaction.postings if posting.lot_id)
        points, begins = write.answer["points"], books.now
        hold = Hold(UUID(hold_id), customer, write.answer["reference"], points, portions, maturity.OPEN, ends, begins)
        books.keep_hold(hold)
        books.set_next_due(customer, earliest(books.state.accounts[customer].due_at, ends))
        apply_due(books, [customer])

    def capture(self, books: Books, customer: str, hold_id: str) -> None:
        """Apply a capture, in whole or in part; the rest is released."""
        write = self._take(self.captures.get(hold_id), f"capture of {hold_id}")
        hold = self._open(books, customer, hold_id)
        wanted: int = write.answer["captured"]
        taken: list[tuple[UUID, int]] = []
        rest: list[tuple[UUID, int]] = []
        for lot, held in hold.portions:
            part = min(wanted, held)
            wanted -= part
            taken += [(lot, part)] if part else []
            rest += [(lot, held - part)] if held > part else []
        account, lots = books.state.accounts[customer], books.lots_of(customer)
        books.record(postings.capture(account, _portions(lots, taken), _why(books), books.ids), _NOBODY)
        hold = hold._replace(state="captured", portions=tuple(rest))
        if rest:
            _release(books, hold, "captured")
        else:
            books.keep_hold(hold)
        apply_due(books, [customer])

    def release(self, books: Books, customer: str, hold_id: str) -> None:
        """Apply a release."""
        self._take(self.releases.get(hold_id), f"release of {hold_id}")
        _release(books, self._open(books, customer, hold_id), "released")
        apply_due(books, [customer])

    def is_open(self, books: Books, customer: str, hold_id: str) -> bool:
        """Whether a hold is open."""
        hold = books.state.holds.get(customer, {}).get(UUID(hold_id))
        return hold is not None and hold.state == maturity.OPEN

    def missing(self) -> list[str]:
        """Keys of acknowledged writes that are not in the ledger; the release of an expired hold has no entry."""
        needed = (self.adjustments, self.redemptions, self.holds, self.captures, self.cancellations)
        return sorted({write.key for kind in needed for write in kind.values()} - self.applied)

    def _open(self, books: Books, customer: str, hold_id: str) -> Hold:
        if not self.is_open(books, customer, hold_id):
            raise LookupError(f"hold {hold_id} is not open")
        return books.state.holds[customer][UUID(hold_id)]

    def _take(self, write: Write | None, what: str) -> Write:
        if write is None:
            raise LookupError(f"{what}: not acknowledged")
        if write.key in self.applied:
            raise LookupError(f"{what}: applied twice ({write.key})")
        self.applied.add(write.key)
        return write


def _release(books: Books, hold: Hold, state: str) -> None:
    maturity.release(books, hold, books.now, state)
    maturity.expire_given_back(books, hold, books.now)


def _book(books: Books, entry: Entry) -> None:
    books.record(entry, _NOBODY)
    apply_due(books, [entry.transaction.account.customer_id])


def _why(books: Books) -> TransactionContext:
    return Trigger(books.now, books.now, _NOBODY).context("api/write", {"kind": "adjustment"})


def _portions(lots: Mapping[UUID, Lot], parts: Portions) -> list[Portion]:
    return [Portion(lots[lot], points) for lot, points in parts]
