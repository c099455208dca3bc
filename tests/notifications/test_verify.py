"""`verify` detects each fault of the stored data, and reports none after any sequence of events."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.notifications.handlers.verifying import verify
from services.notifications.sending import Sender
from services.notifications.sending.ways import Mails
from services.notifications.store import auditing_webhooks, searching, totals
from shared.contracts.envelope import Event
from shared.messaging import erasure
from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer
from tests.notifications.world import (
    NOW,
    ago,
    claimer,
    earned,
    erased,
    handle,
    library,
    referral,
    registered,
    reversed_,
    tier,
    updated,
)
from tests.support.broken import broken

EVENTS = "each event is at most one message of a step on a channel"
STATES = "states are valid"
OLD = "no old event was mailed"
CUSTOMERS = "messages have their customer, and tried mails a profile"
ERASED = "nothing is left of erased customers"
LEFT = "no preference, consent, browser or address is left of erased customers"
CONSENTS = "consents in force are those of the ledger"
HANGING = "no mail hangs"
RENDERED = "messages can be rendered"
JOURNEYS = [
    "messages of stored runs belong to them",
    "runs are in valid states",
    "no wait and no timer is overdue",
    "each trigger started at most one run",
    "purchases are counted",
    "no runs are left of erased customers",
]
ALL = [EVENTS, STATES, OLD, CUSTOMERS, ERASED, LEFT, CONSENTS, HANGING, *JOURNEYS, RENDERED]

MAIL = "channel = 'email' AND customer_id ="
INBOX = "channel = 'in_app' AND customer_id ="

# Statements that break the database, and the offenders by check.
BROKEN: Mapping[str, Mapping[str, Sequence[str]]] = {
    f"""ALTER TABLE message DROP CONSTRAINT message_once;
        INSERT INTO message OVERRIDING SYSTEM VALUE
        SELECT (json_populate_record(message, json_build_object('id', gen_random_uuid()))).*
        FROM message WHERE {MAIL} 'skipped'""": {EVENTS: ["skipped/points_earned/event-skipped"]},
    """INSERT INTO message OVERRIDING SYSTEM VALUE
       SELECT (json_populate_record(message, json_build_object('id', gen_random_uuid(), 'occasion', 'transaction/2'))).*
       FROM message WHERE customer_id = 'failed'""": {EVENTS: ["failed/points_earned/event-failed"] * 2},
    f"""ALTER TABLE message DROP CONSTRAINT message_inbox_never_waits, DROP CONSTRAINT message_due_at;
        UPDATE message SET state = 'queued' WHERE {INBOX} 'sent'""": {STATES: ["sent"]},
    f"UPDATE message SET title = '', body = '', facts = NULL WHERE {INBOX} 'sent'": {STATES: ["sent"]},
    f"UPDATE message SET attempts = 0 WHERE {MAIL} 'sent'": {STATES: ["sent"]},
    f"UPDATE message SET attempts = 0 WHERE {MAIL} 'failed'": {STATES: ["failed"]},
    f"UPDATE message SET reason = 'no_profile' WHERE {MAIL} 'failed'": {STATES: ["failed"]},
    f"UPDATE message SET reason = 'rejected' WHERE {MAIL} 'skipped'": {STATES: ["skipped"]},
    f"UPDATE message SET reason = 'no_address' WHERE {MAIL} 'held'": {STATES: ["held"]},
    f"""ALTER TABLE message DROP CONSTRAINT message_reason;
        UPDATE message SET reason = 'given_up' WHERE {MAIL} 'queued'""": {STATES: ["queued"]},
    f"""ALTER TABLE message DROP CONSTRAINT message_due_at;
        UPDATE message SET due_at = NULL WHERE {MAIL} 'queued'""": {STATES: ["queued"]},
    f"""ALTER TABLE message DROP CONSTRAINT message_due_at;
        UPDATE message SET due_at = created_at WHERE {MAIL} 'sent'""": {STATES: ["sent"]},
    f"""ALTER TABLE message DROP CONSTRAINT message_content;
        UPDATE message SET facts = NULL WHERE {MAIL} 'sent'""": {STATES: ["sent"]},
    f"UPDATE message SET facts = 'null' WHERE {MAIL} 'sent'": {STATES: ["sent"], RENDERED: ["sent"]},
    f"""ALTER TABLE message DROP CONSTRAINT message_state_check, DROP CONSTRAINT message_reason;
        UPDATE message SET state = 'lost' WHERE {MAIL} 'sent'""": {STATES: ["sent"]},
    f"UPDATE message SET occurred_at = created_at - interval '2 days 1 second' WHERE {MAIL} 'sent'": {OLD: ["sent"]},
    f"UPDATE message SET state = 'skipped', reason = 'opted_out' WHERE {INBOX} 'sent'": {STATES: ["sent"]},
    "UPDATE customer SET consents = '{}' WHERE customer_id = 'skipped'": {CONSENTS: ["skipped/email"]},
    """INSERT INTO consent (customer_id, channel, action, how, at, actor)
       VALUES ('skipped', 'email', 'withdrawn', 'page', '2026-01-30 12:00Z', '')""": {CONSENTS: ["skipped/email"]},
    "DELETE FROM consent WHERE customer_id = 'skipped'": {CONSENTS: ["skipped/email"]},
    """INSERT INTO preference (customer_id, off, topics_off, updated_at)
       VALUES ('erased', '{}', '{}', '2026-03-01 01:00Z')""": {LEFT: ["erased"]},
    """INSERT INTO push_subscription (id, customer_id, endpoint, p256dh, auth, created_at)
       VALUES (gen_random_uuid(), 'erased', '', '', '', '2026-03-01 01:00Z')""": {LEFT: ["erased"]},
    """INSERT INTO reached (hash, customer_id, at) VALUES ('', 'erased', '2026-03-01 01:00Z')""": {LEFT: ["erased"]},
    "DELETE FROM customer WHERE customer_id = 'held'": {CUSTOMERS: ["held", "held"]},
    "UPDATE customer SET seen_at = NULL, details = '{}' WHERE customer_id = 'sent'": {CUSTOMERS: ["sent"]},
    "UPDATE customer SET seen_at = NULL WHERE customer_id = 'queued'": {ERASED: ["queued"]},
    "UPDATE customer SET erased_at = seen_at, details = '{}' WHERE customer_id = 'skipped'": {
        ERASED: ["skipped"],
        LEFT: ["skipped"],
    },
    """UPDATE customer SET erased_at = seen_at, seen_at = seen_at + interval '1 day'
       WHERE customer_id = 'skipped'""": {ERASED: ["skipped"], LEFT: ["skipped"]},
    "UPDATE customer SET erased_at = '2026-03-01 12:00Z' WHERE customer_id = 'erased'": {
        ERASED: ["erased", "erased", "erased"]
    },
    f"UPDATE message SET due_at = due_at - interval '21 minutes' WHERE {MAIL} 'held'": {HANGING: ["held"]},
    f"UPDATE message SET due_at = due_at - interval '20 minutes' WHERE {MAIL} 'queued'": {HANGING: ["queued"]},
    f"UPDATE message SET due_at = due_at + interval '5 hours' WHERE {MAIL} 'queued'": {HANGING: ["queued"]},
    f"UPDATE message SET due_at = 'infinity' WHERE {MAIL} 'queued'": {HANGING: ["queued"]},
    f"UPDATE message SET created_at = created_at - interval '41 minutes' WHERE {MAIL} 'held'": {HANGING: ["held"]},
    f"""UPDATE message SET (occurred_at, created_at) = (occurred_at - interval '3 days', created_at - interval '3 days')
        WHERE {MAIL} 'queued'""": {HANGING: ["queued"]},
    f"UPDATE message SET facts = '{{}}' WHERE {MAIL} 'sent'": {RENDERED: ["sent"]},
    f"""UPDATE message SET facts = '{{"points": "many", "reason": "", "order_id": null, "available": 1,
        "activates_at": null, "expires_at": null}}', template_version = 0 WHERE {MAIL} 'queued'""": {
        RENDERED: ["queued"]
    },
}


