"""A figure: what was measured several times, held against its target."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of one number. `at_least` and `at_most` are its target; without either it is shown only."""

    name: str
    samples: Sequence[float]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The number that counts."""
        return median(self.samples)

    @property
    def missed(self) -> bool:
        """Whether the median misses the target."""
        below = self.at_least is not None and self.median < self.at_least
        above = self.at_most is not None and self.median > self.at_most
        return below or above

    @property
    def target(self) -> str:
        """The target as it is shown."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    def to_json(self) -> dict[str, Any]:
        """Everything about it, as it is written to a file."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 4),
            "min": round(min(self.samples), 4),
            "max": round(max(self.samples), 4),
            "samples": [round(sample, 4) for sample in self.samples],
            "at_least": self.at_least,
            "at_most": self.at_most,
            "missed": self.missed,
        }


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], at_least: float) -> Figure:
    """The ratio of two rates, each pair of which was measured in one round."""
    return Figure(name, [one / other for one, other in zip(ours, theirs, strict=True)], "×", at_least=at_least)


def show(figures: Sequence[Figure]) -> None:
    """Print a table."""
    table = Table(title="Figures: median of the rounds")
    for heading in ("figure", "median", "min", "max", "target", ""):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for one in figures:
        verdict = "" if not one.target else "missed" if one.missed else "met"
        numbers = (_format(number, one.unit) for number in (one.median, min(one.samples), max(one.samples)))
        table.add_row(one.name, *numbers, one.target, verdict, style="red" if one.missed else None)
    Console().print(table)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    path.write_text(json.dumps([one.to_json() for one in figures], indent=2, ensure_ascii=False) + "\n")


def _format(number: float, unit: str) -> str:
    return f"{number:,.0f} {unit}" if abs(number) >= 100 else f"{number:.2f} {unit}".rstrip()
