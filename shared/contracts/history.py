"""The refunds of an order, kept in memory so that one that arrives late can be folded in among them."""

from bisect import bisect, insort
from collections.abc import Iterable, Sequence

from shared.contracts.kept import Fold, Place, Refund, Taken, place_of


class History:
    """Refunds of an order after a checkpoint, so that a late one can be folded in among them.

    It costs what comes after the late refund, and at most one stretch between checkpoints more.
    """

    def __init__(self, start: Fold, refunds: Iterable[Refund] = ()) -> None:
        """`start` is the fold of all refunds up to its last one, `refunds` are all that count after it."""
        self._refunds = sorted(refunds, key=place_of)
        self._folds = [start]
        """After the first: folds of all refunds up to a checkpoint, which is their last one."""

    def covers(self, refund: Refund) -> bool:
        """Whether a refund counts after the checkpoint that the history begins with."""
        start = self._folds[0].last
        return start is None or refund.place > start

    def note(self, refund: Refund) -> None:
        """Take note of a refund; the checkpoints after it are void.

        Raises:
            ValueError: it counts before the checkpoint that the history begins with.
        """
        if not self.covers(refund):
            raise ValueError(f"refund {refund.refund_id} counts before the checkpoint that there is")
        while len(self._folds) > 1 and refund.place < self._last(self._folds[-1]):
            self._folds.pop()
        insort(self._refunds, refund, key=place_of)

    def taken(self, refund: Refund) -> Taken:
        """What the refund that was noted last took of what those before it had left."""
        _, taken = self._refold(refund.place)
        assert taken is not None, "it is among them"
        return taken

    def fold(self) -> Fold:
        """The fold of all refunds that are known."""
        return self._refold(None)[0]

    def checkpoints(self) -> Sequence[Fold]:
        """The folds of all refunds up to one of those that are known here; each is stored with its last one."""
        return self._folds[1:]

    def _refold(self, end: Place | None) -> tuple[Fold, Taken | None]:
        """Fold from the last checkpoint on, up to the refund at `end`; tells what the last one took."""
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
        assert fold.last is not None, "a checkpoint is at a refund"
        return fold.last
