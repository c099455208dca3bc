"""Play seeds: `python -m tests.simulation --seeds 1000`, or one of them again: `--seed 17`."""

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

_TOLD_EVERY: Final = 100


def main() -> int:
    """Play the given seeds; returns 1 at the first that violates an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1000", help="how many, or from which to which: 200-400")
    parser.add_argument("--seed", type=int, help="only this one, with the last part of its trace")
    parser.add_argument("--server", help="the URL of a PostgreSQL server to make databases on; else one is started")
    given = parser.parse_args()
    with _server(given.server) as url:
        if given.seed is not None:
            return _play(url, [given.seed], in_words=True)
        first, _, last = given.seeds.rpartition("-")
        return _play(url, range(int(first or 0), int(last) + (1 if first else 0)))


def _play(url: str, seeds: Sequence[int], *, in_words: bool = False) -> int:
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with databases(url) as made:
        for number, seed in enumerate(seeds, start=1):
            outcome = play(seed, made)
            counts += outcome.counts
            if outcome.violations or in_words:
                _tell(words(outcome))
            if outcome.violations:
                return 1
            if number % _TOLD_EVERY == 0:
                _tell(f"{number} seeds in {time.monotonic() - began:.0f} s: no promise is broken")
    for what, count in sorted(counts.items()):
        _tell(f"{count:8} {what}")
    _tell(f"{len(seeds)} seeds in {time.monotonic() - began:.0f} s: no promise is broken")
    return 0


def _tell(line: str) -> None:
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
