"""Play seeds: `python -m tests.simulation --seeds 1000`, or one again: `--seed 17`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.simulation.databases import databases
from tests.simulation.seeds import play, words
from tests.support import postgres

_PROGRESS_EVERY: Final = 100


def main() -> int:
    """Play the given seeds; returns 1 at the first that violates an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1000", help="number of seeds, or a range: 200-400 (default 1000)")
    parser.add_argument("--seed", type=int, help="play one seed, and print the end of its trace")
    parser.add_argument("--server", help="URL of a PostgreSQL server for the databases (default: a new one)")
    given = parser.parse_args()
    with _server(given.server) as url:
        if given.seed is not None:
            return _play(url, [given.seed], verbose=True)
        first, _, last = given.seeds.rpartition("-")
        return _play(url, range(int(first or 0), int(last) + (1 if first else 0)))


def _play(url: str, seeds: Sequence[int], *, verbose: bool = False) -> int:
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with databases(url) as created:
        for number, seed in enumerate(seeds, start=1):
            outcome = play(seed, created)
            counts += outcome.counts
            if outcome.violations or verbose:
                _print(words(outcome))
            if outcome.violations:
                return 1
            if number % _PROGRESS_EVERY == 0:
                _print(f"{number} seeds in {time.monotonic() - began:.0f} s: no invariant is violated")
    for what, count in sorted(counts.items()):
        _print(f"{count:8} {what}")
    _print(f"{len(seeds)} seeds in {time.monotonic() - began:.0f} s: no invariant is violated")
    return 0


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 a command line prints


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with TemporaryDirectory(prefix="wafa-simulation-") as folder, postgres.server(Path(folder)) as started:
        yield started


if __name__ == "__main__":
    sys.exit(main())