def sender(mail_server: MailServer) -> Sender:
    return Sender(claimer(), Mails(library(), mail_server.channel()), 50, 3, random=lambda: 0.5)


@pytest.fixture
async def life(pool: Pool, mail_server: MailServer) -> Pool:
    """A mail in each of its states, to customers of that name."""
    await handle(
        pool,
        *(
            registered(customer_id, ago(days=30), email=f"{customer_id}@example.org")
            for customer_id in ("sent", "failed")
        ),
    )
    await handle(pool, registered("queued", ago(days=30), email="queued@example.org", name="Q"))
    await handle(pool, registered("skipped", ago(days=30), name="S", marketing_consent={"email": True}))
    await handle(pool, registered("erased", ago(days=30)))
    await pool.execute("DELETE FROM message")
    answers = {"failed@example.org": "550 no such user", "queued@example.org": "451 later"}
    mail_server.at_recipient = answers.get
    await handle(pool, *(happened(customer_id) for customer_id in ("sent", "failed", "queued", "skipped", "held")))
    await handle(pool, happened("old", ago(days=3)), happened("erased", ago(days=1)), erased("erased", ago(hours=9)))
    await handle(pool, registered("erased", ago(hours=1), name="E"))
    await pool.execute("DELETE FROM message WHERE trigger = 'welcome'")
    await handle(pool, happened("erased", ago(hours=1)))
    await sender(mail_server).run(pool, NOW)
    await erasure.finish(pool, datetime.now(UTC) + erasure.SETTLED_AFTER, erasure.erase_nothing)
    await pool.execute("UPDATE message SET causation_id = 'event-' || customer_id")
    return pool


