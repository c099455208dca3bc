"""What is kept of an order: a pure fold over the set of its refunds, which all services use.

Refunds count in the order of (time, refund id), whenever they arrive. `keep` is the definition. `Fold` gives the same
result one refund at a time, from a small state that is stored between refunds:

- Consecutive refunds of one kind, by line or by share (without lines: every line is lowered by the same fraction), form
  a run. Within a run only sums count. So a refund that counts last, or within the last run, costs no more than the
  order has lines, whatever the number of refunds and the order in which those of a run arrive.
- A refund that arrives late and counts before the last run changes what later runs took: `History` folds them again
  from a checkpoint before it.
- An order of which nothing is kept stays so: more refunds never leave more.

Amounts are exact fractions, since a refund by share lowers every line by the same fraction. They are stored as integers
over one scale, which costs a tenth of single fractions. Alternating runs by line and by share would make ever longer
numbers: where the scale has more than 1,024 bits after a run, amounts are rounded down to parts of `UNITS * 2**512`.
That loses less than 10**-150 of the money, and depends only on the set of refunds, not on the order of their arrival.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, Self

from shared.contracts.refunds import (
    Kept,
    KeptLine,
    Place,
    Purchase,
    Refund,
    Taken,
    place_from_json,
    place_of,
    place_to_json,
)
from shared.contracts.remains import Remains
from shared.contracts.values import UNITS, units

CHECKPOINT_EVERY: Final = 64
"""The minimum number of refunds between two checkpoints; it is the number of the order's lines where that is higher."""


def keep(purchase: Purchase, refunds: Iterable[Refund]) -> Kept:
    """What is kept of a purchase after refunds that fit it, and what each of them took."""
    fold = Fold(purchase)
    taken = [fold.add(refund) for refund in sorted(refunds, key=place_of)]
    return fold.kept(taken)


Kind = Literal["lines", "share"]
"""How a refund takes money: by line from the lines that it names, or by share from every line alike."""

_NOTHING: Final = Decimal(0)


