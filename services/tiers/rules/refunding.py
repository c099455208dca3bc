"""What a refund changes of `spend` and `orders`, at a cost that does not depend on the number of earlier refunds.

What is kept of the money is a fold (see shared/contracts/kept.py). Spend also depends on when each part was taken.
Consecutive refunds of one kind (a run) take from pools: refunds by share from all the money, refunds by line each from
its lines. While a pool has enough, every refund takes what it asks for. Once a pool is empty, a refund that counts
before others leaves less for the last of them: what they took is moved back, the latest first. So the place where each
pool ended is stored.

A refund that counts before the last run stands apart from the fold while every line has plenty: then it takes what it
asks for wherever it counts, and so do all others. Only where a line runs short does such a refund need all refunds of
the order.
"""

from bisect import bisect, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from itertools import islice
from typing import Any, Final, Literal

from services.tiers.rules import orders
from services.tiers.rules.metrics import Change
from services.tiers.rules.unread import Pool, QueriedRefunds, RefundQuery, UnreadRefundsError
from shared.contracts.kept import Fold
from shared.contracts.orders import Order
from shared.contracts.refunds import Place, Refund, place_from_json, place_of, place_to_json
from shared.contracts.values import UNITS, units

Kind = Literal["lines", "share"]

_LEAST_MONEY: Final = Fraction(1, UNITS)
_FEW: Final = 64
"""The number of refunds that a first query asks for."""
_MORE: Final = 8
"""The factor by which each further query asks for more."""


@dataclass(slots=True)
class _Run:
    """The last run: its refunds count after `after`.

    `ends` are the pools that became empty in it, each with the place of the last refund that took something, and how
    much that was.
    """

    kind: Kind | None = None
    after: Place | None = None
    ends: dict[Pool, tuple[Place, Fraction]] = field(default_factory=dict[Pool, tuple[Place, Fraction]])


@dataclass(slots=True)
class _Share:
    """What a refund takes from a pool, what it frees of later refunds, and where the pool ends then."""

    taken: Fraction
    freed: list[Change] = field(default_factory=list[Change])
    end: tuple[Place, Fraction] | None = None


