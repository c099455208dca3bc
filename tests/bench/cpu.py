"""CPU use of each process between two moments.

It is read from `/proc/PID/task/*/schedstat` (nanoseconds on a CPU, by thread). A process that ends before the second
moment is not counted; the processes measured here keep running.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from shared.postgres.pool import Pool
from tests.bench.testbed import Testbed

POSTGRES: Final = "PostgreSQL"
BESIDES: Final = "its writers"
"""PostgreSQL's processes without a client: writers of WAL and pages, I/O workers, vacuum."""
KAFKA: Final = "Kafka"
DECODER: Final = "decoder"
OTHERS: Final = "others"

_FULL: Final = 0.9
"""Share of the machine's cores, or of one core, above which it is the bottleneck."""

BACKENDS_SQL = """
SELECT pid, backend_type IN ('client backend', 'parallel worker') AS serves
FROM pg_stat_activity
WHERE application_name <> 'wafa-bench'
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU use of events: busy `cores` by group, the `busiest` process of each, and the machine."""

    events: int
    elapsed: float
    cores: Mapping[str, float]
    busiest: Mapping[str, float]
    machine: float

    def per_event(self) -> dict[str, float]:
        """Microseconds on CPU per event, by group."""
        return {name: cores * self.elapsed / self.events * 1e6 for name, cores in self.cores.items()}

    def bottleneck(self) -> str:
        """The bottleneck: all cores, one core, or waiting."""
        count = psutil.cpu_count() or 1
        name, share = max(self.busiest.items(), key=lambda item: item[1])
        if self.machine >= _FULL * count:
            return f"all {count} cores ({self._summary()})"
        if share >= _FULL:
            return f"one core: {name}"
        return f"waits: {self.machine:.1f} of {count} cores busy ({self._summary()})"

    def _summary(self) -> str:
        """The three largest users; the remainder is the benchmark's client and other processes."""
        shares = {**self.cores, OTHERS: self.machine - sum(self.cores.values())}
        largest = sorted(shares.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{name} {share:.1f}" for name, share in largest)


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds by group and process, and of the machine, at a moment."""

    moment: float
    seconds: Mapping[str, Mapping[int, float]]
    machine: float


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the CPU of groups of processes: the given ones, their decoders, PostgreSQL and Kafka."""

    bed: Testbed
    pool: Pool
    groups: Mapping[str, Iterable[int]]

    async def read(self) -> Reading:
        """The CPU use so far."""
        groups = {name: list(pids) for name, pids in self.groups.items()}
        children = [child for pids in groups.values() for child in _children(pids)]
        if children:
            groups[DECODER] = children
        rows = await self.pool.fetch(BACKENDS_SQL)
        groups[POSTGRES] = [row["pid"] for row in rows if row["serves"]]
        groups[BESIDES] = [row["pid"] for row in rows if not row["serves"]]
        groups[KAFKA] = [self.bed.broker_pid]
        seconds = {name: {pid: _seconds(pid) for pid in pids} for name, pids in groups.items()}
        return Reading(time.perf_counter(), seconds, _machine())


def between(first: Reading, last: Reading, events: int) -> Usage:
    """The CPU use of events between two readings."""
    elapsed = last.moment - first.moment
    shares = {
        name: [(seconds - first.seconds.get(name, {}).get(pid, 0.0)) / elapsed for pid, seconds in values.items()]
        for name, values in last.seconds.items()
    }
    return Usage(
        events=events,
        elapsed=elapsed,
        cores={name: sum(values) for name, values in shares.items()},
        busiest={name: max(values, default=0.0) for name, values in shares.items()},
        machine=(last.machine - first.machine) / elapsed,
    )


def _children(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        if pid != os.getpid():
            with suppress(psutil.NoSuchProcess):
                yield from (child.pid for child in psutil.Process(pid).children())


def _seconds(pid: int) -> float:
    total = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def _machine() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
