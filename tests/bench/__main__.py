"""`make bench`: measures the figures and prints them with their targets; exits with 1 if a target is missed.

`BENCH_JSON=file` writes the figures, `BENCH_BROKER=embedded` uses the embedded broker instead of Apache Kafka,
`BENCH_FORCE=1` measures on a busy machine too, `BENCH_ROUNDS` is the number of rounds (default: 7), `BENCH_SIZE=0.1`
uses a tenth of the events, and `BENCH_ONLY` (names of `PARTS`, separated by commas) measures these parts.
"""

import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

import structlog
import uvloop

from tests.bench import (
    contest,
    crowd,
    figures,
    growth,
    histories,
    journeying,
    latency,
    machine,
    memory,
    referring,
    serving,
    stream,
    tier_programs,
    tier_reads,
    verdicts,
    volume,
)
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.testbed import Testbed

ALONE = {
    "latency": latency.measure,
    "api": serving.measure,
    "crowd": crowd.measure,
    "growth": growth.measure,
    "histories": histories.measure,
    "memory": memory.measure,
    "volume": volume.measure,
    "judging": verdicts.measure,
    "programs": tier_programs.measure,
    "tier-reads": tier_reads.measure,
    "referrals": referring.measure,
    "journeys": journeying.measure,
}
PARTS = (*contest.PARTS, *ALONE)
ROUNDS = "7"


def say(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 a command line prints


async def measure(bed: Testbed, parts: tuple[str, ...]) -> list[Figure]:
    """The figures of the selected parts."""
    say("reading the grocer's year")
    year = await asyncio.to_thread(stream.read_year)
    rounds, size = int(os.environ.get("BENCH_ROUNDS", ROUNDS)), float(os.environ.get("BENCH_SIZE", "1"))
    plan = Plan(bed, year, rounds, size, say)
    measured: list[Figure] = []
    if set(parts) & set(contest.PARTS):
        measured += await contest.measure(plan, parts)
    for part, alone in ALONE.items():
        if part in parts:
            measured += await alone(plan)
    return measured


def main() -> int:
    """Measure; returns the exit code."""
    _hush()
    parts = tuple(os.environ.get("BENCH_ONLY", ",".join(PARTS)).split(","))
    if unknown := set(parts) - set(PARTS):
        say(f"there is no part {', '.join(sorted(unknown))}: BENCH_ONLY takes {', '.join(PARTS)}")
        return 2
    if _is_busy():
        return 2
    with tempfile.TemporaryDirectory(prefix="wafa-bench-") as folder:
        bed = Testbed(Path(folder), embedded=os.environ.get("BENCH_BROKER") == "embedded")
        try:
            bed.start()
            measured = uvloop.run(measure(bed, parts))
        finally:
            bed.stop()
    figures.show(measured)
    if path := os.environ.get("BENCH_JSON"):
        figures.write(measured, Path(path))
    if _is_busy():
        say("It became so meanwhile: these figures are not worth reporting.")
        return 2
    return int(any(item.missed for item in measured))


def _is_busy() -> bool:
    """Whether other processes use the machine, before the start or after the end; prints why."""
    if os.environ.get("BENCH_FORCE") == "1":
        return False
    busy = machine.load_of_others()
    if busy is not None:
        say(busy)
    return busy is not None


def _hush() -> None:
    """Silence the logs of a worker's parts in this process, and of clients of a broker that has just started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
