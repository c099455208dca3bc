"""From an event through a journey to messages: made once, and not sent any more when the journey is stopped."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from services.notifications.handlers import day
from services.notifications.handlers.sweeping import sweep
from services.notifications.rules.message import Channel
from services.notifications.sending import Sender
from services.notifications.sending.ways import Mails
from services.notifications.store import runs
from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.notifications.journeys.machinery import PURCHASE, send
from tests.notifications.journeys.test_moving import DAY, HOUR
from tests.notifications.journeys.test_sweeping import publish, ship
from tests.notifications.mail_server import MailServer
from tests.notifications.world import NOW, ago, claimer, desk, event, handle, library, moved, registered

MONA: dict[str, Any] = {"name": "Mona", "email": "mona@example.org", "locale": "en"}
WELCOME = send("welcome", channels=["in_app", "email"], mode="all")
LATER: dict[str, Any] = {"steps": [{"kind": "wait", "days": 1}, WELCOME, {"kind": "wait", "days": 1}, WELCOME]}


def bought(customer_id: str = "mona", order: str = "o-1", time: datetime = NOW) -> Any:
    return event(PURCHASE, {"customer_id": customer_id, "order_id": order, "currency": "USD", "total": "20.00"}, time)


async def states(pool: Pool, customer_id: str = "mona") -> list[tuple[str, str, str, str | None]]:
    rows = await pool.fetch(
        "SELECT occasion, channel, state, reason FROM message WHERE customer_id = $1 ORDER BY number", customer_id
    )
    return [tuple(row) for row in rows]


def sender(server: MailServer) -> Sender:
    return Sender(claimer(), Mails(library(), server.channel()), batch=50, most_attempts=3, random=lambda: 0.5)


async def test_each_send_step_of_a_run_makes_its_messages_once(pool: Pool):
    await ship(pool, later=LATER)
    await handle(pool, registered("mona", ago(days=3), **MONA), bought())
    assert await states(pool) == []
    for _ in range(2):
        await asyncio.gather(*(sweep(pool, NOW + DAY, desk()) for _ in range(3)))
    await handle(pool, bought(), now=NOW + DAY)
    await sweep(pool, NOW + 5 * DAY, desk())
    assert [row[:3] for row in await states(pool)] == [
        ("order/o-1#1", "in_app", "sent"),
        ("order/o-1#1", "email", "queued"),
        ("order/o-1#3", "in_app", "sent"),
    ]
    rows = await pool.fetch("SELECT * FROM message WHERE channel = 'in_app' ORDER BY number")
    [run] = await runs.page(pool, "later", "mona", (NOW + DAY, UUID(int=2**128 - 1)), 5)
    assert [row["run_id"] for row in rows] == [run.id] * 2
    assert [row["occurred_at"] for row in rows] == [NOW + DAY, NOW + 2 * DAY]
    # The second mail was three days too late when it was made.
    assert rows[1]["unsent"] == {"email": "too_old"}


async def test_what_waits_to_be_sent_is_skipped_when_the_journey_is_disabled(pool: Pool, mail_server: MailServer):
    await ship(pool, now={"steps": [WELCOME]})
    await handle(pool, registered("mona", ago(hours=3), **MONA), bought())
    await publish(pool, "now", {"steps": [WELCOME], "enabled": False}, NOW)
    await sender(mail_server).run(pool, NOW)
    assert await states(pool) == [
        ("order/o-1", "in_app", "sent", None),
        ("order/o-1", "email", "skipped", "journey_stopped"),
    ]
    assert mail_server.taken == []


async def test_a_warning_about_points_is_judged_again_when_it_is_sent(pool: Pool, mail_server: MailServer):
    warning = {"trigger": {"on": "before", "what": "points_expiry", "days": 7}, "steps": [WELCOME]}
    await ship(pool, warning=warning)
    ends = format_instant(NOW + 7 * DAY)
    for customer_id in ("mona", "ben"):
        await handle(
            pool,
            registered(customer_id, ago(hours=3), **MONA),
            moved("expiring", customer_id, 50, expires_at=ends, reason={"kind": "expiry"}, balance={"available": 80}),
        )
    await handle(pool, moved("redeemed", "mona", 60, reason={"kind": "redemption"}, balance={"available": 20}))
    await sender(mail_server).run(pool, NOW)
    assert (await states(pool))[-1] == (f"points_expiry/{ends}", "email", "skipped", "journey_stopped")
    assert (await states(pool, "ben"))[-1] == (f"points_expiry/{ends}", "email", "sent", None)


async def test_a_day_does_the_work_of_all_jobs_and_is_safe_twice(pool: Pool, mail_server: MailServer):
    birthday = {"trigger": {"on": "date", "field": "birth_date", "at": "09:00"}, "steps": [WELCOME]}
    await ship(pool, later=LATER, birthday=birthday)
    ids = [f"customer-{number}" for number in range(60)]
    await handle(pool, *(registered(id_, ago(days=3), **MONA, birth_date="1990-03-02") for id_ in ids))
    await handle(pool, *(bought(id_) for id_ in ids))
    at = NOW + DAY + HOUR
    first = await day.run(pool, at, desk(), {Channel.EMAIL: sender(mail_server).run})
    assert (first["runs moved"], first["messages asked for"], first["batches by email"]) == (60, 120, 3)
    assert len(mail_server.taken) == 120
    assert not await day.run(pool, at, desk(), {Channel.EMAIL: sender(mail_server).run})
    assert not await day.run(pool, NOW, desk(), {Channel.EMAIL: sender(mail_server).run})
    assert len(mail_server.taken) == 120
