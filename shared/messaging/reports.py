"""What a worker reports for operators: the last run of each job, and the ends of the logs that it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.messaging.batch import Partition
from shared.messaging.positions import Group
from shared.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class JobRun:
    """A run of a job; `error` is what made it fail."""

    job: str
    started_at: datetime
    seconds: float
    error: str | None = None


@dataclass(slots=True)
class Reports:
    """The job runs of this worker that are not stored yet: the last one of each job."""

    _runs: dict[str, JobRun] = field(default_factory=dict[str, JobRun])

    def add(self, run: JobRun) -> None:
        """Note a run; it replaces an earlier one of the same job."""
        self._runs[run.job] = run

    async def store(self, pool: Pool, group: Group, ends: Mapping[Partition, int], now: datetime) -> None:
        """Store the runs since the last call, and the ends of the logs as of `now`."""
        runs, self._runs = self._runs, {}
        if runs:
            await _store_runs(pool, list(runs.values()))
        if ends:
            await _store_ends(pool, group, ends, now)


# Rows are written in order, so that two workers wait for each other instead of deadlocking.
RUNS_SQL = """
INSERT INTO job_run AS old (job, started_at, seconds, error)
SELECT job, started_at, seconds, error
FROM unnest($1::text[], $2::timestamptz[], $3::float8[], $4::text[]) AS new (job, started_at, seconds, error)
ORDER BY job
ON CONFLICT (job) DO UPDATE
SET started_at = excluded.started_at, seconds = excluded.seconds, error = excluded.error
WHERE old.started_at <= excluded.started_at
"""


async def _store_runs(pool: Pool, runs: Sequence[JobRun]) -> None:
    await pool.execute(
        RUNS_SQL,
        [run.job for run in runs],
        [run.started_at for run in runs],
        [run.seconds for run in runs],
        [run.error for run in runs],
    )


ENDS_SQL = """
INSERT INTO log_end AS old (cluster_id, topic, partition, end_offset, observed_at)
SELECT $1, topic, partition, end_offset, $2
FROM unnest($3::text[], $4::int[], $5::bigint[]) AS new (topic, partition, end_offset)
ORDER BY topic, partition
ON CONFLICT (cluster_id, topic, partition) DO UPDATE
SET end_offset = excluded.end_offset, observed_at = excluded.observed_at
WHERE old.observed_at <= excluded.observed_at
"""


async def _store_ends(pool: Pool, group: Group, ends: Mapping[Partition, int], now: datetime) -> None:
    topics, partitions = zip(*ends, strict=True)
    await pool.execute(ENDS_SQL, group.cluster_id, now, topics, partitions, list(ends.values()))


JOBS_SQL = """
SELECT job, started_at, seconds, error FROM job_run ORDER BY job
"""


async def jobs(pool: Pool) -> list[JobRun]:
    """The last run of each job that ever ran."""
    return [JobRun(**row) for row in await pool.fetch(JOBS_SQL)]


# A partition whose log was never seen has no lag that anybody knows.
POSITIONS_SQL = """
SELECT position.cluster_id, consumer_group, topic, partition, next_offset, updated_at,
       CASE WHEN end_offset > next_offset THEN end_offset - next_offset WHEN end_offset IS NOT NULL THEN 0 END AS lag,
       observed_at
FROM position LEFT JOIN log_end USING (cluster_id, topic, partition)
ORDER BY position.cluster_id, consumer_group, topic, partition
"""


async def positions(pool: Pool) -> list[Any]:
    """The position of each partition, with the lag by the end that a worker saw last (null if none did)."""
    return await pool.fetch(POSITIONS_SQL)
