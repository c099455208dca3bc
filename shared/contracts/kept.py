"""What is kept of an order: one pure fold over the set of its refunds, for every service alike.

Refunds count in the order of (time, refund id), whenever they arrive. `keep` is the definition. `Fold` comes to the
same one refund at a time, from a small state that is stored between refunds:

- Refunds that follow each other and are of one kind, by line or by share (without lines: every line is lowered by the
  same fraction), form a run. Within a run only sums count. So a refund that is the latest, or that falls into the last
  run, costs what the order has lines, however many refunds there are, and in whatever order those of a run arrive.
- A refund that arrives late and falls before the last run changes what the runs after it took: `History` folds them
  again from a checkpoint before it.
- An order that is gone stays gone, whatever arrives: more refunds never leave more.

Amounts are exact fractions, since a refund by share lowers every line by the same fraction: whole numbers over one
scale, which cost a tenth of fractions by themselves. Runs by line and by share in turn would make ever longer numbers:
where the scale has more than 1,024 bits after a run, amounts are rounded down to whole parts of `UNITS * 2**512`. That
loses less than 10**-150 of the money, and depends on the set of refunds alone, not on the order of their arrival.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, Self

from shared.contracts.reasons import Reason
from shared.contracts.remains import Remains
from shared.contracts.shop import Line, PurchaseCompleted, PurchaseRefunded, RefundLine
from shared.contracts.values import UNITS, units

CHECKPOINT_EVERY: Final = 64
"""At least so many refunds lie between two checkpoints, and as many as the order has lines."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order as bought, reduced to what refunds can touch."""

    currency: str
    total: str
    lines: Sequence[Line] = ()

    @classmethod
    def of(cls, data: PurchaseCompleted) -> Self:
        """The part of a purchase event that refunds are held against."""
        return cls(data.currency, data.total, data.lines)


Place = tuple[datetime, str]
"""Where a refund counts among those of its order: its time and its id."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of an order; `amount` is the money given back."""

    refund_id: str
    time: datetime
    currency: str
    amount: str
    lines: tuple[RefundLine, ...] = ()

    @classmethod
    def of(cls, data: PurchaseRefunded, time: datetime) -> Self:
        """A refund event, at its time."""
        return cls(data.refund_id, time, data.currency, data.amount, data.lines)

    @property
    def place(self) -> Place:
        """Where it counts among the refunds of its order."""
        return self.time, self.refund_id


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of which something is kept: `numerator` of its money over the order's `scale`."""

    line: Line
    numerator: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a refund asked for, and what it took of what those before it had left."""

    refund_id: str
    asked: Fraction
    taken: Fraction


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an order after a set of refunds: `numerator` of its money over `scale`.

    `refunds` tells what each refund took, in their order; it is empty where only the rest was asked for.
    `gone` tells an order of which nothing is kept, not even a free line.
    """

    numerator: int
    scale: int
    lines: tuple[KeptLine, ...]
    refunds: tuple[Taken, ...]
    gone: bool

    @property
    def total(self) -> Fraction:
        """What is kept of the order's money."""
        return Fraction(self.numerator, self.scale)

    @property
    def amounts(self) -> tuple[Fraction, ...]:
        """What is kept of each line's money."""
        return tuple(Fraction(line.numerator, self.scale) for line in self.lines)


def misfit(purchase: Purchase, refund: Refund) -> tuple[Reason, str] | None:
    """Why a refund cannot be of this order, or None when it can."""
    if refund.currency != purchase.currency:
        return Reason.CURRENCY_MISMATCH, f"currency: the order is in {purchase.currency}, not in {refund.currency}"
    if refund.lines and purchase.lines:
        known = {line.line_id for line in purchase.lines}
        for line in refund.lines:
            if line.line_id not in known:
                return Reason.UNKNOWN_LINE, f"lines: the order has no line {line.line_id}"
    return None


def keep(purchase: Purchase, refunds: Iterable[Refund]) -> Kept:
    """What is kept of `purchase` after all of `refunds` (each of which fits it), and what each of them took."""
    fold = Fold(purchase)
    taken = [fold.add(refund) for refund in sorted(refunds, key=place_of)]
    return fold.kept(taken)


def place_of(refund: Refund) -> Place:
    """Where a refund counts among those of its order."""
    return refund.place


Kind = Literal["lines", "share"]
"""How a refund takes: each of its lines from its own line, or the same share of every line."""

_NOTHING: Final = Decimal(0)