class Refunding:
    """The state of an order's refunds; each new refund is added to it."""

    __slots__ = ("_all", "_apart", "_by_pool", "_new", "_order", "_read", "_run", "_stored", "_taken",
                 "fold", "gone_at", "kept")  # fmt: skip

    def __init__(self, order: Order, gone_at: datetime | None = None, read: Iterable[QueriedRefunds] = ()) -> None:
        """Begin with what is stored of the refunds; `read` are the results of queries.

        `gone_at` is the instant from which nothing of the order's money is kept.

        Raises:
            UnreadRefundsError: nothing is stored of the refunds, and they were not read.
        """
        self._order: Final = order
        self._read: Final = {result.query.pool: result for result in read}
        self._all: Final = None if order.refunds is None else list(order.refunds)
        self._taken: dict[str, Fraction] | None = None
        """What each refund takes, if it was just computed for all of them."""
        self._new: Final = list[Refund]()
        self._by_pool: Final = dict[Pool, list[Refund]]()
        self._run = _Run()
        self._apart = Fraction(0)
        """The money that the refunds outside the fold ask for."""
        self.fold = Fold(order.purchase)
        """The fold of all refunds but those that stand apart."""
        self.kept = order.total
        """What is kept of the order's money."""
        self.gone_at = gone_at
        """The instant from which nothing of the money is kept; None while some is, and for a free order."""
        if self._all is not None:
            self._taken = self._take_all(self._all)
        elif order.folded is not None:
            self._load(order.folded)
        else:
            raise UnreadRefundsError(None)
        self._stored: Final = (self.fold.last, dict(self._run.ends))

    def add(self, refund: Refund) -> list[Change]:
        """Add a new refund that fits; returns what it changes, its own effect first.

        Raises:
            UnreadRefundsError: that depends on refunds that were not read.
        """
        gone_at = self.gone_at
        changes = [change for change in self._add(refund) if change.amount]
        self._note(refund)
        if self.gone_at != gone_at:
            if gone_at is not None:
                changes.append(orders.gone(self._order, gone_at, 1))
            if self.gone_at is not None:
                changes.append(orders.gone(self._order, self.gone_at))
        return changes

    def _add(self, refund: Refund) -> list[Change]:
        place, run, taken = refund.place, self._run, self._taken
        self._taken = None
        is_in_run = run.after is None or place > run.after
        if self._apart:
            return self._take_apart(refund, taken)
        if self.fold.last is None or place > self.fold.last:
            return [self._change(refund, -self._take_last(refund))]
        if is_in_run and self.fold.is_final and all(end < place for end, _ in run.ends.values()):
            self.fold.add(refund)
            return []
        if is_in_run and run.kind == self._kind(refund):
            return self._take_in_run(refund)
        return self._take_apart(refund, taken)

    def to_json(self) -> dict[str, Any]:
        """The state as it is stored with the order (`Order.folded`)."""
        run = self._run
        return {
            "fold": self.fold.to_json(),
            "kind": run.kind,
            "after": run.after and place_to_json(run.after),
            "apart": str(self._apart),
            "kept": str(self.kept),
            "ends": [(pool, place_to_json(place), str(taken)) for pool, (place, taken) in run.ends.items()],
        }

    def _load(self, stored: Mapping[str, Any]) -> None:
        if stored:
            self.fold = Fold.from_json(self._order.purchase, stored["fold"])
            after = stored["after"] and place_from_json(stored["after"])
            ends = {pool: (place_from_json(place), Fraction(taken)) for pool, place, taken in stored["ends"]}
            self._run = _Run(stored["kind"], after, ends)
            self._apart, self.kept = Fraction(stored["apart"]), Fraction(stored["kept"])

    def _take_all(self, refunds: Iterable[Refund]) -> dict[str, Fraction]:
        """Fold all refunds from the start; returns what each takes, by refund id."""
        ordered = sorted(refunds, key=place_of)
        kind, first, fold = None, 0, Fold(self._order.purchase)
        before_run = fold.copy()
        for number, refund in enumerate(ordered):
            if self._kind(refund) != kind and not fold.is_final:
                kind, first, before_run = self._kind(refund), number, fold.copy()
            fold.add(refund)
        taken = replace(self._order, refunds=tuple(ordered)).taken()
        # Only the ends of pools in the last run matter.
        self.fold, self._run = before_run, _Run()
        for refund in ordered[first:]:
            self._take_last(refund)
        self._apart, self.kept = Fraction(0), self._order.total - sum(taken.values())
        last = next((refund for refund in reversed(ordered) if taken[refund.refund_id]), None)
        self.gone_at = self._order.effective_at(last) if last is not None and not self.kept else None
        return taken

    def _take_last(self, refund: Refund) -> Fraction:
        """Add a refund that counts after all others; returns what it takes."""
        fold, kind = self.fold, self._kind(refund)
        if kind != self._run.kind and not fold.is_final:
            self._run = _Run(kind, fold.last)
        left, taken = self._left(), fold.add(refund).taken
        for pool, asked in self._asked(refund).items():
            if 0 < (rest := left.get(pool, Fraction(0))) <= asked:
                self._run.ends[pool] = refund.place, rest
        taken = self.kept if fold.gone else taken
        self.kept -= taken
        if taken and not self.kept:
            self.gone_at = self._order.effective_at(refund)
        return taken

    def _take_in_run(self, refund: Refund) -> list[Change]:
        """Add a refund that counts among those of the last run."""
        left, shares, missing = self._left(), dict[Pool, _Share](), list[RefundQuery]()
        for pool, asked in self._asked(refund).items():
            try:
                shares[pool] = self._share(refund, pool, asked, left.get(pool, Fraction(0)))
            except UnreadRefundsError as error:
                missing += error.queries or ()
        if missing:
            raise UnreadRefundsError(missing)
        self.fold.add(refund)
        self._run.ends |= {pool: share.end for pool, share in shares.items() if share.end is not None}
        taken = sum((share.taken for share in shares.values()), Fraction(0))
        freed = [change for share in shares.values() for change in share.freed]
        self.kept -= taken - Fraction(sum(change.amount for change in freed)) / UNITS
        if not self.kept and self._run.ends:
            self.gone_at = max(self._order.time, *(place[0] for place, _ in self._run.ends.values()))
        return [self._change(refund, -taken), *freed]

    def _share(self, refund: Refund, pool: Pool, asked: Fraction, rest: Fraction) -> _Share:
        """What a refund of the last run takes from a pool that has `rest` left."""
        end = self._run.ends.get(pool)
        if asked < rest:
            return _Share(asked)
        if asked == 0 or (end is None and rest == 0) or (end is not None and end[0] < refund.place):
            return _Share(Fraction(0))
        share, need = _Share(rest), asked - rest
        takers = self._takers(pool)
        last = len(takers) if end is None else bisect(takers, end[0], key=place_of)
        for other in islice(reversed(takers), len(takers) - last, None):
            if other.place < refund.place:
                break
            self._check_read(pool, other.place)
            took = end[1] if end is not None and other.place == end[0] else self._asked(other)[pool]
            back = min(took, need)
            if back:
                share.freed.append(self._change(other, back))
                share.taken += back
                need -= back
            if back < took:
                share.end = other.place, took - back
                return share
        self._check_read(pool, refund.place)
        share.end = refund.place, share.taken
        return share

    def _takers(self, pool: Pool) -> list[Refund]:
        """The refunds at hand that take from a pool, in the order in which they count."""
        takers = self._by_pool.get(pool)
        if takers is None:
            read = self._read.get(pool)
            stored = self._all if self._all is not None else [*(read.refunds if read else ()), *self._new]
            takers = sorted((refund for refund in stored if pool in self._asked(refund)), key=place_of)
            self._by_pool[pool] = takers
        return takers

    def _check_read(self, pool: Pool, after: Place) -> None:
        """Check that all refunds that took from a pool after a place are at hand.

        Raises:
            UnreadRefundsError: they were not read.
        """
        last, ends = self._stored
        until = ends[pool][0] if pool in ends else last
        if self._all is not None or until is None or until <= after:
            return
        read = self._read.get(pool)
        if read is None or not read.reaches(after):
            # What is moved back is seldom more than the last few took, so few refunds are asked for first.
            raise UnreadRefundsError([RefundQuery(pool, until, read.query.count * _MORE if read else _FEW)])

    def _note(self, refund: Refund) -> None:
        self._new.append(refund)
        if self._all is not None:
            self._all.append(refund)
        for pool in self._asked(refund) if self._by_pool else ():
            if pool in self._by_pool:
                insort(self._by_pool[pool], refund, key=place_of)

    def _take_apart(self, refund: Refund, taken: dict[str, Fraction] | None) -> list[Change]:
        """Add a refund at any place, where some refunds stand apart, or this one cannot be added to the fold."""
        fold, apart, asked = self.fold.copy(), self._apart, Fraction(refund.amount)
        is_latest = fold.last is None or refund.place > fold.last
        run = _Run(self._kind(refund), fold.last) if is_latest and self._kind(refund) != self._run.kind else self._run
        if fold.accepts(refund):
            fold.add(refund)
        else:
            apart += asked
        if self._asks_free_line(refund) or not self._is_plenty(fold, apart):
            return self._take_before_run(refund, taken)
        self.fold, self._apart, self._run = fold, apart, run
        self.kept -= asked
        return [self._change(refund, -asked)]

    def _is_plenty(self, fold: Fold, apart: Fraction) -> bool:
        """Whether every line has at least as much as all refunds outside the fold ask for together.

        Inside the fold, they would lower each line by no more than that: where a line is lowered by more, others are
        lowered by less. So no line ever ran short, and every refund took what it asked for.
        """
        kept = fold.kept()
        left = {line.line.line_id: line.numerator for line in kept.lines}
        least = (apart + _LEAST_MONEY) * kept.scale
        sold = [line.line_id for line in self._order.purchase.lines if units(line.amount)]
        return bool(sold) and all(left.get(line_id, 0) >= least for line_id in sold)

    def _asks_free_line(self, refund: Refund) -> bool:
        """Whether a refund asks for money of a free line."""
        free = {line.line_id for line in self._order.purchase.lines if not units(line.amount)}
        return any(line.line_id in free and units(line.amount) for line in refund.lines)

    def _take_before_run(self, refund: Refund, taken: dict[str, Fraction] | None) -> list[Change]:
        """Add a refund that counts before the last run: all refunds are folded again."""
        if self._all is None:
            raise UnreadRefundsError(None)
        old = taken or replace(self._order, refunds=tuple(self._all)).taken()
        new = self._taken = self._take_all([*self._all, refund])
        others = [self._change(other, old[other.refund_id] - new[other.refund_id]) for other in self._all]
        return [self._change(refund, -new[refund.refund_id]), *others]

    def _change(self, refund: Refund, money: Fraction) -> Change:
        return orders.taken(self._order, self._order.effective_at(refund), money)

    def _kind(self, refund: Refund) -> Kind:
        return "lines" if refund.lines and self._order.purchase.lines else "share"

    def _asked(self, refund: Refund) -> dict[Pool, Fraction]:
        """What a refund asks for, by pool."""
        if self._kind(refund) == "share":
            return {None: Fraction(refund.amount)}
        asked: dict[Pool, Fraction] = {}
        for line in refund.lines:
            asked[line.line_id] = asked.get(line.line_id, Fraction(0)) + Fraction(line.amount)
        return asked

    def _left(self) -> dict[Pool, Fraction]:
        """What is left in each pool of the last run; a pool that is missing is empty."""
        if self._run.kind == "share":
            return {None: self.fold.total}
        kept = self.fold.kept()
        return {line.line.line_id: Fraction(line.numerator, kept.scale) for line in kept.lines}
