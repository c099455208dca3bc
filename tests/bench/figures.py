"""A figure: samples of a measurement, with a target."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench.cpu import Usage

_WIDTH: Final = 210
"""Width of the table where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement: a rate per second, and the CPU use if it was measured."""

    rate: float
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of a number. `at_least` or `at_most` is its target; without one it is only shown."""

    name: str
    samples: Sequence[float]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    usages: Sequence[Usage] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def missed(self) -> bool:
        """Whether the median misses the target."""
        below = self.at_least is not None and self.median < self.at_least
        above = self.at_most is not None and self.median > self.at_most
        return below or above

    @property
    def target(self) -> str:
        """The target for the table."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    @property
    def cpu(self) -> Mapping[str, float]:
        """CPU microseconds per event by process: medians of the rounds."""
        by_process: dict[str, list[float]] = defaultdict(list)
        for usage in self.usages:
            for name, microseconds in usage.per_event().items():
                by_process[name].append(microseconds)
        return {name: median(values) for name, values in by_process.items()}

    @property
    def bottleneck(self) -> str:
        """The bottleneck of the median round."""
        ordered = sorted(self.usages, key=lambda usage: usage.events / usage.elapsed)
        return ordered[len(ordered) // 2].bottleneck() if ordered else ""

    def to_json(self) -> dict[str, Any]:
        """All data, for the JSON file."""
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
            "cpu_microseconds_per_event": {name: round(value, 2) for name, value in self.cpu.items()},
            "bottleneck": self.bottleneck,
            "note": self.note,
        }


def ratio(name: str, ours: Sequence[Measured], theirs: Sequence[Measured], at_least: float | None = None) -> Figure:
    """The ratios of two rates, pairwise per round."""
    return Figure(name, [item.rate / other.rate for item, other in zip(ours, theirs, strict=True)], "×", at_least)


def rate(name: str, measured: Sequence[Measured], unit: str, note: str = "") -> Figure:
    """A rate, shown without a target."""
    usages = [item.usage for item in measured if item.usage is not None]
    return Figure(name, [item.rate for item in measured], unit, usages=usages, note=note)


def show(figures: Sequence[Figure]) -> None:
    """Print a table."""
    console = Console()
    table = Table(title="Figures: median of n rounds")
    for heading in ("figure", "n", "median", "min", "max", "", "target", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=heading != "figure")
    table.columns[0].justify = "left"
    table.add_column("CPU µs per event")
    table.add_column("bottleneck; note")
    for figure in figures:
        verdict = "" if not figure.target else "missed" if figure.missed else "met"
        numbers = map(shown, (figure.median, min(figure.samples), max(figure.samples)))
        cpu = ", ".join(f"{name} {value:,.0f}" for name, value in figure.cpu.items() if value >= 0.5)
        remarks = "; ".join(filter(None, (figure.bottleneck, figure.note)))
        style = "red" if figure.missed else None
        table.add_row(
            figure.name,
            str(len(figure.samples)),
            *numbers,
            figure.unit,
            figure.target,
            verdict,
            cpu,
            remarks,
            style=style,
        )
    (console if console.is_terminal else Console(width=_WIDTH)).print(table)


def write(figures: Iterable[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    path.write_text(json.dumps([figure.to_json() for figure in figures], indent=2, ensure_ascii=False) + "\n")


def shown(number: float) -> str:
    """A number, formatted for the table."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2f}"
