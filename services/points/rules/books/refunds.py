"""The refunds of an order: what they left of it, one after the other, whenever each arrives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from shared.contracts.history import History
from shared.contracts.kept import Fold, Kept, Place, Purchase, Refund, Taken, place_of
from shared.contracts.shop import PurchaseCompleted


class Later(NamedTuple):
    """The refunds of an order that count after a checkpoint ({}: all of them), as they are stored."""

    checkpoint: Mapping[str, Any]
    refunds: Sequence[Refund]


class Checkpoint(NamedTuple):
    """What a refund and all that count before it left, and how many were known of the order then."""

    known: int
    fold: Fold


class Refunds:
    """What is known of an order's refunds, brought up to date by each that arrives.

    `known` has those that were loaded by their id, and all that arrived since.
    """

    def __init__(self, fold: Fold, history: Callable[[], History], known: Mapping[str, Refund]) -> None:
        """`fold` is of all refunds; `history` has those that one can still arrive among, without those added here."""
        self.fold = fold
        self.known: Final = dict(known)
        self._make_history: Final = history
        self._history: History | None = None
        self._added: list[Refund] = []
        self.checkpoints: dict[Place, Checkpoint] = {}
        """What is to be stored with refunds, by their place."""
        self.void_after: Place | None = None
        """The checkpoints that are stored with refunds after this place hold no more."""

    @classmethod
    def of(
        cls,
        bought: PurchaseCompleted,
        stored: Mapping[str, Any] | None = None,
        known: Mapping[str, Refund] | None = None,
        later: Later | None = None,
    ) -> "Refunds":
        """What is known of an order's refunds.

        `stored` is the fold of all of them; None: it is not stored, and `later` are all of them. Elsewhere `later` is
        needed only where `needs_later` tells so.
        """
        purchase = Purchase.of(bought)
        start, refunds = (stored or {}, ()) if later is None else later
        fold = Fold.from_json(purchase, stored or {})
        if stored is None and later is not None:
            fold = History(fold, refunds).fold()
        return cls(fold, lambda: History(Fold.from_json(purchase, start), refunds), known or {})

    @property
    def kept(self) -> Kept | None:
        """What is kept of the order; None where there is no refund."""
        return self.fold.kept() if self.fold.count else None

    def add(self, refund: Refund) -> Taken:
        """Add a refund; returns what it took of what those before it had left (once an order is gone: nothing).

        Raises:
            ValueError: it counts before others that have to be folded again, and they were not loaded.
        """
        fold, place = self.fold, refund.place
        is_latest = fold.last is None or place > fold.last
        is_settled = is_latest or fold.is_final
        self.known[refund.refund_id] = refund
        if self._history is not None:
            self._history.note(refund)
        else:
            self._added.append(refund)
        if fold.accepts(refund):
            taken = fold.add(refund)
            if is_latest and fold.is_checkpoint:
                fold.since = 0
                self.checkpoints[place] = Checkpoint(fold.count, fold.copy())
            if not is_settled and taken.taken < taken.asked:
                taken = self._past().taken(refund)
        else:
            history = self._past()
            taken, self.fold = history.taken(refund), history.fold()
        if not is_latest:
            self._forget_after(place)
        return taken

    def _past(self) -> History:
        """The history with all that was added.

        Raises:
            ValueError: one of them counts before it, so later refunds were needed and not loaded.
        """
        if self._history is None:
            self._history = self._make_history()
            for refund in self._added:
                self._history.note(refund)
        return self._history

    def _forget_after(self, place: Place) -> None:
        self.void_after = place if self.void_after is None else min(place, self.void_after)
        self.checkpoints = {at: found for at, found in self.checkpoints.items() if at < place}
        for fold in self._history.checkpoints() if self._history else ():
            if fold.last is not None and fold.last not in self.checkpoints:
                self.checkpoints[fold.last] = Checkpoint(self.fold.count, fold)


def needs_later(fold: Fold, arriving: Iterable[Refund]) -> bool:
    """Whether refunds that arrive can only be added where those that count after them are known.

    Those are folded again where a late one is of another kind than they are; and where it finds less than it asks for.
    `fold` is brought up to date as far as it can be.
    """
    refunds = list(arriving)
    if fold.last is None or min(map(place_of, refunds)) > fold.last:
        return False
    if not fold.accepts_in_any_order(refunds):
        return True
    for refund in refunds:
        is_settled = fold.is_final or refund.place > fold.last
        taken = fold.add(refund)
        if taken.taken < taken.asked and not is_settled:
            return True
    return False


class Known(NamedTuple):
    """What was kept of an order when so many of its refunds were known, and what the last of them to arrive took."""

    kept: Kept
    taken: Taken | None


def as_known(
    bought: PurchaseCompleted, checkpoint: Mapping[str, Any], arrived: Iterable[tuple[int | None, Refund]]
) -> Iterable[tuple[int | None, Known]]:
    """By the number of each refund that arrived after a checkpoint, in their order: what was known of the order then.

    Refunds without a number arrived before all others.
    """
    refunds = Refunds.of(bought, checkpoint)
    for number, refund in arrived:
        taken = refunds.add(refund)
        yield number, Known(refunds.fold.kept(), taken)
