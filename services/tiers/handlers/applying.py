"""Applies published versions: from its instant on, a version judges every customer, in slices beside live traffic."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from services.tiers.handlers.announcing import SOURCE, announce, publication_id
from services.tiers.handlers.judging import judged_in_order, missed
from services.tiers.handlers.rounds import run
from services.tiers.rules.metrics import Request
from services.tiers.rules.program.versions import Versions
from services.tiers.rules.simulating import answered, window_at
from services.tiers.store import customers, programs, publications, sums
from services.tiers.store.customers import Customer, Mark
from services.tiers.store.publications import Publication
from shared import telemetry
from shared.contracts.values import format_instant
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool, is_transient
from shared.postgres.slices import Run, Slice

_log = structlog.stdlib.get_logger(__name__)

SLICE: Final = 500
"""Customers of a slice: their rows are locked while it is done."""

SETTLED: Final = timedelta(seconds=120)
"""Transactions that do not know of a publication yet are over so long after it: a batch takes at most 60 seconds."""


class _Case(NamedTuple):
    """A publication with all versions, and the numbers of those before it."""

    publication: Publication
    versions: Versions
    older: frozenset[int]


async def apply_versions(pool: Pool, now: datetime, *, may_finish: bool = True) -> None:
    """Job: apply the versions that are in force to the customers who were judged by older ones last.

    Whoever runs it ahead of time may not finish a version: until it is in force, events go on being judged without it.
    """
    due = await publications.due(pool, now)
    for publication in due:
        is_settled = may_finish and now >= publication.published_at + SETTLED
        if publication.applied_at is not None and not is_settled:
            continue
        async with pool.acquire() as connection:
            versions = await programs.load_all(connection)
        older = frozenset(
            version.version for effective_at, version in versions if effective_at < publication.effective_at
        )
        case = _Case(publication, versions, older)
        if publication.applied_at is None and not await _apply_slices(pool, case, now):
            continue
        if is_settled:
            await _finish(pool, case, now)
    left = await slices.count_left(pool, [publication.id for publication in due]) if due else 0
    telemetry.TIER_SLICES.set(left)


async def _apply_slices(pool: Pool, case: _Case, now: datetime) -> bool:
    """Apply a version to the slices that nobody else works on; returns whether all are done."""
    run_id = case.publication.id
    async with pool.acquire() as connection, connection.transaction():
        if await publications.lock(connection, run_id) and not await slices.is_cut(connection, run_id):
            await customers.cut_slices(connection, run_id, SLICE)
    telemetry.TIER_SLICES.set(await slices.count_left(pool, [run_id]))
    await slices.work_off(pool, Run(run_id, partial(_apply_slice, case, now)))
    async with pool.acquire() as connection, connection.transaction():
        publication = await publications.lock(connection, run_id)
        outcomes = await slices.outcomes(connection, run_id)
        if publication is None or outcomes is None:
            return False
        if publication.applied_at is None:
            await publications.note_applied(connection, run_id, now)
            counts = {name: sum(own[name] for own in outcomes) for name in ("applied", "refused")}
            _log.info("tier_program_applied", version=publication.version, **counts)
    return True


async def _apply_slice(case: _Case, now: datetime, connection: Connection, part: Slice) -> Mapping[str, Any]:
    names = await publications.judged_by(connection, part, case.older)
    refused = await _apply(connection, case, names, now)
    return {"applied": len(names) - len(refused), "refused": len(refused)}


async def _finish(pool: Pool, case: _Case, now: datetime) -> None:
    """Apply a version to customers whom a transaction judged that did not know of it yet, and finish."""
    refused: list[str] = []
    while True:
        async with pool.acquire() as connection, connection.transaction():
            if not await publications.lock(connection, case.publication.id):
                return
            names = await publications.left_over(connection, case.older, refused, SLICE)
            refused += await _apply(connection, case, names, now)
            # Whoever is judged again from the version's instant on is marked, and still has the older version.
            refused += names
            if not names:
                await publications.finish(connection, case.publication.id, now)
                await slices.forget(connection, [case.publication.id])
                return


async def _apply(connection: Connection, case: _Case, names: Sequence[str], now: datetime) -> list[str]:
    """Apply a version to customers; after a failure in halves. Returns the customers for whom it fails alone."""
    if not names:
        return []
    try:
        async with connection.transaction():
            await _apply_together(connection, case, names, now)
            return []
    except Exception as error:
        if is_transient(error):
            raise
        if len(names) == 1:
            _log.error("tier_program_refused", customer_id=names[0], **telemetry.trace(error))
            return list(names)
    middle = len(names) // 2
    first = await _apply(connection, case, names[:middle], now)
    return first + await _apply(connection, case, names[middle:], now)


async def _apply_together(connection: Connection, case: _Case, names: Sequence[str], now: datetime) -> None:
    locked = await customers.lock(connection, names)
    # Meanwhile an event may have been faster.
    old = {name: customer for name, customer in locked.items() if customer.program_version in case.older}
    # These were judged past a version that was not known yet. The job judges them again from its instant on.
    passed = {name: since for name, own in old.items() if (since := missed(case.versions, own)) is not None}
    mark = _mark(case.publication)
    await customers.mark(connection, {name: mark._replace(since=since) for name, since in passed.items()})
    # Whoever is marked already is judged again by all versions.
    prompt = {name: own for name, own in old.items() if own.rejudge_from is None and name not in passed}
    await _judge(connection, case, prompt, now)


async def _judge(connection: Connection, case: _Case, locked: Mapping[str, Customer], now: datetime) -> None:
    if not locked:
        return
    readings = {name: judged_in_order(case.versions, customer, (), now) for name, customer in locked.items()}
    request = _first_request(case)
    if request is not None:
        # Nearly all need the same sums first: a statement for nothing else is the fastest.
        answers = await sums.load_sums(connection, list(locked), request)
        readings = {
            name: answered(reading, request, answer)
            for (name, reading), answer in zip(readings.items(), answers, strict=True)
        }
    await announce(connection, case.versions, await run(connection, readings), now)


def _first_request(case: _Case) -> Request | None:
    return window_at(case.versions.version(case.publication.version), case.publication.effective_at)


def _mark(publication: Publication) -> Mark:
    """The mark of a customer who is judged again from a version's instant on."""
    id_ = publication_id(publication.version)
    arrived = {
        "correlation_id": id_,
        "source": SOURCE,
        "id": id_,
        "time": format_instant(publication.effective_at),
        "reason": "program",
    }
    return Mark(publication.effective_at, arrived)
