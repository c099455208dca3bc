"""Replays: the job that judges the sign-ups of the last days by a draft's signals, beside live traffic."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog

from services.referrals.handlers.evidence import load_facts
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.document import ProgramDocument
from services.referrals.rules.program.kind import KIND
from services.referrals.rules.replaying import Case, Result, Tally, result_by, result_of, would_be
from services.referrals.rules.signals import Found
from services.referrals.store import programs, replays
from services.referrals.store.replays import Replay, Row, Wanted
from services.referrals.store.sign_ups import Asked
from shared import telemetry
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool, is_transient
from shared.postgres.slices import Run, Slice
from shared.programs import store as documents
from shared.programs.drafting import Author
from shared.programs.kind import Book, Key
from shared.programs.store import Version
from shared.turns import map_in_turns

_log = structlog.stdlib.get_logger(__name__)

SLICE: Final = 500
"""Sign-ups of a slice."""

CHANGED: Final = "the draft was changed after the replay began: start another one"
PUBLISHED: Final = "the version was published before the replay ended"
_BROKEN: Final = "an error of the program, which the log of the worker tells"
_BEFORE_EVIDENCE: Final = 0
"""The place of a sign-up that was handled before evidence was stored: nothing was known."""


async def start(connection: Connection, draft: Version, days: int, author: Author) -> Replay:
    """Store a replay of a locked draft over the sign-ups of some days, for the job to run."""
    wanted = Wanted(draft.version, draft.revision, days, author.now - timedelta(days=days))
    return await replays.add(connection, wanted, author.now, author.principal)


async def find(pool: Pool, replay_id: UUID) -> Replay | None:
    """A replay; one of a draft that was changed since is void, whether or not it was done."""
    found = await replays.find(pool, replay_id)
    if found is None or found.state == "failed":
        return found
    draft = await documents.find(pool, Key(KIND.name), found.wanted.version)
    if draft is not None and draft.revision == found.wanted.revision:
        return found
    return replace(found, state="failed", result=None, failure=CHANGED)


async def run_replays(pool: Pool, _now: datetime, key: EvidenceKey | None) -> None:
    """Job: run the replays that are to be run, the oldest first."""
    done: set[UUID] = set()
    while (waiting := await replays.next_running(pool, done)) is not None:
        done.add(waiting.id)
        try:
            await _run(pool, waiting, key)
        except Exception as error:
            if is_transient(error):
                raise
            _log.error("replay_failed", replay_id=str(waiting.id), **telemetry.trace(error))
            await _end(pool, waiting, _BROKEN)


async def _run(pool: Pool, waiting: Replay, key: EvidenceKey | None) -> None:
    draft, void = await _look_up(pool, waiting)
    if draft is None or void is not None:
        await _end(pool, waiting, void or CHANGED)
        return
    async with pool.acquire() as connection, connection.transaction():
        if await replays.lock(connection, waiting.id) and not await slices.is_cut(connection, waiting.id):
            await replays.cut(connection, waiting, SLICE)
        published = await programs.load_published(connection)
    program = Program.of(draft.version, ProgramDocument.model_validate(draft.document))

    async def goes_on() -> bool:
        _, void = await _look_up(pool, waiting)
        return void is None

    work = partial(judge_slice, Trial(program, published, key, waiting.created_at))
    await slices.work_off(pool, Run(waiting.id, work, goes_on, "repeatable_read"))
    await _finish(pool, waiting, program, has_key=key is not None)


async def _finish(pool: Pool, waiting: Replay, program: Program, *, has_key: bool) -> None:
    """Store the result if all slices are done, unless the replay is void by now."""
    _, void = await _look_up(pool, waiting)
    if void is not None:
        await _end(pool, waiting, void)
        return
    async with pool.acquire() as connection, connection.transaction():
        if await replays.lock(connection, waiting.id):
            outcomes = await slices.outcomes(connection, waiting.id)
            if outcomes is not None:
                result = result_of(program, map(Tally.from_json, outcomes), has_key=has_key)
                await replays.end(connection, waiting.id, result)


async def _look_up(pool: Pool, waiting: Replay) -> tuple[Version | None, str | None]:
    """The draft of a replay, and why the replay is void, if it is."""
    draft = await documents.find(pool, Key(KIND.name), waiting.wanted.version)
    if draft is None or draft.revision != waiting.wanted.revision:
        return draft, CHANGED
    return draft, None if draft.effective_at is None else PUBLISHED


async def _end(pool: Pool, waiting: Replay, failure: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await replays.end(connection, waiting.id, failure)


class Trial(NamedTuple):
    """A draft that is tried on the past: the published versions, the key of evidence, and when it began."""

    draft: Program
    published: Book[Program]
    key: EvidenceKey | None
    now: datetime


async def judge_slice(trial: Trial, connection: Connection, part: Slice) -> Mapping[str, Any]:
    """Judge the sign-ups of a slice, each by the facts of its own time; returns their tally."""
    rows = await replays.load(connection, part)
    facts = await load_facts(connection, [_asked(row) for row in rows], trial.draft, trial.now, trial.key)
    cases = [_case(row, trial.published) for row in rows]
    pairs = list(zip(cases, facts, strict=True))
    judged = await map_in_turns(lambda pair: would_be(pair[0], pair[1], trial.draft), pairs)
    tally = Tally()
    for case, (would, found) in zip(cases, judged, strict=True):
        tally.add(case, would, found)
    return tally.to_json()


def _asked(row: Row) -> Asked:
    mark = _BEFORE_EVIDENCE if row.mark is None else row.mark
    return Asked(
        row.referral_id, row.friend_id, row.advocate_id, row.code, row.signed_up_at, mark, until=row.signed_up_at
    )


def _case(row: Row, published: Book[Program]) -> Case:
    return Case(
        referral_id=row.referral_id,
        friend_id=row.friend_id,
        advocate_id=row.advocate_id,
        was=_was(row, published),
        has_bought=row.has_bought,
        was_referred=row.was_referred,
        is_standing=row.is_standing,
        order=None if row.total is None or row.currency is None else (row.total, row.currency),
        terms=published.version(row.program_version),
        paid=row.paid,
    )


def _was(row: Row, published: Book[Program]) -> Result:
    """What became of a sign-up; what only flags it counts before its order too."""
    if row.state == "rejected" and row.reason == "fraud":
        return "blocked"
    signals = [Found(signal["id"], signal["action"], signal["weight"]) for signal in row.signals or ()]
    by_signals = result_by(signals, published.in_force(row.signed_up_at))
    return "flagged" if row.was_flagged or by_signals != "passed" else "passed"
