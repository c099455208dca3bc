"""Experiments as they were declared or as splits name them, and what their arms did."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from services.notifications.rules.experiment.arms import Arm, Experiment, Goal
from services.notifications.rules.experiment.statistics import Sample
from shared.messaging import erasure
from shared.messaging.erasure import Erasure
from shared.postgres.pool import Connection, Pool


class Stored(NamedTuple):
    """An experiment; `declared` is false while only a split names it."""

    experiment: Experiment
    declared: bool
    created_at: datetime
    number: int


def _stored(row: asyncpg.Record) -> Stored:
    goal = None if row["goal_type"] is None else Goal(row["goal_type"], row["goal_days"])
    arms = tuple(Arm(*arm) for arm in row["arms"])
    return Stored(Experiment(row["id"], arms, row["holdout"], goal), row["declared"], row["created_at"], row["number"])


# One that a split named first takes what is declared; its exposures stay.
DECLARE_SQL = """
INSERT INTO experiment (id, arms, holdout, goal_type, goal_days, declared, created_at)
VALUES ($1, $2, $3, $4, $5, true, $6)
ON CONFLICT (id) DO UPDATE
SET arms = excluded.arms, holdout = excluded.holdout, goal_type = excluded.goal_type, goal_days = excluded.goal_days,
    declared = true
WHERE NOT experiment.declared
RETURNING id, arms, holdout, goal_type, goal_days, declared, created_at, number
"""


async def declare(connection: Connection, experiment: Experiment, now: datetime) -> Stored | None:
    """Store a declared experiment; None if the id is declared already."""
    goal = experiment.goal or (None, None)
    row = await connection.fetchrow(DECLARE_SQL, experiment.id, experiment.arms, experiment.holdout, *goal, now)
    return None if row is None else _stored(row)


# In the order of ids, so that two transactions never wait for each other.
NAME_SQL = """
INSERT INTO experiment (id, arms, holdout, declared, created_at)
SELECT id, arms::json, 0, false, $3 FROM unnest($1::text[], $2::text[]) AS new (id, arms) ORDER BY id
ON CONFLICT (id) DO NOTHING
"""


async def name(connection: Connection, experiments: Sequence[Experiment], now: datetime) -> None:
    """Store experiments that only splits name; those that exist stay as they are."""
    if experiments:
        await connection.execute(
            NAME_SQL, [each.id for each in experiments], [json.dumps(each.arms) for each in experiments], now
        )


LOAD_SQL = """
SELECT id, arms, holdout, goal_type, goal_days, declared, created_at, number FROM experiment WHERE id = ANY($1::text[])
"""


async def load(connection: Connection | Pool, ids: Collection[str]) -> dict[str, Stored]:
    """Experiments by id."""
    return {row["id"]: _stored(row) for row in await connection.fetch(LOAD_SQL, list(ids))}


PAGE_SQL = """
SELECT id, arms, holdout, goal_type, goal_days, declared, created_at, number
FROM experiment
WHERE number < $1 ORDER BY number DESC LIMIT $2
"""


async def page(pool: Pool, before: int, limit: int) -> list[Stored]:
    """Experiments with a lower number, newest first."""
    return [_stored(row) for row in await pool.fetch(PAGE_SQL, before, limit)]


GOALS_SQL = """
SELECT DISTINCT goal_type FROM experiment WHERE goal_type IS NOT NULL
"""


async def goals(connection: Connection) -> frozenset[str]:
    """The event types that are the goal of an experiment."""
    return frozenset(row["goal_type"] for row in await connection.fetch(GOALS_SQL))


class Reached(NamedTuple):
    """A customer who reached an experiment; a null arm: held out."""

    customer_id: str
    experiment: str
    arm: str | None
    at: datetime


ARMS_SQL = """
SELECT customer_id, experiment, arm
FROM exposure
JOIN unnest($1::text[], $2::text[]) AS asked (customer_id, experiment) USING (customer_id, experiment)
"""


async def arms(connection: Connection, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], str | None]:
    """The recorded arms of locked customers, by customer and experiment."""
    customer_ids, experiments = [each[0] for each in pairs], [each[1] for each in pairs]
    rows = await connection.fetch(ARMS_SQL, customer_ids, experiments)
    return {(row["customer_id"], row["experiment"]): row["arm"] for row in rows}


# An event of the goal can be known before the exposure is: a worker that was away takes the split late.
EXPOSE_SQL = """
INSERT INTO exposure (customer_id, experiment, arm, at, converted_at)
SELECT customer_id, experiment, arm, at, (
    SELECT min(happened.at) FROM happened
    WHERE happened.customer_id = new.customer_id AND happened.type = goal_type
      AND happened.at > new.at AND happened.at <= new.at + goal_days * interval '24 hours'
)
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS new (customer_id, experiment, arm, at)
JOIN experiment ON experiment.id = new.experiment
ON CONFLICT (customer_id, experiment) DO NOTHING
"""


async def expose(connection: Connection, reached: Sequence[Reached]) -> None:
    """Record that locked customers reached experiments for the first time, with what they have done since."""
    if reached:
        await connection.execute(EXPOSE_SQL, *map(list, zip(*reached, strict=True)))


CONVERT_SQL = """
WITH new AS (
    SELECT customer_id, type, at FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS new (customer_id, type, at)
), goal AS (
    SELECT exposure.number, min(new.at) AS at
    FROM new
    JOIN exposure USING (customer_id)
    JOIN experiment ON experiment.id = exposure.experiment AND goal_type = new.type
    WHERE new.at > exposure.at AND new.at <= exposure.at + goal_days * interval '24 hours'
      AND (converted_at IS NULL OR new.at < converted_at)
    GROUP BY exposure.number
)
UPDATE exposure SET converted_at = goal.at FROM goal WHERE exposure.number = goal.number
"""


async def convert(connection: Connection, events: Sequence[tuple[str, str, datetime]]) -> None:
    """Record the goals that events (customer, type, time) of locked customers reach."""
    if events:
        await connection.execute(CONVERT_SQL, *map(list, zip(*events, strict=True)))


RESULTS_SQL = """
SELECT arm, count(*) AS exposed, count(converted_at) AS converted FROM exposure WHERE experiment = $1 GROUP BY arm
"""


async def results(pool: Pool, experiment: str) -> Mapping[str | None, Sample]:
    """How many customers each arm has, and how many of them converted; under None those held out."""
    return {row["arm"]: Sample(row["exposed"], row["converted"]) for row in await pool.fetch(RESULTS_SQL, experiment)}


ERASE_SQL = """
WITH covered AS (
    SELECT exposure.number
    FROM exposure
    JOIN unnest($1::text[], $2::timestamptz[]) AS erased (customer_id, erased_at) USING (customer_id)
    JOIN customer USING (customer_id)
    WHERE exposure.at <= erased.erased_at OR seen_at IS NULL
    LIMIT $3
    FOR UPDATE OF exposure SKIP LOCKED
)
UPDATE exposure SET customer_id = NULL FROM covered WHERE exposure.number = covered.number
RETURNING exposure.number
"""


async def erase(connection: Connection, erasures: Sequence[Erasure], most: int) -> int:
    """Take erased customers out of exposures; the counts stay. Returns the number of exposures."""
    customers, erased_at, _, _ = erasure.columns(erasures)
    return len(await connection.fetch(ERASE_SQL, customers, erased_at, most))
