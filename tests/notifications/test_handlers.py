"""The rows and the published events that a batch of events leaves."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from services.notifications.handlers import events as handler
from shared.postgres.pool import Pool
from tests.notifications.world import (
    NOW,
    ago,
    desk,
    earned,
    erased,
    handle,
    handle_each,
    messages,
    published,
    referral,
    registered,
    reversed_,
    states,
    summarize,
    tier,
    updated,
)

MONA = {"name": "Mona", "email": "mona@example.org", "locale": "ar-EG", "time_zone": "Africa/Cairo"}


async def triggers(pool: Pool, customer_id: str) -> list[str]:
    return [message["trigger"] for message in await messages(pool, customer_id)]


async def test_a_registered_customer_gets_both_channels_in_her_language(pool: Pool):
    await handle(pool, registered("mona", **MONA))
    await handle(pool, earned("mona", 11))
    welcome, points = await messages(pool, "mona")
    assert (welcome["trigger"], points["trigger"]) == ("welcome", "points_earned")
    assert points["title"] == "حصلت على 11 نقطة"
    assert (points["state"], points["locale"], points["template_version"]) == ("sent", "ar", 1)
    assert await states(pool, "mona") == [("welcome", "queued", None), ("points_earned", "queued", None)]
    mail = (await messages(pool, "mona", "email"))[1]
    assert mail["due_at"] == NOW
    assert mail["facts"]["points"] == 11
    # A mail is announced when it is sent.
    assert summarize(await published(pool)) == [("sent", "mona", "in_app")] * 2


async def test_published_events_carry_their_cause(pool: Pool):
    event = earned("mona", 5, ago(hours=1))
    await handle(pool, event)
    sent, held = await published(pool)
    assert sent["type"] == "loyalty.message.sent.v1"
    assert (sent["source"], sent["time"]) == ("/wafa/notifications", "2026-03-01T11:00:00Z")
    assert (sent["correlationid"], sent["causationid"]) == (event.correlation_id, event.id)
    (message,) = await messages(pool, "mona")
    assert sent["data"] == {
        "customer_id": "mona",
        "message_id": str(message["id"]),
        "trigger": "points_earned",
        "template": "points_earned",
        "template_version": 1,
        "locale": "en",
        "channel": "in_app",
    }
    assert held["type"] == "loyalty.message.held.v1"
    assert (held["data"]["channel"], held["data"]["reason"]) == ("email", "no_profile")


async def test_without_a_profile_the_inbox_is_english_and_the_mail_waits_for_ten_minutes(pool: Pool):
    await handle(pool, earned("stranger", 2))
    (message,) = await messages(pool, "stranger")
    assert (message["title"], message["locale"]) == ("You earned 2 points", "en")
    (mail,) = await messages(pool, "stranger", "email")
    assert (mail["state"], mail["reason"], mail["due_at"]) == ("held", "no_profile", NOW + timedelta(minutes=10))


async def test_a_new_profile_releases_the_mail(pool: Pool):
    await handle(pool, earned("mona", 2), earned("other", 2))
    later = NOW + timedelta(minutes=3)
    await handle(pool, updated("mona", **MONA), now=later)
    assert [message["due_at"] for message in await messages(pool, "mona", "email")] == [later]
    assert [message["due_at"] for message in await messages(pool, "other", "email")] == [NOW + timedelta(minutes=10)]


async def test_a_profile_later_in_the_batch_counts(pool: Pool):
    await handle(pool, earned("mona", 2), registered("mona", **MONA))
    assert {message["locale"] for message in await messages(pool, "mona")} == {"ar"}
    assert await states(pool, "mona") == [("points_earned", "queued", None), ("welcome", "queued", None)]


async def test_events_older_than_two_days_reach_the_inbox_only(pool: Pool):
    await handle(pool, registered("mona", ago(days=30), **MONA), earned("mona", 5, ago(days=2, seconds=1)))
    assert await triggers(pool, "mona") == ["welcome", "points_earned"]
    assert await states(pool, "mona") == []
    assert [message["unsent"] for message in await messages(pool, "mona")] == [{"email": "too_old"}] * 2
    assert summarize(await published(pool)) == [("sent", "mona", "in_app")] * 2


@pytest.mark.parametrize("email, reason", [(None, "no_address"), ("nonsense", "bad_address")])
async def test_a_mail_that_could_never_arrive_is_skipped_at_once(pool: Pool, email: str | None, reason: str):
    await handle(pool, registered("mona", email=email))
    assert await states(pool, "mona") == [("welcome", "skipped", reason)]


async def test_both_customers_of_a_referral_are_notified_once(pool: Pool):
    await handle(pool, registered("ben", locale="ar"))
    await handle(
        pool,
        earned("ada", 500, reason={"kind": "referral", "referral_id": "r"}),
        referral("approved", "ada", "ben"),
        earned("ben", 200, reason={"kind": "referral", "referral_id": "r"}),
    )
    (ada,) = await messages(pool, "ada")
    assert (ada["trigger"], ada["locale"]) == ("referral_approved", "en")
    assert "500 points" in ada["body"]
    _, ben = await messages(pool, "ben")
    assert (ben["trigger"], ben["locale"]) == ("referral_approved", "ar")
    assert "200 نقطة" in ben["body"]
    verbs = summarize(await published(pool))
    assert verbs.count(("sent", "ada", "in_app")) == 1
    assert verbs.count(("sent", "ben", "in_app")) == 2


async def test_repeated_events_create_no_further_messages(pool: Pool):
    first = [
        registered("mona", **MONA),
        earned("mona", 5, transaction_id="t-1"),
        reversed_("mona", 5, transaction_id="t-2"),
        tier("promoted", "mona", "silver"),
        referral("approved", "mona", "ben"),
    ]
    again = [
        registered("mona", **MONA),
        earned("mona", 5, transaction_id="t-1"),
        reversed_("mona", 5, transaction_id="t-2"),
        tier("promoted", "mona", "silver"),
        referral("approved", "mona", "ben"),
    ]
    await handle(pool, *first, *again)
    before = await published(pool)
    await handle(pool, *again)
    await handle_each(pool, first)
    expected = ["welcome", "points_earned", "points_taken_back", "tier_reached", "referral_approved"]
    assert await triggers(pool, "mona") == expected
    assert [row[0] for row in await states(pool, "mona")] == expected
    assert await published(pool) == before


async def test_corrections_and_profile_updates_create_no_message(pool: Pool):
    await handle(pool, tier("corrected", "mona", "silver"), updated("mona", name="Mona"))
    assert await messages(pool, "mona") == []
    assert await published(pool) == []


async def test_an_erasure_removes_profile_and_messages(pool: Pool):
    await handle(pool, registered("mona", ago(hours=2), **MONA), earned("mona", 5, ago(hours=1)), earned("ben", 5))
    await handle(pool, erased("mona", ago(minutes=30)))
    assert await messages(pool, "mona") == []
    assert await messages(pool, "mona", "email") == []
    assert len(await messages(pool, "ben")) == 1
    row = await pool.fetchrow("SELECT * FROM customer WHERE customer_id = 'mona'")
    assert row is not None
    assert (row["details"], row["seen_at"]) == ({}, None)


async def test_after_an_erasure_nothing_is_stored_until_the_customer_registers_again(pool: Pool):
    await handle(pool, registered("mona", ago(hours=2), **MONA), erased("mona", ago(hours=1)))
    await handle(pool, earned("mona", 5, ago(minutes=30)), updated("mona", ago(minutes=20), **MONA))
    assert await messages(pool, "mona") == []
    assert await states(pool, "mona") == []
    details = "SELECT details FROM customer WHERE customer_id = 'mona'"
    assert await pool.fetchval(details) == {}
    await handle(pool, registered("mona", ago(minutes=10)), earned("mona", 5))
    assert [message["trigger"] for message in await messages(pool, "mona")] == ["welcome", "points_earned"]


async def test_a_late_erasure_removes_messages_about_later_events(pool: Pool):
    await handle(pool, registered("mona", ago(hours=2), **MONA), earned("mona", 5))
    await handle(pool, erased("mona", ago(hours=1)))
    assert await messages(pool, "mona") == []
    assert await states(pool, "mona") == []


async def test_a_customer_who_registers_after_an_erasure_is_welcomed_again(pool: Pool):
    await handle(pool, registered("mona", ago(hours=2), **MONA), erased("mona", ago(hours=1)))
    await handle(pool, registered("mona", **MONA | {"locale": "en"}))
    assert [(message["trigger"], message["locale"]) for message in await messages(pool, "mona")] == [("welcome", "en")]


async def test_any_order_of_arrival_around_an_erasure_gives_the_same_result(pool: Pool):
    def events(customer_id: str):
        return [
            registered(customer_id, ago(hours=3), **MONA),
            earned(customer_id, 5, ago(hours=2)),
            erased(customer_id, ago(hours=1)),
            updated(customer_id, ago(hours=2), name="Late"),
        ]

    for number, order in enumerate(itertools.permutations(range(4))):
        customer_id = f"customer-{number}"
        in_order = events(customer_id)
        await handle_each(pool, [in_order[place] for place in order])
        assert await messages(pool, customer_id) == [], order
        assert await messages(pool, customer_id, "email") == [], order
        row = await pool.fetchrow("SELECT details, seen_at FROM customer WHERE customer_id = $1", customer_id)
        assert row is not None
        assert (row["details"], row["seen_at"]) == ({}, None), order


async def test_messages_hold_no_profile_data(pool: Pool):
    """Inbox messages are rendered without the name, so nothing of the profile is stored in them."""
    await handle(pool, registered("mona", **MONA | {"locale": "en"}), earned("mona", 5))
    kept = str([dict(row) for row in await pool.fetch("SELECT * FROM message")])
    assert "Mona" not in kept
    assert "example.org" not in kept


async def test_two_batches_with_the_same_customers_wait_for_each_other(pool: Pool):
    ids = [f"customer-{number}" for number in range(20)]

    async def batch(order: list[str]) -> None:
        await handle(pool, *(referral("approved", advocate, friend) for advocate, friend in itertools.pairwise(order)))

    await asyncio.gather(*(batch(ids if number % 2 else ids[::-1]) for number in range(8)))
    assert await pool.fetchval("SELECT count(*) FROM message") == 2 * 2 * 2 * 19


async def test_outbox_ids_of_a_customer_are_in_the_order_of_the_log(pool: Pool):
    await handle(pool, *(earned("mona", number, transaction_id=f"t-{number}") for number in range(1, 51)))
    titles = [message["title"] for message in await messages(pool, "mona")]
    assert titles == ["You earned 1 point", *(f"You earned {number} points" for number in range(2, 51))]
    ids = {str(message["id"]): place for place, message in enumerate(await messages(pool, "mona"))}
    sent = [ids[event["data"]["message_id"]] for event in await published(pool) if event["data"]["channel"] == "in_app"]
    assert sent == sorted(sent)


async def test_a_batch_takes_a_bounded_number_of_statements(pool: Pool):
    """500 events cost as many statements as 50."""

    async def count(customers: range) -> int:
        statements: list[object] = []
        async with pool.acquire() as connection, connection.transaction():
            with connection.query_logger(statements.append):
                await handler.handle(desk(), connection, [earned(f"customer-{number}", 5) for number in customers], NOW)
        return len(statements)

    await count(range(1))  # a new connection asks for the types of its arrays once
    assert await count(range(50, 100)) <= 10
    assert await count(range(1000, 1500)) <= 10
