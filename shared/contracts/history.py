"""Refunds of an order in memory, so that a refund that arrives late can be folded in among them."""

from bisect import bisect, insort
from collections.abc import Iterable, Sequence

from shared.contracts.kept import Fold
from shared.contracts.refunds import Place, Refund, Taken, place_of


class History:
    """The refunds of an order that count after a checkpoint.

    To fold in a late refund costs as many steps as there are refunds after it, and at most one distance between two
    checkpoints more.
    """

    def __init__(self, start: Fold, refunds: Iterable[Refund] = ()) -> None:
        """`start` is a fold (the checkpoint), and `refunds` are all refunds that count after its last one."""
        self._refunds = sorted(refunds, key=place_of)
        self._folds = [start]
        """The start, and after it the folds up to each later checkpoint."""

    def covers(self, refund: Refund) -> bool:
        """Whether a refund counts after the checkpoint at which the history starts."""
        start = self._folds[0].last
        return start is None or refund.place > start

    def note(self, refund: Refund) -> None:
        """Add a refund; the checkpoints after it become void.

        Raises:
            ValueError: the refund counts before the checkpoint at which the history starts.
        """
        if not self.covers(refund):
            raise ValueError(f"refund {refund.refund_id} counts before the checkpoint; start from an earlier one")
        while len(self._folds) > 1 and refund.place < self._last(self._folds[-1]):
            self._folds.pop()
        insort(self._refunds, refund, key=place_of)

    def taken(self, refund: Refund) -> Taken:
        """What the refund that was added last took of what the refunds before it had left."""
        _, taken = self._refold(refund.place)
        assert taken is not None, "the refund was added"
        return taken

    def fold(self) -> Fold:
        """The fold of all refunds."""
        return self._refold(None)[0]

    def checkpoints(self) -> Sequence[Fold]:
        """The folds up to each checkpoint after the start; each is stored with the last refund in it."""
        return self._folds[1:]

    def _refold(self, end: Place | None) -> tuple[Fold, Taken | None]:
        """The fold up to the refund at `end`, from the last checkpoint on, and what the last refund took."""
        fold = self._folds[-1].copy()
        first = 0 if fold.last is None else bisect(self._refunds, fold.last, key=place_of)
        refunds = self._refunds[first : None if end is None else bisect(self._refunds, end, key=place_of)]
        if not refunds:
            return fold, None
        for refund in refunds[:-1]:
            fold.put(refund)
            self._mark(fold)
        taken = fold.add(refunds[-1])
        self._mark(fold)
        return fold, taken

    def _mark(self, fold: Fold) -> None:
        if fold.is_checkpoint:
            fold.since = 0
            self._folds.append(fold.copy())

    @staticmethod
    def _last(fold: Fold) -> Place:
        assert fold.last is not None, "a checkpoint has a refund"
        return fold.last