def happened(customer_id: str, time: datetime = NOW) -> Event:
    return earned(customer_id, 5, time, transaction_id=customer_id)


OTHERS = {searching.QUERY.name, totals.QUERY.name}
"""Checks that have tests of their own."""


async def violations(pool: Pool, now: datetime = NOW) -> dict[str, list[str]]:
    """The offenders by check, where there are any; messages by their customers."""
    async with pool.acquire() as connection:
        rows = await connection.fetch("SELECT id, customer_id FROM message")
    customers = {str(row["id"]): row["customer_id"] for row in rows}
    return {
        check.name: sorted(customers.get(offender, offender) for offender in check.offenders)
        async for check in verify(library(), pool, 1000, now)
        if check.offenders and check.name not in OTHERS
    }


async def test_each_fault_is_detected(life: Pool):
    assert await violations(life) == {}
    reached = await life.fetch("SELECT DISTINCT state FROM message WHERE channel = 'email'")
    assert {row["state"] for row in reached} == {"held", "queued", "sent", "skipped", "failed"}
    named: dict[str, Mapping[str, Sequence[str]]] = {}
    for statements in BROKEN:
        async with broken(life, statements) as pool:
            named[statements] = await violations(pool)
    assert named == BROKEN
    assert await violations(life) == {}


def test_every_check_can_fail():
    assert {name for named in BROKEN.values() for name in named} == set(ALL) - set(JOURNEYS)


async def test_unsent_mails_are_reported_after_a_while(life: Pool):
    assert await violations(life, NOW + timedelta(minutes=10)) == {}
    assert await violations(life, NOW + timedelta(minutes=11)) == {HANGING: ["queued"]}
    assert await violations(life, NOW + timedelta(minutes=21)) == {HANGING: ["held", "queued"]}


async def test_a_mail_that_several_dying_workers_claimed_is_not_reported(life: Pool):
    """No worker recorded an outcome, although one mail was held too long and the other is too old."""
    statements = f"""
        UPDATE message SET created_at = created_at - interval '39 minutes' WHERE {MAIL} 'held';
        UPDATE message SET occurred_at = occurred_at - interval '3 days' WHERE {MAIL} 'queued';
        UPDATE message SET due_at = '{NOW}'::timestamptz + interval '10 minutes' WHERE state IN ('held', 'queued')
    """
    async with broken(life, statements) as pool:
        assert HANGING not in await violations(pool)


async def test_an_empty_database_is_sound(pool: Pool):
    assert [(check.name, check.offenders) async for check in verify(library(), pool, 100, NOW)] == [
        *((name, []) for name in ALL),
        *((query.name, []) for query in (*auditing_webhooks.queries(NOW), searching.QUERY, totals.QUERY)),
    ]


def history(chance: random.Random, customer_id: str) -> list[Event]:
    """Events of a customer, in any order, with repeats."""
    makers: tuple[Callable[[datetime], Event], ...] = (
        lambda time: registered(
            customer_id, time, email=chance.choice((f"{customer_id}@example.org", "none")), name="N"
        ),
        lambda time: updated(customer_id, time, email=None, locale="ar-EG"),
        lambda time: erased(customer_id, time),
        lambda time: earned(customer_id, 5, time),
        lambda time: reversed_(customer_id, 5, time),
        lambda time: tier("promoted", customer_id, "gold", time),
        lambda time: referral("approved", customer_id, f"friend-of-{customer_id}", time),
    )
    return [
        event
        for _ in range(chance.randint(1, 8))
        for event in [chance.choice(makers)(ago(hours=chance.uniform(0, 72)))] * chance.choice((1, 1, 2))
    ]


async def test_any_events_leave_a_consistent_database(pool: Pool, mail_server: MailServer):
    chance = random.Random(3)
    events = [event for number in range(40) for event in history(chance, f"c{number}")]
    chance.shuffle(events)
    mail_server.at_recipient = lambda _: chance.choice((None, None, "451 later", "550 never"))
    now = NOW
    for start in range(0, len(events), 20):
        now = NOW + timedelta(minutes=start / 20)
        await handle(pool, *events[start : start + 20], now=now)
        await sender(mail_server).run(pool, now)
        if start % 100 == 0:
            assert await violations(pool, now) == {}
    assert await violations(pool, now) == {}
    reached = await pool.fetch("SELECT DISTINCT state FROM message WHERE channel = 'email'")
    assert {row["state"] for row in reached} >= {"held", "sent", "skipped", "failed"}
