"""The sweep: what falls due by time is applied, recorded and announced; tiers at risk are announced.

It may run twice, and on several workers at once. A batch of customers is one transaction.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog

from services.tiers.handlers.announcing import SOURCE, Due, Judged, announce, publication_id
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.judging import judged_in_order
from services.tiers.handlers.rejudging import rejudge
from services.tiers.handlers.rounds import run as run_rounds
from services.tiers.rules.amount import missing_value
from services.tiers.rules.at_risk import Notice, Risk, due, end_set_at, notices, risk
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.versions import Versions
from services.tiers.store import at_risk, customers, programs, timelines
from services.tiers.store.at_risk import Warned
from services.tiers.store.customers import Customer
from shared import telemetry
from shared.contracts.envelope import Cause, Publication, publication
from shared.contracts.values import format_instant
from shared.messaging import outbox
from shared.postgres.pool import Connection, Pool, is_transient

_log = structlog.stdlib.get_logger(__name__)

CUSTOMERS: Final = 500
"""Number of customers that one transaction sweeps."""
_AT_ONCE: Final = 2
"""Number of transactions that sweep at the same time."""

LEFT: Final = "customers left as they are"
"""The name of the number of customers for whom it failed."""

Counts = Counter[str]
"""What a run did: numbers by name."""


async def sweep_up(pool: Pool, now: datetime) -> None:
    """The job: apply what has fallen due."""
    await sweep(pool, now)


async def run(pool: Pool, now: datetime) -> Counts:
    """Apply versions, judge who is marked, and apply everything that falls due as of an instant."""
    await apply_versions(pool, now, may_finish=False)
    await rejudge(pool, now)
    return await sweep(pool, now)


async def sweep(pool: Pool, now: datetime) -> Counts:
    """Apply everything that has fallen due by now; a customer for whom this fails is logged and not changed."""
    counts: Counts = Counter()
    broken: set[str] = set()

    async def work() -> None:
        while (swept := await _sweep_some(pool, now, broken)) is not None:
            counts.update(swept)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    return counts


async def _sweep_some(pool: Pool, now: datetime, broken: set[str]) -> Counts | None:
    async with pool.acquire() as connection, connection.transaction():
        claimed = await customers.claim_due(connection, now, CUSTOMERS, broken)
        if not claimed:
            return None
        return await _apply(connection, claimed, now, broken)


async def _apply(connection: Connection, claimed: Mapping[str, Customer], now: datetime, broken: set[str]) -> Counts:
    """Apply what fell due of locked customers; after a failure in halves, until the broken customer is isolated."""
    try:
        async with connection.transaction():
            return await apply_due(connection, await programs.load_all(connection), claimed, now)
    except Exception as error:
        if is_transient(error):
            raise
        if len(claimed) == 1:
            [customer_id] = claimed
            _log.error("sweep_refused", customer_id=customer_id, **telemetry.trace(error))
            broken.add(customer_id)
            return Counter({LEFT: 1})
    names = list(claimed)
    middle = len(names) // 2
    first = await _apply(connection, {name: claimed[name] for name in names[:middle]}, now, broken)
    return first + await _apply(connection, {name: claimed[name] for name in names[middle:]}, now, broken)


async def apply_due(
    connection: Connection, versions: Versions, locked: Mapping[str, Customer], now: datetime
) -> Counts:
    """Apply what fell due of locked customers, and announce who is at risk."""
    readings = {name: judged_in_order(versions, customer, (), now) for name, customer in locked.items()}
    judged = await run_rounds(connection, readings)
    warnings = await _look(connection, versions, judged, now)
    judged.update({name: own.judged for name, own in warnings.items()})
    for name, own in judged.items():
        # Claimed again and again, it would keep the sweep from ending.
        assert own.due.at is None or own.due.at > now, f"what fell due is applied: {name}"
    await announce(connection, versions, judged, now)
    await _warn(connection, warnings, now)
    kinds = [entry.kind for own in judged.values() for entry in own.advanced.entries if entry.kind is not None]
    told = [own for own in warnings.values() if own.risk is not None]
    return Counter(kinds) + Counter({"customers": len(locked), "at risk": len(told)})


class _Looked(NamedTuple):
    """A customer of whom moments of warnings had come, and the risk that the last of them found."""

    judged: Judged
    come: list[Notice]
    risk: Risk | None


async def _look(
    connection: Connection, versions: Versions, judged: Mapping[str, Judged], now: datetime
) -> dict[str, _Looked]:
    """Judge the warnings whose moments have come; each customer's next one is then ahead of now."""
    ends: dict[str, datetime] = {}
    for name, own in judged.items():
        end, warn_at = own.advanced.state.standing.valid_until, own.due.warn_at
        if end is not None and warn_at is not None and warn_at <= now:
            ends[name] = end
    if not ends:
        return {}
    stored = await timelines.load_from(connection, dict.fromkeys(ends))
    before = await at_risk.load_judged(connection, ends)
    come: dict[str, list[Notice]] = {}
    for name in ends:
        entries = [(entry.effective_at, entry.valid_until) for entry in stored[name]]
        entries += [(entry.at, entry.standing.valid_until) for entry in judged[name].advanced.entries]
        standing, set_at = judged[name].advanced.state.standing, end_set_at(entries)
        come[name] = due(versions, standing, set_at, now, before[name]) if set_at is not None else []
    readings: dict[str, Reading[Risk | None]] = {
        name: risk(versions, judged[name].advanced.state, own[-1]) for name, own in come.items() if own
    }
    risks = await run_rounds(connection, readings)
    return {name: _Looked(_planned(versions, judged[name], now), own, risks.get(name)) for name, own in come.items()}