class Fold:
    """What is kept of an order, refund by refund; what is stored of it is small (see the module)."""

    __slots__ = ("_after", "_asked", "_asked_of", "_base", "_came_back", "_gone_lines", "_indices", "_kind",
                 "_purchase", "_taken", "_whole", "count", "gone", "last", "since")  # fmt: skip

    def __init__(self, purchase: Purchase) -> None:
        """Begin with an order of which no refund is known."""
        self._purchase: Final = purchase
        amounts = [units(line.amount) for line in purchase.lines]
        self._base = Remains(amounts, 0 if amounts else units(purchase.total))
        self._whole = self._base.whole
        self._indices: dict[str, int] | None = None
        self._kind: Kind | None = None
        self._after: Place | None = None
        """The place of the last refund before the last run."""
        self._asked = 0
        """What the last run asked for by share."""
        self._asked_of: dict[int, int] = {}
        self._came_back: dict[int, Decimal] = {}
        """Quantities of free lines in the last run."""
        self._gone_lines: set[int] = set()
        """The lines that are gone, also by the last run where that is by line."""
        self._taken = 0
        """What the last run took by line, over the scale of its base."""
        self.count = 0
        """How many refunds it holds."""
        self.last: Place | None = None
        """The place of the last of them."""
        self.since = 0
        """How many refunds were added since the last checkpoint."""
        self.gone = False
        """Whether nothing is kept, not even a free line."""

    @property
    def total(self) -> Fraction:
        """What is kept of the order's money."""
        return Fraction(self._left, self._base.scale)

    @property
    def is_checkpoint(self) -> bool:
        """Whether enough refunds came since the last checkpoint for another one."""
        return self.since >= max(CHECKPOINT_EVERY, len(self._base.amounts))

    @property
    def is_final(self) -> bool:
        """Whether no refund, whenever it counts, can change what is kept: it is gone, and nothing was rounded."""
        return self.gone and not self._base.rounded

    def accepts(self, refund: Refund) -> bool:
        """Whether a refund can be added without folding others again."""
        place = refund.place
        if self.last is None or place > self.last or self.is_final:
            return True
        return (self._after is None or place > self._after) and self._kind_of(refund) == self._kind

    def accepts_in_any_order(self, refunds: Iterable[Refund]) -> bool:
        """Whether refunds can be added in whatever order, without folding others again."""
        return self.is_final or all(
            (self._after is None or refund.place > self._after) and self._kind_of(refund) == self._kind
            for refund in refunds
        )

    def add(self, refund: Refund) -> Taken:
        """Add a refund that is accepted; returns what it took of what was kept until it arrived.

        Of the latest that is what it took of what those before it had left; of a late one too, where it took all that
        it asked for. Where that is less, `History` tells.

        Raises:
            ValueError: it counts before the last run, and others have to be folded again.
        """
        before, scale = self.put(refund)
        asked = Fraction(units(refund.amount), UNITS)
        return Taken(refund.refund_id, asked, Fraction(before - self._left, scale))

    def put(self, refund: Refund) -> tuple[int, int]:
        """Add a refund as `add` does; returns what was kept before it, and over which scale."""
        if not self.accepts(refund):
            raise ValueError(f"refund {refund.refund_id} counts before refunds that were folded")
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
        """What is kept; `taken` are told with it."""
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
        """Another fold of the same refunds."""
        other = object.__new__(Fold)
        for name in Fold.__slots__:
            setattr(other, name, getattr(self, name))
        other._asked_of, other._came_back = dict(self._asked_of), dict(self._came_back)
        other._gone_lines = set(self._gone_lines)
        return other

    def to_json(self) -> dict[str, Any]:
        """The state as it is stored, beside the purchase; empty where no refund is known."""
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
        """The place of the last refund of a state that was stored."""
        return place_from_json(stored["last"])

    @classmethod
    def from_json(cls, purchase: Purchase, stored: Mapping[str, Any]) -> Self:
        """The fold of the state that was stored of an order."""
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
        """What is kept of the money, over the scale of the base."""
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
            # All the money is taken, and the free lines with it.
            return self._asked * (self._base.scale // UNITS) >= self._whole
        return len(self._gone_lines) == len(self._base.amounts)

    def _is_line_gone(self, index: int) -> bool:
        """Whether a line that the last run named is gone: its money is, or the quantity of a free line."""
        if index in self._came_back:
            back = self._base.returned.get(index, _NOTHING) + self._came_back[index]
            return back >= Decimal(self._purchase.lines[index].quantity)
        base = self._base
        return self._asked_of[index] * (base.scale // UNITS) >= base.amounts[index]

    def _finish(self) -> None:
        """Nothing is kept, whatever comes: what led to it is not needed any more."""
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


def place_to_json(place: Place) -> tuple[str, str]:
    """A place as JSON has it."""
    return place[0].isoformat(), place[1]


def place_from_json(stored: Sequence[str]) -> Place:
    """The place that was stored as JSON."""
    return datetime.fromisoformat(stored[0]), stored[1]
