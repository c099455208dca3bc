"""The daily pipeline: sweeping, notices of expiries, birthdays; a second run changes nothing.

Planted and caught here: an expiry announced again every day; no separate notice for the last week; birthdays awarded
again by another worker; customers born on 29 February left out in other years.
"""

import asyncio
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from services.points import __main__
from services.points.handlers import day
from services.points.settings import Settings
from shared.contracts.shop import CustomerErased, CustomerProfile, CustomerRegistered, CustomerUpdated
from shared.contracts.values import parse_instant
from shared.postgres.pool import Pool, open_pool
from tests.points.asking import enact
from tests.points.books import balances, check_books, deliver, published, transactions
from tests.points.shop import NOON, event, hour, purchase
from tests.support import postgres

RIYADH = ZoneInfo("Asia/Riyadh")
YEAR = {"kind": "after_months", "months": 12}
BASE = {"id": "base", "on": "purchase", "award": {"kind": "per_amount", "points": 1, "amount": "1.00"}, "expire": YEAR}
GIFT = {"id": "gift", "on": "birthday", "award": {"kind": "fixed", "points": 70}}


def at(text: str) -> datetime:
    """A local instant of Riyadh."""
    return datetime.fromisoformat(text).replace(tzinfo=RIYADH).astimezone(UTC)


def registered(customer: str, born: str | None, time: datetime = NOON) -> Any:
    return as_read("shop.customer.registered.v1", time, CustomerRegistered, customer_id=customer, birth_date=born)


def updated(customer: str, time: datetime, **fields: Any) -> Any:
    return as_read("shop.customer.updated.v1", time, CustomerUpdated, customer_id=customer, **fields)


def as_read(type_: str, time: datetime, model: type[CustomerProfile], **fields: Any) -> Any:
    """The event with the nulls that `event` leaves out."""
    data = model.model_validate(fields)
    return structs.replace(event(type_, time, data), data=data)


async def endings(pool: Pool) -> list[tuple[str, int, str]]:
    return [
        (notice["data"]["customer_id"], notice["data"]["points"], notice["data"]["expires_at"])
        for notice in await published(pool)
        if notice["type"] == "loyalty.points.expiring.v1"
    ]


async def test_an_expiry_is_announced_30_7_and_1_days_before_once_each(points_pool: Pool):
    await enact(points_pool, BASE, time_zone="Asia/Riyadh")
    await deliver(points_pool, purchase("1", "100.00"), purchase("2", "20.00"), now=hour(1))
    await deliver(points_pool, purchase("3", "5.00", hour(48)), now=hour(48))
    # 1 March and a year: gone on 2 March at 00:00 in Riyadh.
    ends = at("2027-03-02T00:00")
    announced: list[int] = []
    for days in range(40, 0, -1):
        now = ends - timedelta(days=days, hours=-9)
        counts = [await day.announce_endings(points_pool, now) for _ in range(2)]
        if sum(counts):
            announced.append(days)
    # The third order ends two days later.
    assert announced == [30, 28, 7, 5, 1]
    notices = await endings(points_pool)
    assert notices.count(("ann", 120, "2027-03-01T21:00:00Z")) == 3
    assert notices.count(("ann", 5, "2027-03-03T21:00:00Z")) == 2
    await check_books(points_pool)


async def test_points_given_late_get_only_the_nearest_notice(points_pool: Pool):
    await enact(points_pool, BASE, time_zone="Asia/Riyadh")
    now = at("2027-02-27T09:00")
    await deliver(points_pool, purchase("1", "100.00"), now=now)
    assert [await day.announce_endings(points_pool, now + timedelta(days=days)) for days in range(3)] == [1, 0, 1]


async def test_two_concurrent_workers_announce_and_award_once(points_pool: Pool):
    await enact(points_pool, BASE, GIFT, time_zone="Asia/Riyadh")
    names = [f"customer-{number}" for number in range(30)]
    await deliver(points_pool, *(registered(name, "1990-04-01") for name in names), now=hour(0))
    await deliver(points_pool, *(purchase("1", "10.00", customer_id=name) for name in names), now=hour(1))
    birthday, ending = at("2026-04-01T00:05"), at("2027-03-01T09:00")
    for now in (birthday, ending):
        await asyncio.gather(*(day.run(points_pool, now) for _ in range(3)))
    assert len(await endings(points_pool)) == 30
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [(row["customer_id"], row["points"]) for row in rows] == [(name, 70) for name in sorted(names)]
    assert {row["occurred_at"] for row in rows} == {at("2026-04-01T00:00")}
    await check_books(points_pool)


