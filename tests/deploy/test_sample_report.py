"""The table at the end of a replay: counts of the four databases, and which baskets were new."""

import io

import asyncpg
import pytest
from rich.console import Console

from deploy.sample import books
from deploy.sample.books import Books, Points
from deploy.sample.latency import Figures, Latency
from deploy.sample.replay import Bulk, Summary
from deploy.sample.report import table
from deploy.sample.settings import SettingMissingError, flag
from tests.support import postgres

NOTHING = Books(Points(0, 0, 0, 0, 0), {}, {}, {}, 0)

ROWS = {
    "points": """
        INSERT INTO account (customer_id, available, earned, orders) VALUES ('1', 70, 100, 2), ('2', 0, 5, 1);
        UPDATE account SET debt = 4 WHERE customer_id = '2';
        INSERT INTO dead_letter (topic, partition, "offset", header_names, header_values, "timestamp", reason, error)
        VALUES ('shop.purchases', 0, 0, '{}', '{}', now(), 'not_json', 'no value');
    """,
    "tiers": """
        INSERT INTO customer (customer_id, tier, since) VALUES ('1', 'gold', now()), ('2', NULL, NULL);
    """,
    "referrals": """
        INSERT INTO referral (referral_id, advocate_id, friend_id, code, program_version, state,
                              signed_up_at, next_at, recorded_at)
        VALUES (gen_random_uuid(), '1', '2', 'C', 1, 'signed_up', now(), now(), now());
    """,
    "notifications": """
        INSERT INTO message (id, customer_id, channel, kind, trigger, occasion, state, locale, template_version,
                             title, body, occurred_at, created_at, correlation_id, causation_id)
        SELECT gen_random_uuid(), '1', 'in_app', 'transactional', 'points_earned', 'transaction/' || n, 'sent', 'en',
               1, 'Title', 'Body', now(), now(), 'c', 'c'
        FROM generate_series(1, 3) AS n;
    """,
}


async def test_the_books_are_counted_in_the_four_databases(postgres_url: str):
    env: dict[str, str] = {}
    for service in ROWS:
        env[f"WAFA_DATABASE_URL_{service.upper()}"] = await postgres.make_database(postgres_url, service)
    assert await books.read(env) == NOTHING
    for service, rows in ROWS.items():
        connection = await asyncpg.connect(env[f"WAFA_DATABASE_URL_{service.upper()}"])
        try:
            await connection.execute(rows)
        finally:
            await connection.close()  # else a later test fails too, when it is collected
    assert await books.read(env) == Books(
        points=Points(customers=2, orders=3, earned=105, available=70, debt=4),
        tiers={"gold": 1, "member": 1},
        referrals={"signed_up": 1},
        messages={("in_app", "sent"): 3},
        dead_letters=1,
    )


async def test_a_database_without_an_address_is_named():
    with pytest.raises(SettingMissingError, match="WAFA_DATABASE_URL_POINTS"):
        await books.read({})


def shown(before: Books, after: Books, summary: Summary) -> dict[str, str]:
    written = io.StringIO()
    Console(file=written, width=140).print(table(before, after, summary))
    cells = (line.split("│") for line in written.getvalue().splitlines() if line.count("│") == 3)
    return {cell[1].strip(): cell[2].strip() for cell in cells}


AFTER = Books(
    points=Points(customers=148, orders=10_361, earned=380_000, available=379_000, debt=12),
    tiers={"member": 40, "gold": 62, "silver": 46},
    referrals={"approved": 15, "rejected": 2},
    messages={("in_app", "sent"): 9_000, ("email", "sent"): 40},
    dead_letters=0,
)
EVENTS = {"shop.purchase.completed.v1": 10_361, "shop.review.published.v1": 800}


def test_the_first_replay_is_all_new():
    latency = Latency(300, 50, Figures((0.020, 0.0304, 1.25)), Figures((0.05, 0.06, 2.5)))
    rows = shown(NOTHING, AFTER, Summary(148, 10_361, EVENTS, Bulk(10_861, 0.5, 4.0), latency))
    assert rows == {
        "Baskets": "10,361 replayed: 10,361 new, 0 known already",
        "Made-up events": "800",
        "Customers": "148 with 10,361 orders",
        "Points": "380,000 earned, 379,000 available, 12 owed",
        "Tiers": "62 gold, 46 silver, 40 member",
        "Referrals": "15 approved, 2 rejected",
        "Messages": "9,000 in_app sent, 40 email sent",
        "Dead letters": "0",
        "Published": "10,861 events in 0.5 s: 21,722 events/s",
        "Handled": "10,861 events in 4.0 s: 2,715 events/s",
        "Purchase → points": "p50 30 ms, p99 1,250 ms, of 3 purchases",
        "Purchase → message": "p50 60 ms, p99 2,500 ms, of 3 purchases",
    }


def test_a_second_replay_has_nothing_new():
    nothing = Latency(300, 50, Figures(()), Figures(()))
    rows = shown(AFTER, AFTER, Summary(148, 10_361, EVENTS, Bulk(10_861, 0.5, 4.0), nothing))
    assert rows["Baskets"] == "10,361 replayed: 0 new, 10,361 known already"
    assert rows["Purchase → message"].startswith("not measured")


@pytest.mark.parametrize(("value", "on"), [("false", False), ("0", False), ("true", True), ("", True)])
def test_flags(value: str, on: bool):
    assert flag({"WAFA_KAFKA_IDEMPOTENCE": value}, "WAFA_KAFKA_IDEMPOTENCE", default=True) is on
