"""The state of tiers after a run, read by SQL of its own."""

from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from shared.postgres.pool import Pool
from tests.tiers.oracles.facts import Assignment
from tests.tiers.oracles.model import Entry

VERSIONS_SQL: Final = """
SELECT effective_at, document FROM document_version
WHERE kind = 'tier_program' AND effective_at IS NOT NULL ORDER BY effective_at
"""
CUSTOMERS_SQL: Final = (
    "SELECT customer_id, tier, since, valid_until, grace_until FROM customer WHERE judged_at IS NOT NULL"
)
TIMELINE_SQL: Final = """
SELECT customer_id, effective_at, from_tier, tier, points_multiplier, valid_until, kind, reason FROM timeline
WHERE kind IS NOT NULL ORDER BY customer_id, effective_at
"""
ASSIGNMENTS_SQL: Final = "SELECT customer_id, at, tier, until, locked FROM assignment ORDER BY customer_id, at, id"
RECORDED_SQL: Final = "SELECT published_id FROM tier_change"
USES_SQL: Final = "SELECT customer_id, benefit, reference, used_at FROM benefit_use"
WARNED_SQL: Final = "SELECT customer_id, valid_until, days, told_at IS NOT NULL AS is_told FROM at_risk"
PASSED_SQL: Final = "SELECT customer_id FROM customer WHERE judged_at > $1"
UNFINISHED_SQL: Final = "SELECT count(*) FROM publication WHERE finished_at IS NULL"


class Standing(NamedTuple):
    """What a customer's row says."""

    tier: str
    since: datetime | None
    valid_until: datetime | None
    grace_until: datetime | None


class Use(NamedTuple):
    """A use of a benefit."""

    customer: str
    benefit: str
    reference: str
    used_at: datetime


Warned = Mapping[tuple[str, datetime, int], bool]
"""By customer, `valid_until` and days: whether the moment, which was judged, was told."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A sweep while nothing else happened: the instant up to which it swept, and the warnings before and after it.

    `passed` are the customers who had been judged beyond that instant before, by a sweep that reached farther or by an
    event that is dated later. What ended on the way is over: whoever looks back does not warn of it any more.
    """

    at: datetime
    passed: frozenset[str] = frozenset()
    before: Warned = field(default_factory=dict)
    after: Warned = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tiers:
    """The stored state; timelines are the entries that customers see."""

    versions: Sequence[tuple[datetime | None, Mapping[str, Any]]]
    standings: Mapping[str, Standing]
    timelines: Mapping[str, Sequence[Entry]]
    assignments: Mapping[str, Sequence[Assignment]]
    recorded: Sequence[str]
    """The id of the event that published each recorded change."""
    uses: Sequence[Use]
    warned: Warned


async def read(pool: Pool) -> Tiers:
    """Read the state."""
    first, *later = [tuple(row) for row in await pool.fetch(VERSIONS_SQL)]
    return Tiers(
        versions=[(None, first[1]), *later],
        standings={row[0]: Standing(*tuple(row)[1:]) for row in await pool.fetch(CUSTOMERS_SQL)},
        timelines=_by_customer(await pool.fetch(TIMELINE_SQL), Entry),
        assignments=_by_customer(await pool.fetch(ASSIGNMENTS_SQL), Assignment),
        recorded=[row[0] for row in await pool.fetch(RECORDED_SQL)],
        uses=[Use(*row) for row in await pool.fetch(USES_SQL)],
        warned=await warned(pool),
    )


async def warned(pool: Pool) -> Warned:
    """The judged moments of warnings."""
    return {(row[0], row[1], row[2]): row[3] for row in await pool.fetch(WARNED_SQL)}


async def watch(pool: Pool, at: datetime, sweep: Awaitable[object]) -> Quiet:
    """Let a sweep up to an instant happen, and see what it does; nothing else may happen meanwhile."""
    beyond, before = await passed(pool, at), await warned(pool)
    await sweep
    return Quiet(at, beyond, before, await warned(pool))


async def passed(pool: Pool, at: datetime) -> frozenset[str]:
    """The customers who were judged beyond an instant."""
    return frozenset(row[0] for row in await pool.fetch(PASSED_SQL, at))


async def unfinished(pool: Pool) -> int:
    """Number of published versions that are not applied to all customers for certain yet."""
    count: int = await pool.fetchval(UNFINISHED_SQL)
    return count


def _by_customer(rows: Iterable[Any], kind: Any) -> Mapping[str, Sequence[Any]]:
    by_customer: defaultdict[str, list[Any]] = defaultdict(list)
    for customer, *fields in rows:
        by_customer[customer].append(kind(*fields))
    return dict(by_customer)