class Fold:
    """What is kept of an order, refund by refund, from a state of small size (see the module)."""

    __slots__ = ("_after", "_asked", "_asked_of", "_base", "_came_back", "_gone_lines", "_indices", "_kind",
                 "_purchase", "_taken", "_whole", "count", "gone", "last", "since")  # fmt: skip

    def __init__(self, purchase: Purchase) -> None:
        """Begin with an order without refunds."""
        self._purchase: Final = purchase
        amounts = [units(line.amount) for line in purchase.lines]
        self._base = Remains(amounts, 0 if amounts else units(purchase.total))
        self._whole = self._base.whole
        self._indices: dict[str, int] | None = None
        self._kind: Kind | None = None
        self._after: Place | None = None
        """The place of the last refund before the last run."""
        self._asked = 0
        """The money that the last run asks for by share."""
        self._asked_of: dict[int, int] = {}
        self._came_back: dict[int, Decimal] = {}
        """The quantities of free lines that came back in the last run."""
        self._gone_lines: set[int] = set()
        """The lines of which nothing is kept, including those that the last run took if it is by line."""
        self._taken = 0
        """The money that the last run took by line, over the scale of its base."""
        self.count = 0
        """The number of refunds in the fold."""
        self.last: Place | None = None
        """The place of the last refund in the fold."""
        self.since = 0
        """The number of refunds added since the last checkpoint."""
        self.gone = False
        """Whether nothing is kept, not even a free line."""

    @property
    def total(self) -> Fraction:
        """The money kept of the order."""
        return Fraction(self._left, self._base.scale)

    @property
    def is_checkpoint(self) -> bool:
        """Whether enough refunds were added since the last checkpoint for another one."""
        return self.since >= max(CHECKPOINT_EVERY, len(self._base.amounts))

    @property
    def is_final(self) -> bool:
        """Whether no refund at any place can change what is kept: all is gone, and nothing was rounded."""
        return self.gone and not self._base.rounded

    def accepts(self, refund: Refund) -> bool:
        """Whether a refund can be added without folding others again."""
        place = refund.place
        if self.last is None or place > self.last or self.is_final:
            return True
        return (self._after is None or place > self._after) and self._kind_of(refund) == self._kind

    def accepts_in_any_order(self, refunds: Iterable[Refund]) -> bool:
        """Whether refunds can be added in any order without folding others again."""
        return self.is_final or all(
            (self._after is None or refund.place > self._after) and self._kind_of(refund) == self._kind
            for refund in refunds
        )

    def add(self, refund: Refund) -> Taken:
        """Add a refund that is accepted; returns what it took of what was kept until it arrived.

        For a refund that counts last, and for a late one that took all it asked for, that is what it took of what the
        refunds before it had left. For other late ones `History` has to compute that.

        Raises:
            ValueError: the refund counts before the last run: others have to be folded again.
        """
        before, scale = self.put(refund)
        asked = Fraction(units(refund.amount), UNITS)
        return Taken(refund.refund_id, asked, Fraction(before - self._left, scale))

    def put(self, refund: Refund) -> tuple[int, int]:
        """Add a refund as `add` does; returns the money kept before it, and the scale of that number."""
        if not self.accepts(refund):
            raise ValueError(f"refund {refund.refund_id} counts before refunds that were folded; fold those again")
        if not self.is_final:
            self._begin_run(self._kind_of(refund))
        before, scale = self._left, self._base.scale
        if not self.is_final:
            self._extend_run(refund, units(refund.amount))
        place = refund.place
        self.last = place if self.last is None else max(self.last, place)
        self.count += 1
        self.since += 1
        return before, scale

    def kept(self, taken: Iterable[Taken] = ()) -> Kept:
        """What is kept; `taken` becomes its `refunds`."""
        if self.gone:
            return Kept(0, UNITS, (), tuple(taken), gone=True)
        if not self._purchase.lines:
            return Kept(self._left, UNITS, (), tuple(taken), gone=False)
        base = self._ended()
        lines = [
            KeptLine(line, amount)
            for index, (line, amount) in enumerate(zip(self._purchase.lines, base.amounts, strict=True))
            if index not in base.gone
        ]
        return Kept(base.whole, base.scale, tuple(lines), tuple(taken), gone=False)

    def copy(self) -> "Fold":
        """A copy of the fold."""
        other = object.__new__(Fold)
        for name in Fold.__slots__:
            setattr(other, name, getattr(self, name))
        other._asked_of, other._came_back = dict(self._asked_of), dict(self._came_back)
        other._gone_lines = set(self._gone_lines)
        return other

    def to_json(self) -> dict[str, Any]:
        """The state as it is stored, without the purchase; empty where there is no refund."""
        if self.last is None:
            return {}
        stored: dict[str, Any] = {"count": self.count, "last": place_to_json(self.last), "since": self.since}
        if self.is_final:
            return stored | {"gone": True}
        if self._after is not None:
            stored |= {"after": place_to_json(self._after), "base": self._base.to_json()}
        if self._kind == "share":
            return stored | {"share": f"{self._asked:x}"}
        return stored | {
            "lines": [
                (index, f"{asked:x}", *((str(self._came_back[index]),) if index in self._came_back else ()))
                for index, asked in self._asked_of.items()
            ]
        }

    @staticmethod
    def place_of(stored: Mapping[str, Any]) -> Place:
        """The place of the last refund in a stored state."""
        return place_from_json(stored["last"])

    @classmethod
    def from_json(cls, purchase: Purchase, stored: Mapping[str, Any]) -> Self:
        """The fold of a stored state of a purchase."""
        fold = cls(purchase)
        if not stored:
            return fold
        fold.count, fold.since, fold.last = stored["count"], stored["since"], place_from_json(stored["last"])
        if stored.get("gone"):
            fold._finish()
            return fold
        if "base" in stored:
            fold._after = place_from_json(stored["after"])
            fold._base = Remains.from_json(stored["base"])
            fold._whole = fold._base.whole
            fold._gone_lines = set(fold._base.gone)
        if "share" in stored:
            fold._kind, fold._asked = "share", int(stored["share"], 16)
        else:
            fold._kind = "lines"
            for index, asked, *quantity in stored["lines"]:
                fold._lower(index, int(asked, 16), Decimal(quantity[0]) if quantity else None)
        fold.gone = fold._is_gone()
        return fold

    @property
    def _left(self) -> int:
        """The money kept, over the scale of the base."""
        if self.gone:
            return 0
        if self._kind == "share":
            return max(0, self._whole - self._asked * (self._base.scale // UNITS))
        return self._whole - self._taken

    def _kind_of(self, refund: Refund) -> Kind:
        return "lines" if refund.lines and self._purchase.lines else "share"

    def _begin_run(self, kind: Kind) -> None:
        if self._kind is not None and kind != self._kind:
            self._base = self._ended()
            self._whole = self._base.whole
            self._gone_lines = set(self._base.gone)
            self._asked, self._asked_of, self._came_back, self._taken = 0, {}, {}, 0
            self._after = self.last
        self._kind = kind

    def _extend_run(self, refund: Refund, asked: int) -> None:
        if self._kind == "share":
            self._asked += asked
        else:
            if self._indices is None:
                self._indices = {line.line_id: index for index, line in enumerate(self._purchase.lines)}
            for line in refund.lines:
                index = self._indices[line.line_id]
                free = units(self._purchase.lines[index].amount) == 0
                self._lower(index, units(line.amount), Decimal(line.quantity) if free else None)
        self.gone = self._is_gone()
        if self.is_final:
            self._finish()

    def _lower(self, index: int, asked: int, quantity: Decimal | None) -> None:
        part = self._base.scale // UNITS
        amount = self._base.amounts[index]
        before = self._asked_of.get(index, 0)
        self._asked_of[index] = before + asked
        self._taken += min((before + asked) * part, amount) - min(before * part, amount)
        if quantity is not None:
            self._came_back[index] = self._came_back.get(index, _NOTHING) + quantity
        if index not in self._gone_lines and self._is_line_gone(index):
            self._gone_lines.add(index)

    def _is_gone(self) -> bool:
        """Whether nothing is kept after the last run."""
        if self._kind == "share":
            # A refund by share that takes all the money takes the free lines too.
            return self._asked * (self._base.scale // UNITS) >= self._whole
        return len(self._gone_lines) == len(self._base.amounts)

    def _is_line_gone(self, index: int) -> bool:
        """Whether nothing is kept of a line of the last run: of its money, or of a free line's quantity."""
        if index in self._came_back:
            back = self._base.returned.get(index, _NOTHING) + self._came_back[index]
            return back >= Decimal(self._purchase.lines[index].quantity)
        base = self._base
        return self._asked_of[index] * (base.scale // UNITS) >= base.amounts[index]

    def _finish(self) -> None:
        """Reduce the state to that nothing is kept, which no later refund can change."""
        self._base = Remains([0] * len(self._purchase.lines), 0)
        self._whole = self._asked = self._taken = 0
        self._asked_of, self._came_back, self._gone_lines, self._after = {}, {}, set(), None
        self.gone = True

    def _ended(self) -> Remains:
        """The lines after the last run."""
        if self._kind is None:
            return self._base
        if self._kind == "share":
            return self._base.shared(self._left)
        return self._base.lowered(self._asked_of, self._came_back, self._gone_lines)
