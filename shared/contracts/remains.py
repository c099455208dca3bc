"""The rest of an order's lines between two runs of its refunds (see kept.py)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import gcd
from typing import Any, Final, Self

from shared.contracts.values import UNITS

LONGEST_SCALE: Final = 1024
"""The maximum number of bits of a scale; beyond it, amounts are rounded down to a shorter scale."""

ROUNDED_SCALE: Final = UNITS << 512

_NOTHING: Final = Decimal(0)


@dataclass(slots=True)
class Remains:
    """The money kept of each line, in the order of the purchase: an amount over `scale`, a multiple of `UNITS`.

    `rest` is the money kept of an order without lines. `gone` are the indices of lines of which nothing is kept,
    `returned` the quantities of free lines that came back, by index. `rounded` means that an amount was rounded.

    Values are never changed; the class is not frozen because that would double its cost.
    """

    amounts: list[int]
    rest: int
    scale: int = UNITS
    gone: frozenset[int] = frozenset()
    returned: Mapping[int, Decimal] = field(default_factory=dict[int, Decimal])
    rounded: bool = False

    @property
    def whole(self) -> int:
        """The money of all lines, over the scale."""
        return sum(self.amounts, self.rest)

    def lowered(self, asked: Mapping[int, int], came_back: Mapping[int, Decimal], gone: Collection[int]) -> "Remains":
        """The rest after lines were lowered by money (in ten-thousandths), and quantities of free lines came back."""
        amounts = list(self.amounts)
        part = self.scale // UNITS
        for index, money in asked.items():
            amounts[index] = max(0, amounts[index] - money * part)
        returned = dict(self.returned)
        for index, quantity in came_back.items():
            returned[index] = returned.get(index, _NOTHING) + quantity
        return Remains(amounts, 0, self.scale, frozenset(gone), returned, self.rounded)

    def shared(self, left: int) -> "Remains":
        """The rest after all lines were lowered by the same fraction, so that their sum is `left` over the scale."""
        if not self.amounts:
            return Remains([], left)
        if left == 0:
            everything = frozenset(range(len(self.amounts)))
            return Remains([0] * len(self.amounts), 0, UNITS, everything, self.returned, self.rounded)
        whole = self.whole
        common = gcd(whole, left)
        kept, part = left // common, whole // common
        # Each line keeps its amount times kept / part, which is exact over a scale that is `part` times as long.
        amounts = [amount * kept for amount in self.amounts]
        scale = self.scale * part
        common = gcd(scale // UNITS, *amounts)
        if common > 1:
            amounts, scale = [amount // common for amount in amounts], scale // common
        if scale.bit_length() <= LONGEST_SCALE:
            return Remains(amounts, 0, scale, self.gone, self.returned, self.rounded)
        amounts = [amount * ROUNDED_SCALE // scale for amount in amounts]
        return Remains(amounts, 0, ROUNDED_SCALE, self.gone, self.returned, rounded=True)

    def to_json(self) -> dict[str, Any]:
        """The rest as it is stored; the numbers, which can be long, are hexadecimal."""
        stored: dict[str, Any] = {"scale": f"{self.scale:x}"}
        if self.amounts:
            stored["amounts"] = [f"{amount:x}" for amount in self.amounts]
        else:
            stored["rest"] = f"{self.rest:x}"
        if self.gone:
            stored["gone"] = sorted(self.gone)
        if self.returned:
            stored["returned"] = [(index, str(quantity)) for index, quantity in self.returned.items()]
        if self.rounded:
            stored["rounded"] = True
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The stored rest."""
        return cls(
            [int(amount, 16) for amount in stored.get("amounts", ())],
            int(stored.get("rest", "0"), 16),
            int(stored["scale"], 16),
            frozenset(stored.get("gone", ())),
            {index: Decimal(quantity) for index, quantity in stored.get("returned", ())},
            stored.get("rounded", False),
        )