def _planned(versions: Versions, judged: Judged, now: datetime) -> Judged:
    """A customer whose next warning is the first one ahead of now."""
    state = judged.advanced.state
    ahead = (notice.at for notice in notices(versions.version(state.version), state.standing) if notice.at > now)
    return judged._replace(due=Due(judged.due.end_at, min(ahead, default=None)))


async def _warn(connection: Connection, looked: Mapping[str, _Looked], now: datetime) -> None:
    """Record the moments that were judged, and publish the risks that were found."""
    warned: list[Warned] = []
    for name, own in looked.items():
        end = own.judged.advanced.state.standing.valid_until
        assert end is not None, "a warning is about the end of a tier"
        for notice in own.come:
            is_told = own.risk is not None and notice is own.come[-1]
            warned.append(Warned(name, end, notice.days, now if is_told else None))
    await at_risk.add(connection, warned)
    risks = {name: own.risk for name, own in looked.items() if own.risk is not None}
    if risks:
        causes = await timelines.load_causes(connection, risks)
        await outbox.announce(connection, [_publication(name, own, causes.get(name)) for name, own in risks.items()])


def _publication(customer_id: str, found: Risk, cause: Cause | None) -> Publication:
    """The event; its cause is the tier event that set what ends (answers.md T42)."""
    assert found.standing.valid_until is not None, "a warning is about the end of a tier"
    needs: list[dict[str, Any]] = []
    for need in found.needs:
        metric, activity, _ = need.condition
        named = {} if activity is None else {"activity": activity}
        needs.append({"metric": metric, **named, "missing": missing_value(metric, need.missing)})
    data = {
        "customer_id": customer_id,
        "program_version": found.program.version,
        "from": found.standing.tier,
        "to": found.to,
        "reason": "period_end",
        "effective_at": format_instant(found.falls_at),
        "valid_until": format_instant(found.standing.valid_until),
        "points_multiplier": found.program.tier(found.standing.tier).points_multiplier,
        "timeline": [],
        "needs": needs,
    }
    known = cause or Cause.of_request(publication_id(found.program.version))
    return publication("loyalty.tier.at_risk.v1", found.notice.at, data, known, SOURCE)
