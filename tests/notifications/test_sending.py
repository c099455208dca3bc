"""Mails that are due, over real SMTP and a real database."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.notifications.handlers import claiming, settling
from services.notifications.rules.message import Channel, State
from services.notifications.sending import LEASE, Sender
from services.notifications.sending.ways import Mails
from services.notifications.store import mails
from shared.postgres.pool import Pool
from tests.notifications.mail_server import HangUp, MailServer, only, stall
from tests.notifications.world import (
    NOW,
    ago,
    claimer,
    earned,
    erased,
    handle,
    library,
    messages,
    published,
    registered,
    states,
    summarize,
    updated,
)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def sender(mail_server: MailServer, **changes: Any) -> Sender:
    usual = Sender(claimer(), Mails(library(), mail_server.channel()), batch=50, most_attempts=3, random=lambda: 0.5)
    return replace(usual, **changes)


async def register(pool: Pool, *customer_ids: str, **details: Any) -> None:
    """Customers who have a mail address and were welcomed long ago."""
    for customer_id in customer_ids:
        await handle(pool, registered(customer_id, ago(days=30), email=f"{customer_id}@example.org", **details))
    await pool.execute("DELETE FROM message")
    await pool.execute("DELETE FROM outbox")


async def mail(pool: Pool, customer_id: str = "mona") -> dict[str, Any]:
    (row,) = await messages(pool, customer_id, "email")
    return row


async def claim(pool: Pool, now: datetime) -> list[mails.Mail]:
    async with pool.acquire() as connection, connection.transaction():
        return [mail for mail, _ in await claiming.claim(connection, claimer(), Channel.EMAIL, now, 10) or ()]


async def mail_summaries(pool: Pool) -> list[tuple[str, str, str]]:
    return [summary for summary in summarize(await published(pool)) if summary[2] == "email"]


async def test_a_mail_is_sent_once(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", name="منى", locale="ar-EG")
    event = earned("mona", 3, ago(hours=1))
    await handle(pool, event)
    for later in range(3):
        await sender(mail_server).run(pool, NOW + minutes(later))
    (taken,) = mail_server.taken
    assert (taken["To"], taken["Subject"]) == ("mona@example.org", "حصلت على ٣ نقاط")
    html = taken.get_body(("html",))
    assert html is not None
    assert '<html lang="ar" dir="rtl">' in html.get_content()
    assert "منى" in html.get_content()
    row = await mail(pool)
    assert (row["state"], row["attempts"], row["due_at"], row["locale"]) == ("sent", 1, None, "ar")
    assert taken["Message-ID"] == f"<{row['id']}@example.org>"
    sent = (await published(pool))[-1]
    assert sent["type"] == "loyalty.message.sent.v1"
    assert (sent["data"]["message_id"], sent["data"]["locale"]) == (str(row["id"]), "ar")
    assert (sent["time"], sent["correlationid"]) == ("2026-03-01T11:00:00Z", event.correlation_id)
    assert (sent["causationid"], sent["source"]) == (event.id, "/wafa/notifications")


async def test_a_batch_goes_over_one_connection(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, *(earned("mona", number) for number in range(1, 8)))
    await sender(mail_server, batch=5).run(pool, NOW)
    assert [taken["Subject"] for taken in mail_server.taken][:2] == ["You earned 1 point", "You earned 2 points"]
    assert (len(mail_server.taken), mail_server.connections) == (5, 1)
    await sender(mail_server, batch=5).run(pool, NOW)
    assert len(mail_server.taken) == 7


async def test_without_due_mails_no_connection_is_opened(pool: Pool, mail_server: MailServer):
    await sender(mail_server).run(pool, NOW)
    assert mail_server.connections == 0


async def test_two_senders_at_once_send_each_mail_once(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", "ben")
    await handle(pool, *(earned(customer_id, 5) for customer_id in ("mona", "ben") * 20))
    workers = [sender(mail_server, batch=7) for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(worker.run(pool, NOW) for worker in workers))
    ids = [taken["Message-ID"] for taken in mail_server.taken]
    assert len(ids) == len(set(ids)) == 40
    assert (await mail_summaries(pool)).count(("sent", "mona", "email")) == 20


async def test_a_crash_between_sending_and_recording_repeats_the_mail_with_its_message_id(
    pool: Pool, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))

    async def crash(*_: object) -> None:
        raise ConnectionResetError("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr(settling, "settle", crash)
        with pytest.raises(ConnectionResetError):
            await sender(mail_server).run(pool, NOW)
    assert len(mail_server.taken) == 1
    assert (await mail(pool))["state"] == "queued"

    await sender(mail_server).run(pool, NOW + LEASE - minutes(1))
    assert len(mail_server.taken) == 1, "until the lease ends it may still be on its way"
    await sender(mail_server).run(pool, NOW + LEASE)
    first, second = mail_server.taken
    assert first["Message-ID"] == second["Message-ID"]
    assert (await mail(pool))["state"] == "sent"
    assert await mail_summaries(pool) == [("sent", "mona", "email")]


@pytest.mark.parametrize("where", ["at_recipient", "at_data"])
async def test_a_rejected_mail_fails(pool: Pool, mail_server: MailServer, where: str):
    await register(pool, "mona", "ben")
    await handle(pool, earned("mona", 5), earned("ben", 5))
    setattr(mail_server, where, only("mona@example.org", "550 5.1.1 no such user"))
    await sender(mail_server).run(pool, NOW)
    assert await states(pool, "mona") == [("points_earned", "failed", "rejected")]
    assert await states(pool, "ben") == [("points_earned", "sent", None)]
    told = [("bounced", "mona", "email"), ("failed", "mona", "email"), ("sent", "ben", "email")]
    assert sorted(await mail_summaries(pool)) == told


@pytest.mark.parametrize("where", ["at_recipient", "at_data"])
async def test_a_deferred_mail_is_retried_and_then_given_up(pool: Pool, mail_server: MailServer, where: str):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    setattr(mail_server, where, only("mona@example.org", "451 4.7.1 later"))
    await sender(mail_server).run(pool, NOW)
    row = await mail(pool)
    assert (row["state"], row["attempts"]) == ("queued", 1)
    # Jitter 0.5 of the pauses 1 and 2 minutes: 45 and 90 seconds.
    assert timedelta(seconds=45) <= row["due_at"] - NOW < timedelta(seconds=50)
    await sender(mail_server).run(pool, NOW + timedelta(seconds=40))
    assert (await mail(pool))["attempts"] == 1
    await sender(mail_server).run(pool, NOW + minutes(1))
    row = await mail(pool)
    assert timedelta(seconds=90) <= row["due_at"] - (NOW + minutes(1)) < timedelta(seconds=95)
    await sender(mail_server).run(pool, NOW + minutes(5))
    assert await states(pool, "mona") == [("points_earned", "failed", "given_up")]
    assert await mail_summaries(pool) == [("failed", "mona", "email")]


async def test_a_mail_deferred_once_is_sent_later(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    mail_server.at_data = only("mona@example.org", "452 4.3.1 full")
    await sender(mail_server).run(pool, NOW)
    mail_server.at_data = lambda _: None
    await sender(mail_server).run(pool, NOW + minutes(1))
    assert await states(pool, "mona") == [("points_earned", "sent", None)]


def hang_up(address: str) -> Callable[[str], None]:
    def script(recipient: str) -> None:
        if recipient == address:
            raise HangUp

    return script


@pytest.mark.parametrize("where", ["at_recipient", "at_data", "after_data"])
async def test_a_lost_connection_is_reopened_for_the_remaining_mails(pool: Pool, mail_server: MailServer, where: str):
    await register(pool, "ada", "ben", "cat")
    await handle(pool, *(earned(customer_id, 5) for customer_id in ("ada", "ben", "cat")))
    setattr(mail_server, where, hang_up("ben@example.org"))
    await sender(mail_server).run(pool, NOW)
    assert [(await mail(pool, customer_id))["state"] for customer_id in ("ada", "ben", "cat")] == [
        "sent",
        "queued",
        "sent",
    ]
    # A connection that was used before may have been closed meanwhile: before the content, a new one is tried at once.
    assert mail_server.connections == (3 if where == "at_recipient" else 2)
    setattr(mail_server, where, lambda _: None)
    await sender(mail_server).run(pool, NOW + minutes(1))
    assert (await mail(pool, "ben"))["state"] == "sent"
    to_ben = {taken["Message-ID"] for taken in mail_server.taken if taken["To"] == "ben@example.org"}
    assert len(to_ben) == 1, "a repeat has the same Message-ID"


async def test_a_server_that_does_not_answer_in_time(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    mail_server.at_data = stall(0.6)
    await sender(mail_server, way=Mails(library(), mail_server.channel(mail_server.at(timeout=0.2)))).run(pool, NOW)
    row = await mail(pool)
    assert (row["state"], row["attempts"]) == ("queued", 1)


async def test_an_unreachable_server_uses_up_no_attempt(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    mail_server.stop()
    for run in range(5):
        await sender(mail_server).run(pool, NOW + minutes(run))
    row = await mail(pool)
    assert (row["state"], row["attempts"]) == ("queued", 0)
    assert row["due_at"] == NOW + minutes(4) + timedelta(seconds=30)
    mail_server.restart()
    await sender(mail_server).run(pool, NOW + minutes(5))
    assert (await mail(pool))["state"] == "sent"


async def test_a_refused_login_does_not_fail_the_mail(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    locked_out = replace(mail_server.at(), user="wafa", password="wrong")
    await sender(mail_server, way=Mails(library(), mail_server.channel(locked_out))).run(pool, NOW)
    assert (await mail(pool))["state"] == "queued"
    mail_server.at_recipient = lambda _: "530 5.7.0 authentication required"
    await sender(mail_server).run(pool, NOW + minutes(1))
    row = await mail(pool)
    assert (row["state"], row["attempts"]) == ("queued", 0)


async def test_a_mail_to_an_international_address(pool: Pool, mail_server: MailServer):
    await handle(pool, registered("mona", email="منى@example.org"))
    await sender(mail_server).run(pool, NOW)
    assert [taken["To"] for taken in mail_server.taken] == ["منى@example.org"]


async def test_a_server_that_cannot_reach_an_international_address(pool: Pool, mail_server: MailServer):
    mail_server.stop()
    mail_server.speaks_utf8 = False
    mail_server.restart()
    await handle(pool, registered("mona", email="منى@example.org"))
    await sender(mail_server).run(pool, NOW)
    assert await states(pool, "mona") == [("welcome", "failed", "rejected")]


async def test_a_customer_without_a_profile_after_ten_minutes_gets_no_mail(pool: Pool, mail_server: MailServer):
    await handle(pool, earned("stranger", 5))
    await sender(mail_server).run(pool, NOW + minutes(10) - timedelta(microseconds=1))
    assert await states(pool, "stranger") == [("points_earned", "held", "no_profile")]
    await sender(mail_server).run(pool, NOW + minutes(10))
    assert await states(pool, "stranger") == [("points_earned", "skipped", "no_profile")]
    assert await mail_summaries(pool) == [("held", "stranger", "email"), ("skipped", "stranger", "email")]
    assert mail_server.connections == 0


async def test_a_held_mail_is_sent_in_the_language_of_the_profile(pool: Pool, mail_server: MailServer):
    await handle(pool, earned("mona", 5))
    await handle(pool, updated("mona", email="mona@example.org", locale="ar"), now=NOW + minutes(1))
    await sender(mail_server).run(pool, NOW + minutes(1))
    assert [taken["Subject"] for taken in mail_server.taken] == ["حصلت على 5 نقاط"]
    assert (await mail(pool))["locale"] == "ar"


async def test_the_profile_at_the_time_of_sending_is_used(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    await handle(pool, updated("mona", email="new@example.org"))
    await sender(mail_server).run(pool, NOW)
    assert [taken["To"] for taken in mail_server.taken] == ["new@example.org"]


async def test_marketing_needs_consent_at_the_time_of_sending(pool: Pool, mail_server: MailServer):
    await register(pool, "yes", "no", marketing_consent={"email": True})
    for customer_id in ("yes", "no"):
        await handle(pool, earned(customer_id, 5))
    await pool.execute("UPDATE message SET kind = 'marketing'")
    await handle(pool, updated("no", marketing_consent={"email": False}))
    await sender(mail_server).run(pool, NOW)
    assert [taken["To"] for taken in mail_server.taken] == ["yes@example.org"]
    assert await states(pool, "no") == [("points_earned", "skipped", "no_consent")]


async def test_a_mail_that_became_too_old_is_skipped(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5, ago(hours=47)))
    await sender(mail_server).run(pool, NOW + minutes(61))
    assert await states(pool, "mona") == [("points_earned", "skipped", "too_old")]
    assert mail_server.taken == []


async def test_an_erasure_while_the_mail_is_on_its_way(pool: Pool, mail_server: MailServer):
    """A mail that was handed over cannot be recalled; nothing of it is stored or published."""
    await register(pool, "mona")
    await handle(pool, earned("mona", 5, ago(hours=1)))
    (claimed,) = await claim(pool, NOW)
    await handle(pool, erased("mona"))
    async with pool.acquire() as connection, connection.transaction():
        await settling.settle(connection, [settling.Settled(claimed, State.SENT, 1, "en", 1)])
    assert await messages(pool, "mona", "email") == []
    assert await mail_summaries(pool) == []


async def test_after_its_lease_a_worker_can_only_record_success(pool: Pool):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    (slow,) = await claim(pool, NOW)
    (quick,) = await claim(pool, NOW + LEASE)
    late = settling.Settled(slow, State.FAILED, 1, "en", 1, "given_up")
    sent = settling.Settled(slow, State.SENT, 1, "en", 1)
    refused = settling.Settled(quick, State.FAILED, 2, "en", 1, "rejected")
    for outcome, expected in ((late, "queued"), (sent, "sent"), (refused, "sent")):
        async with pool.acquire() as connection, connection.transaction():
            await settling.settle(connection, [outcome])
        assert (await mail(pool))["state"] == expected
    assert await mail_summaries(pool) == [("sent", "mona", "email")]


async def test_with_a_slow_server_the_rest_is_released_before_the_lease_ends(pool: Pool, mail_server: MailServer):
    await register(pool, "ada", "ben", "cat")
    await handle(pool, *(earned(customer_id, 5) for customer_id in ("ada", "ben", "cat")))
    clock = iter((0.0, 0.0, 200.0, 400.0))
    await sender(mail_server, elapsed=lambda: next(clock)).run(pool, NOW)
    rows = [await mail(pool, customer_id) for customer_id in ("ada", "ben", "cat")]
    assert [(row["state"], row["attempts"]) for row in rows] == [("sent", 1), ("sent", 1), ("queued", 0)]
    assert rows[2]["due_at"] < NOW + LEASE


async def test_a_stopping_worker_finishes_the_current_mail_and_releases_the_rest(pool: Pool, mail_server: MailServer):
    await register(pool, "ada", "ben")
    await handle(pool, earned("ada", 5), earned("ben", 5))
    at_hand = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take_long(_: str) -> None:
        loop.call_soon_threadsafe(at_hand.set)
        time.sleep(0.3)

    mail_server.at_data = take_long
    running = asyncio.create_task(sender(mail_server).run(pool, NOW))
    await asyncio.wait_for(at_hand.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    rows = [await mail(pool, customer_id) for customer_id in ("ada", "ben")]
    assert [(row["state"], row["attempts"]) for row in rows] == [("sent", 1), ("queued", 0)]
    assert rows[1]["due_at"] < NOW + minutes(1)
    assert len(mail_server.taken) == 1


async def test_a_template_that_fails_fails_its_mail_only(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", "ben")
    await handle(pool, earned("mona", 5), earned("ben", 5))
    await pool.execute("UPDATE message SET facts = '{}' WHERE customer_id = 'mona' AND channel = 'email'")
    await sender(mail_server).run(pool, NOW)
    assert await states(pool, "mona") == [("points_earned", "failed", "template_error")]
    assert await states(pool, "ben") == [("points_earned", "sent", None)]


async def test_no_transaction_is_open_during_smtp(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    seen: list[int] = []
    loop = asyncio.get_running_loop()
    open_sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"

    def look(_: str) -> None:
        async def count() -> int:
            return await pool.fetchval(open_sql)

        seen.append(asyncio.run_coroutine_threadsafe(count(), loop).result(5))

    mail_server.at_data = look
    await sender(mail_server).run(pool, NOW)
    assert seen == [0]
    assert (await mail(pool))["state"] == "sent"


async def test_the_date_of_a_mail_is_when_it_is_sent(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    await sender(mail_server, elapsed=lambda: 0.0).run(pool, NOW + minutes(3))
    assert mail_server.taken[0]["Date"].datetime == datetime(2026, 3, 1, 12, 3, tzinfo=NOW.tzinfo)