@pytest.mark.parametrize(
    ("born", "celebrated"),
    [
        ("1990-04-01", ["2026-04-01", "2027-04-01"]),
        ("2000-02-29", ["2027-02-28", "2028-02-29"]),
        ("2026-04-01", ["2027-04-01"]),
        (None, []),
    ],
)
async def test_a_birthday_is_kept_once_a_year(points_pool: Pool, born: str | None, celebrated: list[str]):
    await enact(points_pool, GIFT, time_zone="Asia/Riyadh")
    await deliver(points_pool, registered("ann", born), now=hour(0))
    for date in ("2026-03-31", "2026-04-01", "2026-04-02", "2027-02-28", "2027-03-01", "2027-04-01", "2028-02-28"):
        await day.run(points_pool, at(f"{date}T08:00"))
    await day.run(points_pool, at("2028-02-29T08:00"))
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [f"{row['occurred_at'].astimezone(RIYADH):%Y-%m-%d}" for row in rows] == celebrated


@pytest.mark.parametrize(
    ("born", "arrived_at", "awarded"),
    [
        # The pipeline of the day ran at its first minute: three minutes after midnight, and at its last.
        ("1990-04-01", "2026-04-01T00:03", ["2026-04-01", "2027-04-01"]),
        ("1990-04-01", "2026-04-01T23:59:59.999999", ["2026-04-01", "2027-04-01"]),
        ("1990-04-01", "2026-04-02T00:00", ["2027-04-01"]),
        ("1990-04-02", "2026-04-01T23:59:59.999999", ["2026-04-02", "2027-04-02"]),
        ("2026-04-01", "2026-04-01T00:03", ["2027-04-01"]),
        ("2000-02-29", "2026-02-28T00:03", ["2026-02-28", "2027-02-28"]),
        ("1990-01-01", "2026-01-01T02:59", ["2026-01-01", "2027-01-01"]),
        ("1990-12-31", "2026-01-01T00:03", ["2026-12-31"]),
    ],
)
async def test_a_birth_date_that_arrives_on_the_birthday_is_awarded_that_day(
    points_pool: Pool, born: str, arrived_at: str, awarded: list[str]
):
    await enact(points_pool, GIFT, time_zone="Asia/Riyadh")
    now = at(arrived_at)
    await day.sweep_up(points_pool, now.replace(hour=21, minute=0) - timedelta(days=now.hour < 21))
    # The event may have occurred long before it arrives.
    await deliver(points_pool, registered("ann", born, hour(-9999)), now=now)
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert len(rows) == (arrived_at[:10] == awarded[0])
    days = sorted({now + timedelta(days=1), *(at(f"{date}T00:00") for date in awarded), at("2027-05-01T00:00")})
    for moment in (now, *(later for later in days if later > now)):
        await day.sweep_up(points_pool, moment)
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [f"{row['occurred_at'].astimezone(RIYADH):%Y-%m-%d}" for row in rows] == awarded
    assert {row["points"] for row in rows} == {70}
    await check_books(points_pool)


async def test_a_corrected_birth_date_is_awarded_once_a_year(points_pool: Pool):
    limited = GIFT | {"limits": [{"count": 3, "per": "ever", "scope": "customer"}]}
    await enact(points_pool, limited, time_zone="Asia/Riyadh")
    corrections = [("1990-04-01", "2026-04-01"), ("1990-04-03", "2026-04-03"), ("1990-06-01", "2026-06-01")]
    for born, today in (*corrections, ("1990-01-05", "2027-01-05")):
        await deliver(points_pool, updated("ann", at(f"{today}T10:00"), birth_date=born), now=at(f"{today}T10:00"))
        await day.run(points_pool, at(f"{today}T12:00"))
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [row["occurred_at"] for row in rows] == [at("2026-04-01T00:00"), at("2027-01-05T00:00")]
    # An older event that arrives late has no effect, and a cleared date has no birthday.
    await deliver(points_pool, updated("ann", hour(0), birth_date="1990-05-05"), now=at("2028-05-05T10:00"))
    await deliver(points_pool, updated("ann", at("2028-05-05T11:00"), birth_date=None), now=at("2028-05-05T11:00"))
    assert len(await transactions(points_pool)) == 2
    await check_books(points_pool)


