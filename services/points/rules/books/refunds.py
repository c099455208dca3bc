"""The refunds of an order, added one by one in any order of arrival, and what is kept of the order after them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from shared.contracts.history import History
from shared.contracts.kept import Fold
from shared.contracts.refunds import Kept, Place, Purchase, Refund, Taken, place_of
from shared.contracts.shop import PurchaseCompleted


class Later(NamedTuple):
    """The stored refunds of an order that count after a checkpoint ({}: all of them)."""

    checkpoint: Mapping[str, Any]
    refunds: Sequence[Refund]


class Checkpoint(NamedTuple):
    """The fold of a refund and of all that count before it, and the number of refunds that had arrived by then."""

    arrived: int
    fold: Fold


class Refunds:
    """The refunds of an order, brought up to date by each that arrives.

    `by_id` has those that were loaded, and all that arrived since.
    """

    def __init__(self, fold: Fold, history: Callable[[], History], loaded: Mapping[str, Refund]) -> None:
        """`fold` has all refunds; `history` makes the stored ones that a late refund may fall among."""
        self.fold = fold
        self.by_id: Final = dict(loaded)
        self._make_history: Final = history
        self._history: History | None = None
        self._added: list[Refund] = []
        self.checkpoints: dict[Place, Checkpoint] = {}
        """By the place of a refund: the checkpoint to be stored with it."""
        self.void_after: Place | None = None
        """The checkpoints stored with refunds after this place are void."""

    @classmethod
    def of(
        cls,
        bought: PurchaseCompleted,
        stored: Mapping[str, Any] | None = None,
        loaded: Mapping[str, Refund] | None = None,
        later: Later | None = None,
    ) -> "Refunds":
        """The refunds of an order.

        `stored` is the fold of all of them; None: it is not stored, and `later` has all of them. Otherwise `later` is
        needed only where `needs_later` says so.
        """
        purchase = Purchase.of(bought)
        start, refunds = (stored or {}, ()) if later is None else later
        fold = Fold.from_json(purchase, stored or {})
        if stored is None and later is not None:
            fold = History(fold, refunds).fold()
        return cls(fold, lambda: History(Fold.from_json(purchase, start), refunds), loaded or {})

    @property
    def kept(self) -> Kept | None:
        """What is kept of the order; None where there is no refund."""
        return self.fold.kept() if self.fold.count else None

    def add(self, refund: Refund) -> Taken:
        """Add a refund; returns what it took of what earlier refunds had left (nothing, once an order is gone).

        Raises:
            ValueError: it counts before refunds that have to be folded again, and they were not loaded.
        """
        fold, place = self.fold, refund.place
        is_latest = fold.last is None or place > fold.last
        is_settled = is_latest or fold.is_final
        self.by_id[refund.refund_id] = refund
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
        """The history with every refund that was added.

        Raises:
            ValueError: a refund counts before the start of the history, so later refunds were needed and not loaded.
        """
        if self._history is None:
            self._history = self._make_history()
            for refund in self._added:
                self._history.note(refund)
        return self._history

    def _forget_after(self, place: Place) -> None:
        self.void_after = place if self.void_after is None else min(place, self.void_after)
        self.checkpoints = {at: checkpoint for at, checkpoint in self.checkpoints.items() if at < place}
        for fold in self._history.checkpoints() if self._history else ():
            if fold.last is not None and fold.last not in self.checkpoints:
                self.checkpoints[fold.last] = Checkpoint(self.fold.count, fold)


def needs_later(fold: Fold, arriving: Iterable[Refund]) -> bool:
    """Whether arriving refunds can only be added if the refunds that count after them are loaded.

    Those have to be folded again where a late refund is of another kind, and where it asks for more than is left.
    `fold` is brought up to date as far as possible.
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


class RefundState(NamedTuple):
    """What was kept of an order after some of its refunds had arrived, and what the last of these took."""

    kept: Kept
    taken: Taken | None


def refund_states(
    bought: PurchaseCompleted, checkpoint: Mapping[str, Any], arrived: Iterable[tuple[int | None, Refund]]
) -> Iterable[tuple[int | None, RefundState]]:
    """Yields the number of each refund after a checkpoint, in the order of arrival, with the state after it.

    Refunds without a number arrived before all others.
    """
    refunds = Refunds.of(bought, checkpoint)
    for number, refund in arrived:
        taken = refunds.add(refund)
        yield number, RefundState(refunds.fold.kept(), taken)
