"""Shows the progress of a replay: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int], None]

_STEPS: Final = 10


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Advance]:
    """Yields the function to call with the number of items done since the last call."""
    if not console.is_terminal:
        yield _Lines(console, what, total).advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


class _Lines:
    """Prints a line for every tenth of the total."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console, self._what, self._total = console, what, total
        self._done = 0

    def advance(self, count: int) -> None:
        before, self._done = self._done, self._done + count
        if self._done * _STEPS // self._total > before * _STEPS // self._total:
            self._console.print(f"{self._what}: {self._done:,} of {self._total:,}", highlight=False)
