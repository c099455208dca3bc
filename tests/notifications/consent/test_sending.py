"""Mails with links, bounces, quiet hours and caps, over real SMTP and a real database."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from services.notifications.handlers.claiming import Claimer
from services.notifications.rules.gate import Limits
from services.notifications.rules.links import Links
from services.notifications.rules.quiet import QuietHours
from services.notifications.sending.ways import Mails
from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer, only
from tests.notifications.test_sending import register, sender
from tests.notifications.world import (
    NOW,
    claimer,
    earned,
    handle,
    judge,
    library,
    messages,
    published,
    states,
    summarize,
)

ROOT = "https://loyal.example.org"
DAY = timedelta(days=1)


def links(message_id: UUID) -> Links:
    return Links(judge().keys, ROOT, message_id)


async def offer(pool: Pool, *customer_ids: str, count: int = 1) -> None:
    """Marketing mails that are due."""
    await handle(pool, *(earned(customer_id, 5) for customer_id in customer_ids for _ in range(count)))
    await pool.execute("UPDATE message SET kind = 'marketing', topic = 'offers' WHERE due_at IS NOT NULL")


async def test_a_mail_carries_its_links(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", marketing_consent={"email": True})
    await offer(pool, "mona")
    await sender(mail_server, way=Mails(library(), mail_server.channel(), links)).run(pool, NOW)
    (mail,) = mail_server.taken
    row = (await messages(pool, "mona", "email"))[-1]
    url = links(row["id"]).unsubscribe
    assert mail["List-Unsubscribe"] == f"<{url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html, text = (part.get_content() for part in (mail.get_body(("html",)), mail.get_body(("plain",))) if part)
    assert url in html
    assert url in text
    assert len(re.findall(rf'<img src="{ROOT}/o/', html)) == 1


async def test_a_mail_about_points_has_the_header_and_no_pixel(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    await sender(mail_server, way=Mails(library(), mail_server.channel(), links)).run(pool, NOW)
    (mail,) = mail_server.taken
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = mail.get_body(("html",))
    assert html is not None
    assert f"{ROOT}/o/" not in html.get_content()


async def test_an_address_that_does_not_exist_is_suppressed(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, earned("mona", 5))
    mail_server.at_recipient = only("mona@example.org", "550 5.1.1 no such user")
    await sender(mail_server).run(pool, NOW)
    mail_server.at_recipient = lambda _: None
    await handle(pool, earned("mona", 6))
    await sender(mail_server).run(pool, NOW)
    assert await states(pool, "mona") == [
        ("points_earned", "failed", "rejected"),
        ("points_earned", "skipped", "suppressed"),
    ]
    told = [verb for verb, _, channel in summarize(await published(pool)) if channel == "email"]
    assert told == ["failed", "bounced", "skipped"]


async def test_the_cap_lets_one_through_whoever_sends(pool: Pool, mail_server: MailServer):
    names = [f"customer-{number}" for number in range(8)]
    await register(pool, *names, marketing_consent={"email": True})
    await offer(pool, *names, count=3)
    workers = [sender(mail_server, batch=5) for _ in range(3)]
    for _ in range(4):
        await asyncio.gather(*(worker.run(pool, NOW) for worker in workers))
    assert sorted(mail["To"] for mail in mail_server.taken) == sorted(f"{name}@example.org" for name in names)
    for name in names:
        reached = [(state, reason) for _, state, reason in await states(pool, name)]
        assert sorted(reached, key=str) == [("sent", None), *[("skipped", "frequency_cap")] * 2]


async def test_a_mail_that_was_put_off_does_not_count_against_itself(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", marketing_consent={"email": True})
    await offer(pool, "mona")
    mail_server.at_recipient = only("mona@example.org", "451 later")
    await sender(mail_server).run(pool, NOW)
    mail_server.at_recipient = lambda _: None
    await sender(mail_server).run(pool, NOW + timedelta(minutes=5))
    assert await states(pool, "mona") == [("points_earned", "sent", None)]


def night(zone_hours: tuple[int, int]) -> Claimer:
    """Quiet hours of the settings from and to these hours."""
    start, end = (NOW.replace(hour=hour).time() for hour in zone_hours)
    limits = Limits(quiet_hours=QuietHours(start, end))
    return replace(claimer(), judge=replace(judge(), limits=limits))


@pytest.mark.parametrize(
    "later, expected", [(timedelta(hours=1), ("held", "quiet_hours")), (timedelta(hours=2), ("sent", None))]
)
async def test_what_quiet_hours_hold_is_sent_when_they_end(
    pool: Pool, mail_server: MailServer, later: timedelta, expected: tuple[str, str | None]
):
    await register(pool, "mona", marketing_consent={"email": True})
    await offer(pool, "mona")
    quiet = sender(mail_server, claimer=night((11, 14)))
    for moment in (NOW, NOW + timedelta(minutes=30), NOW + later):
        await quiet.run(pool, moment)
    assert await states(pool, "mona") == [("points_earned", *expected)]
    told = [verb for verb, _, channel in summarize(await published(pool)) if channel == "email"]
    assert told == ["held", *(["sent"] if expected[0] == "sent" else [])], "it is told once that it is held"
    row = (await messages(pool, "mona", "email"))[-1]
    assert row["due_at"] == (NOW + timedelta(hours=2) if expected[0] == "held" else None)


async def test_after_quiet_hours_the_rest_meets_the_cap(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", marketing_consent={"email": True})
    await offer(pool, "mona", count=3)
    quiet = sender(mail_server, claimer=night((11, 14)))
    ends: datetime = NOW + timedelta(hours=2)
    for moment in (NOW, ends):
        await quiet.run(pool, moment)
    reached = [(state, reason) for _, state, reason in await states(pool, "mona")]
    assert reached == [("sent", None), *[("skipped", "frequency_cap")] * 2], "the oldest goes"
