"""A customer with very many lots, which all mature at one instant."""

from datetime import datetime, timedelta

import pytest

from services.points.handlers import day, spending
from services.points.handlers.spending import ForReference
from services.points.rules.ledger.receipts import digest_without_rules
from services.points.store import available, lots
from shared.postgres.pool import Pool
from tests.points.books import NOW, Balances, balances, call, deliver
from tests.points.shop import hour, purchase

MANY = 32_800
"""More than 32,767."""

ENDS = NOW + timedelta(days=1)

FILL_SQL = """
WITH given AS (
    SELECT $1::bigint AS points, $2::timestamptz AS at, $3::timestamptz AS due, $4::boolean AS waits
), made AS (
    INSERT INTO transaction (id, customer_id, sequence, kind, points, available_after, pending_after, held_after,
                             debt_after, earned_after, redeemed_after, occurred_at, recorded_at, reason, inputs,
                             receipt_digest)
    SELECT uuidv7(), 'ann', 1, 'adjusted', points, CASE WHEN waits THEN 0 ELSE points END,
           CASE WHEN waits THEN points ELSE 0 END, 0, 0, 0, 0, at, at, '{"kind":"adjustment"}', '{}', $5
    FROM given
    RETURNING id
), lots AS (
    INSERT INTO lot (id, customer_id, transaction_id, origin, rule, granted, remaining, pending, occurred_at,
                     activates_at, expires_at)
    SELECT uuidv7(), 'ann', made.id, 'adjustment/' || number, 'adjustment', 1, 1, waits, at,
           CASE WHEN waits THEN due END, CASE WHEN NOT waits THEN due END
    FROM given, made, generate_series(1, points) AS number
    RETURNING id, transaction_id, pending
), postings AS (
    INSERT INTO posting (transaction_id, number, source, target, points, lot_id)
    SELECT transaction_id, row_number() OVER (), 'adjusted', CASE WHEN pending THEN 'pending' ELSE 'available' END, 1,
           id
    FROM lots
), program AS (
    INSERT INTO program_account (kind, shard, balance) SELECT 'adjusted', 0, -points FROM given
)
INSERT INTO account (customer_id, available, pending, sequence, recorded_at, due_at)
SELECT 'ann', CASE WHEN waits THEN 0 ELSE points END, CASE WHEN waits THEN points ELSE 0 END, 1, at, due FROM given
"""


async def fill(pool: Pool, count: int, *, ends: datetime | None = ENDS, pending: bool = False) -> None:
    """Insert lots of one point each that all mature at one instant, without events."""
    await pool.execute(FILL_SQL, count, hour(0), ends, pending, digest_without_rules())
    await pool.execute("ANALYZE lot")


@pytest.mark.deep
@pytest.mark.timeout(120)
async def test_all_of_very_many_lots_can_be_spent_and_given_back_and_end(points_pool: Pool):
    await fill(points_pool, MANY)
    async with points_pool.acquire() as connection:
        async with connection.transaction():
            redemption = await spending.redeem_for_reference(connection, call(), ForReference(MANY, "all"))
        assert (await balances(points_pool)).available == 0
        async with connection.transaction():
            await spending.cancel(connection, redemption.id, call())
    assert await balances(points_pool, now=ENDS) == Balances()
    assert (await balances(points_pool)).available == MANY
    await deliver(points_pool, purchase("1", "10.00"), now=ENDS)
    assert (await balances(points_pool, now=ENDS)).available == 10
    kinds = await points_pool.fetch("SELECT kind FROM transaction ORDER BY sequence")
    assert [row["kind"] for row in kinds] == [
        "adjusted", "redeemed", "restored", "expired", "earned",
    ]  # fmt: skip
    assert await points_pool.fetchval("SELECT max(number) FROM posting") >= MANY - 1


@pytest.mark.parametrize("pending", [False, True], ids=["expiry", "activation"])
async def test_very_many_matured_lots_are_applied_by_one_statement_before_a_write(
    points_pool: Pool, monkeypatch: pytest.MonkeyPatch, *, pending: bool
):
    monkeypatch.setattr(lots, "MANY", 20)
    await fill(points_pool, 50, pending=pending)
    due = Balances(50 if pending else 0)
    assert await balances(points_pool, now=ENDS) == due
    loaded: list[int] = []
    load = lots.matured

    async def counted(*arguments: object) -> list[object]:
        matured = await load(*arguments)
        loaded.append(len(matured))
        return matured

    monkeypatch.setattr(lots, "matured", counted)
    await deliver(points_pool, purchase("1", "10.00"), now=ENDS)
    assert sum(loaded) == 0
    assert (await balances(points_pool, now=ENDS)).available == due.available + 10
    assert await points_pool.fetchval("SELECT count(*) FROM lot WHERE pending") == 0


async def test_a_customer_with_very_many_is_swept_alone(points_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lots, "MANY", 20)
    await fill(points_pool, 50)
    counts = await day.sweep(points_pool, ENDS)
    assert (counts["customers"], counts["points expired"]) == (1, 50)
    assert await day.sweep(points_pool, ENDS) == {}


async def test_only_the_lots_to_spend_are_read(points_pool: Pool):
    await fill(points_pool, 500)
    async with points_pool.acquire() as connection:
        spendable = (await available.read(connection, {"ann": 70}, NOW))["ann"]
        every = (await available.read(connection, {"ann": 501}, NOW))["ann"]
        none = (await available.read(connection, {"ann": 5}, ENDS))["ann"]
    assert [lot.id for lot in spendable] == sorted(lot.id for lot in every)[: len(spendable)]
    assert 70 <= len(spendable) <= 256
    assert (len(every), none) == (500, [])
