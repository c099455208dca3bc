"""`make bench`: measure the figures, print them beside their targets; exits with 1 when one is missed.

`BENCH_JSON=file` writes them, `BENCH_BROKER=embedded` takes the embedded broker instead of Apache Kafka,
`BENCH_FORCE=1` measures on a busy machine too, `BENCH_ROUNDS` are 5 unless told, and `BENCH_ONLY` (drain,
read, memory, volume) measures a part.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench import draining, figures, machine, memory, reading, stream, volume
from tests.bench.figures import Figure
from tests.bench.testbed import Testbed

PARTS = ("drain", "read", "memory", "volume")


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 a command line prints


async def measure(bed: Testbed, parts: tuple[str, ...], rounds: int) -> list[Figure]:
    """The figures of the parts asked for."""
    say("reading the grocer's year")
    year = await asyncio.to_thread(stream.read_year)
    found: list[Figure] = []
    if "drain" in parts:
        found += await draining.measure(bed, year, rounds, say)
    if "read" in parts:
        found += await reading.measure(bed, year, rounds, say)
    if "memory" in parts:
        found += await memory.measure(bed, year, say)
    if "volume" in parts:
        found += await volume.measure(bed, say)
    return found


def main() -> int:
    """Measure; returns the exit code."""
    busy = machine.load_of_others()
    if busy is not None and os.environ.get("BENCH_FORCE") != "1":
        say(busy)
        return 2
    parts = tuple(os.environ.get("BENCH_ONLY", ",".join(PARTS)).split(","))
    with tempfile.TemporaryDirectory(prefix="wafa-bench-") as folder:
        bed = Testbed(Path(folder), embedded=os.environ.get("BENCH_BROKER") == "embedded")
        try:
            bed.start()
            found = uvloop.run(measure(bed, parts, int(os.environ.get("BENCH_ROUNDS", "5"))))
        finally:
            bed.stop()
    figures.show(found)
    if path := os.environ.get("BENCH_JSON"):
        figures.write(found, Path(path))
    return int(any(one.missed for one in found))


if __name__ == "__main__":
    sys.exit(main())
