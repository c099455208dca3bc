"""The product on a database, as the other side of the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.referrals.handlers import day, events, evidence
from services.referrals.handlers.deciding import Call, decide_on
from services.referrals.handlers.reviewing import Wanted, find, find_page
from services.referrals.handlers.verifying import verify
from services.referrals.rules.deciding import Decision
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.referral import State
from shared.contracts.envelope import Cause, Event
from shared.postgres.pool import Pool
from tests.points.books import empty
from tests.referrals.oracles.machine import LONG_AGO, Key, Row
from tests.referrals.oracles.records import By, Published
from tests.support.documents import put_into_force

KIND: Final = "referral_program"
KEY: Final = EvidenceKey("a key of the tests, long enough for evidence")

CODE_SQL: Final = "INSERT INTO referral_code (customer_id, code, created_at) VALUES ($1, $2, $3)"
ROWS_SQL: Final = """
SELECT referral_id::text, friend_id, code, state, reason, score, signals, order_id, due_at, approved_at,
       coalesce(advocate_points, 0) AS advocate_points, coalesce(friend_points, 0) AS friend_points
FROM referral
"""
KEYS_SQL: Final = "SELECT referral_id, friend_id, code FROM referral"
STEPS_SQL: Final = "SELECT referral_id::text, state, at, actor, note FROM referral_step ORDER BY referral_id, number"
OUTBOX_SQL: Final = "SELECT convert_from(value, 'UTF8')::json AS value FROM outbox ORDER BY id"


@dataclass
class Product:
    """The handlers of referrals."""

    pool: Pool

    async def begin(self, document: dict[str, Any], codes: dict[str, str]) -> None:
        await empty(self.pool)
        await put_into_force(self.pool, KIND, document, LONG_AGO)
        await self.pool.executemany(CODE_SQL, [(owner, code, LONG_AGO) for owner, code in codes.items()])

    async def publish(self, document: dict[str, Any], at: datetime) -> None:
        await put_into_force(self.pool, KIND, document, at)

    async def receive(self, batch: Sequence[Event], now: datetime) -> list[tuple[str, str]]:
        async with self.pool.acquire() as connection, connection.transaction():
            refused = await events.handle(connection, batch, now, KEY)
        return [(refusal.event.id, str(refusal.reason)) for refusal in refused]

    async def decide(self, keys: Sequence[Key], decision: str, by: By, now: datetime) -> list[bool]:
        ids = {(friend, code): id_ for id_, friend, code in await self.pool.fetch(KEYS_SQL)}
        call = Call(Decision(decision), by.note or "", by.actor, Cause.of_request("request"), now)
        async with self.pool.acquire() as connection, connection.transaction():
            decided = await decide_on(connection, [ids[key] for key in keys], call, KEY)
        assert {code for _, code in decided.refused} <= {"not_flagged"}
        return [ids[key] in decided.done for key in keys]

    async def sweep(self, now: datetime) -> None:
        await day.sweep(self.pool, now, KEY)

    async def read(self, key: Key, now: datetime) -> Row:
        ids = {(friend, code): id_ for id_, friend, code in await self.pool.fetch(KEYS_SQL)}
        found = await find(self.pool, ids[key], now, KEY)
        assert found is not None
        reviewed, _ = found
        row = (await self.rows())[key]
        referral = reviewed.referral
        assert (referral.state, referral.score) == (row.state, row.score)
        assert [(step.state, step.at, step.actor, step.note) for step in reviewed.history] == row.history
        return row

    async def rows(self) -> dict[Key, Row]:
        history: dict[str, list[tuple[str, datetime, str, str | None]]] = {}
        for step in await self.pool.fetch(STEPS_SQL):
            history.setdefault(step[0], []).append(tuple(step)[1:])
        return {(row["friend_id"], row["code"]): _row(row, history) for row in await self.pool.fetch(ROWS_SQL)}

    async def published(self) -> list[Published]:
        rows = await self.pool.fetch(ROWS_SQL)
        code_of = {row["referral_id"]: row["code"] for row in rows}
        return [_published(row["value"], code_of) for row in await self.pool.fetch(OUTBOX_SQL)]

    async def queue(self, now: datetime) -> list[Key]:
        page = await find_page(self.pool, Wanted(State.FLAGGED, None, 200), now, KEY)
        scores = [(own.referral.score, own.referral.referral_id) for own in page]
        assert scores == sorted(scores, reverse=True)
        return [(own.referral.friend_id, own.referral.code) for own in page]

    async def verify(self, now: datetime) -> list[str]:
        await evidence.forget(self.pool, now)  # which the job does every hour
        found = [check async for check in verify(self.pool, 1_000, now)]
        return [f"{check.name}: {check.offenders}" for check in found if check.offenders]


def _row(row: Any, history: dict[str, list[tuple[str, datetime, str, str | None]]]) -> Row:
    signals = {signal["id"]: (signal["action"], signal["weight"]) for signal in row["signals"] or ()}
    return Row(
        row["state"],
        row["reason"],
        row["score"],
        signals,
        row["order_id"],
        row["due_at"],
        (row["advocate_points"], row["friend_points"]),
        history[row["referral_id"]],
    )


def _published(event: dict[str, Any], code_of: dict[str, str]) -> Published:
    data = event["data"]
    points = (data["advocate_points"], data["friend_points"]) if "advocate_points" in data else None
    return Published(
        event["type"].split(".")[2],
        datetime.fromisoformat(event["time"]),
        data["customer_id"],
        data["friend_id"],
        code_of[data["referral_id"]],
        data.get("order_id"),
        data.get("reason"),
        tuple(sorted(data.get("signals", ()))),
        points,
    )
