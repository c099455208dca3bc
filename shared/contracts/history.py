"""The refunds of an order, kept in memory so that one that arrives late can be folded in among them."""

from bisect import bisect, insort
from collections.abc import Iterable, Sequence

from shared.contracts.kept import Fold, Place, Refund, place_of


class History:
    """Refunds of an order after a checkpoint, so that a late one can be folded in among them.

    It costs what comes after the late refund, and at most one stretch between checkpoints more.
    """

    def __init__(self, start: Fold, refunds: Iterable[Refund] = ()) -> None:
        """`start` is the fold of all refunds up to its last one, `refunds` are all that count after it."""
        self._refunds = sorted(refunds, key=place_of)
        self._folds = [start]
        """After the first: folds of all refunds up to a checkpoint, which is their last one."""

    def fold(self) -> Fold:
        """The fold of all refunds that are known."""
        return self._refold()

    def note(self, refund: Refund) -> None:
        """Take note of a refund; the checkpoints after it are void.

        Raises:
            ValueError: it counts before the checkpoint that the history begins with.
        """
        place = refund.place
        while len(self._folds) > 1 and place < self._last(self._folds[-1]):
            self._folds.pop()
        start = self._folds[0].last
        if start is not None and place < start:
            raise ValueError(f"refund {refund.refund_id} counts before the checkpoint that there is")
        insort(self._refunds, refund, key=place_of)

    def checkpoints(self) -> Sequence[Fold]:
        """The folds of all refunds up to one of those that are known here; each is stored with its last one."""
        return self._folds[1:]

    def _refold(self) -> Fold:
        fold = self._folds[-1].copy()
        first = 0 if fold.last is None else bisect(self._refunds, fold.last, key=place_of)
        for refund in self._refunds[first:]:
            fold.add(refund)
            if fold.is_checkpoint:
                fold.since = 0
                self._folds.append(fold.copy())
        return fold

    @staticmethod
    def _last(fold: Fold) -> Place:
        assert fold.last is not None, "a checkpoint is at a refund"
        return fold.last