async def test_the_newest_birth_date_counts_and_an_erased_one_is_deleted(points_pool: Pool):
    await enact(points_pool, GIFT, time_zone="Asia/Riyadh")
    await deliver(
        points_pool,
        *(registered(name, "1990-05-01") for name in ("ann", "bob", "eve")),
        updated("ann", hour(2), birth_date="1990-04-01"),
        updated("ann", hour(1), birth_date="1990-06-01"),
        updated("bob", hour(1), birth_date=None),
        updated("eve", hour(1), name="Eve"),
        # A registration without a date clears nothing.
        registered("ann", None, hour(3)),
        event("shop.customer.erased.v1", hour(2), CustomerErased(customer_id="eve")),
    )
    for date in ("2026-04-01", "2026-05-01", "2026-06-01"):
        await day.run(points_pool, at(f"{date}T00:00"))
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [(row["customer_id"], row["occurred_at"]) for row in rows] == [("ann", at("2026-04-01T00:00"))]


async def test_missed_days_are_caught_up(points_pool: Pool):
    await enact(points_pool, GIFT, time_zone="Asia/Riyadh")
    born = {"ann": "1990-04-02", "bob": "1990-04-05", "eve": "1990-04-20"}
    await deliver(points_pool, *(registered(name, date) for name, date in born.items()), now=hour(0))
    await day.sweep_up(points_pool, at("2026-04-01T00:00"))
    await day.sweep_up(points_pool, at("2026-04-05T00:00"))
    # After three weeks without a run, only the last week is caught up.
    await day.sweep_up(points_pool, at("2026-04-26T00:00"))
    await day.sweep_up(points_pool, at("2026-04-26T12:00"))
    rows = [row for row in await transactions(points_pool) if row["reason"]["kind"] == "birthday"]
    assert [(row["customer_id"], row["points"]) for row in rows] == [("ann", 70), ("bob", 70), ("eve", 70)]


async def test_broken_books_of_a_customer_do_not_block_others(points_pool: Pool):
    await enact(points_pool, BASE, time_zone="Asia/Riyadh")
    names = [f"customer-{number}" for number in range(9)]
    await deliver(points_pool, *(purchase("1", "10.00", customer_id=name) for name in names), now=hour(1))
    # More expires than the account has.
    await points_pool.execute("UPDATE account SET available = 3 WHERE customer_id = 'customer-4'")
    counts = await day.sweep(points_pool, at("2027-04-01T00:00"))
    assert counts == {"customers": 8, "points expired": 80, "customers left as they are": 1}
    left = await points_pool.fetch("SELECT customer_id, available FROM account WHERE available > 0")
    assert [tuple(row) for row in left] == [("customer-4", 3)]


async def test_the_command_runs_it_as_of_an_instant(postgres_url: str, capsys: pytest.CaptureFixture[str]):
    settings = Settings(database_url=await postgres.make_database(postgres_url, "points"))
    async with await open_pool(settings.database_url, application="wafa-test") as pool:
        await enact(pool, BASE, time_zone="Asia/Riyadh")
        await deliver(pool, purchase("1", "100.00"), now=hour(1))
        before = Namespace(at=parse_instant("2027-03-01T23:59:59+03:00"))
        [command] = [own for own in __main__.DOOR.commands if own.name == "day"]
        assert await command.run(before, settings) == 0
        assert (await balances(pool, now=hour(2))).available == 100
        assert "endings announced: 1" in capsys.readouterr().out.splitlines()
        assert await command.run(Namespace(at=parse_instant("2027-03-02T00:00:00+03:00")), settings) == 0
        assert "points expired: 100" in capsys.readouterr().out.splitlines()
        assert (await balances(pool, now=hour(2))).available == 0
        await check_books(pool)
