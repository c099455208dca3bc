"""Play seeds: `python -m tests.simulation --seeds 1000`, or one that failed: `--seeds 17-17`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.databases import databases
from tests.simulation.seeds import play, words
from tests.support import postgres


def main() -> int:
    """Play the seeds that are asked for; 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="100", help="how many, or a range (17-40)")
    parser.add_argument("--trace", action="store_true", help="print the last part of the trace in any case")
    parser.add_argument("--server", help="the URL of a server that runs, for the databases; one is started otherwise")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) + 1) if last else range(int(first))
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with _server(given.server) as url, databases(url) as made:
        for seed in seeds:
            outcome = play(seed, made)
            counts += outcome.counts
            if outcome.violations or given.trace:
                print(words(outcome))
            if outcome.violations:
                return 1
            print(outcome.seed, outcome.digest, outcome.steps, round(outcome.seconds,1), round(time.monotonic()-began,2))
    took = time.monotonic() - began
    print(f"{len(seeds)} seeds in {took:.0f} s; {dict(counts)}")
    return 0


@contextmanager
def _server(running: str | None) -> Iterator[str]:
    if running is not None:
        yield running
        return
    with TemporaryDirectory(prefix="wafa-simulation-") as folder, postgres.server(Path(folder)) as url:
        yield url


if __name__ == "__main__":
    sys.exit(main())
