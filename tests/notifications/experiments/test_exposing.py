"""Customers in the arms of experiments, on a real database."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from services.notifications.handlers.experimenting import Experiments, Exposed, convert
from services.notifications.rules.experiment.arms import Arm, Experiment, Goal, choose, undeclared
from services.notifications.rules.journey.asking import AskArm
from services.notifications.rules.journey.triggers import PURCHASE
from services.notifications.store import customers, erasing, experiments
from shared.contracts.envelope import Event
from shared.messaging import erasure
from shared.postgres.pool import Pool
from tests.notifications.world import NOW, ago, erased, event

KEY = b"a key"
ARMS = ("control", "bonus")
DAY = timedelta(days=1)
DECLARED = Experiment("e", (Arm("control"), Arm("bonus")), 0.0, Goal(PURCHASE, 7))


def bought(customer_id: str, at: datetime, order_id: str = "1") -> Event:
    data = {"customer_id": customer_id, "order_id": order_id, "currency": "USD", "total": "10.00"}
    return event(PURCHASE, data, at)


async def declare(pool: Pool, experiment: Experiment = DECLARED) -> None:
    async with pool.acquire() as connection, connection.transaction():
        assert await experiments.declare(connection, experiment, NOW)


async def expose(
    pool: Pool, *reached: tuple[str, datetime], experiment: str = "e", arms: Sequence[str] = ARMS
) -> list[str | None]:
    async with pool.acquire() as connection, connection.transaction():
        await customers.lock(connection, {customer_id for customer_id, _ in reached})
        asked = [Exposed(customer_id, experiment, tuple(arms), at) for customer_id, at in reached]
        return await Experiments(KEY).expose(connection, asked)


async def happen(pool: Pool, *events: Event, counted: bool = True) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await customers.lock(connection, {each.customer_id for each in events})
        await convert(
            connection, await experiments.goals(connection), events, lambda _customer, _at: counted, frozenset()
        )


async def results(pool: Pool, experiment: str = "e") -> tuple[int, int]:
    """The numbers of all arms."""
    samples = (await experiments.results(pool, experiment)).values()
    return sum(each.exposed for each in samples), sum(each.converted for each in samples)


async def test_an_arm_is_recorded_at_the_first_exposure_and_kept(pool: Pool):
    await declare(pool)
    first = await expose(pool, ("mona", NOW), ("mona", NOW + DAY), ("ben", NOW))
    assert first == [choose(KEY, DECLARED, "mona")] * 2 + [choose(KEY, DECLARED, "ben")]
    await pool.execute("""UPDATE experiment SET arms = '[["other", 1], ["none", 1]]'""")
    assert await expose(pool, ("mona", NOW + DAY), ("ben", NOW)) == first[1:]
    assert await results(pool) == (2, 0)
    assert await pool.fetchval("SELECT at FROM exposure WHERE customer_id = 'mona'") == NOW
    async with pool.acquire() as connection:
        asked = [AskArm("mona", "e", ARMS, NOW)]
        assert [each.arm for each in await Experiments(KEY).arms(connection, asked)] == first[:1]


async def test_the_declared_weights_decide_and_who_is_held_out_has_no_arm(pool: Pool):
    everybody = DECLARED._replace(arms=(Arm("control"), Arm("bonus", 10_000)), holdout=0.5)
    await declare(pool, everybody)
    ids = [f"customer-{number}" for number in range(60)]
    arms = await expose(pool, *((each, NOW) for each in ids))
    assert set(arms) == {"bonus", None}
    counted = await experiments.results(pool, "e")
    assert counted[None].exposed == arms.count(None)


async def test_a_split_alone_has_equal_weights_and_can_be_declared_afterwards(pool: Pool):
    [arm] = await expose(pool, ("mona", NOW), arms=("a", "b", "c"))
    assert arm == choose(KEY, undeclared("e", ["a", "b", "c"]), "mona")
    stored = (await experiments.load(pool, ["e"]))["e"]
    assert (stored.declared, stored.experiment) == (False, undeclared("e", ["a", "b", "c"]))
    await declare(pool)
    assert await expose(pool, ("mona", NOW)) == [arm]
    assert (await expose(pool, ("ben", NOW)))[0] in ARMS
    async with pool.acquire() as connection:
        assert await experiments.declare(connection, DECLARED, NOW) is None


@pytest.mark.parametrize(
    ("after", "converts"),
    [(timedelta(0), 0), (timedelta(seconds=1), 1), (7 * DAY, 1), (7 * DAY + timedelta(seconds=1), 0), (-DAY, 0)],
)
@pytest.mark.parametrize("known_before", [False, True])
async def test_a_goal_counts_by_its_time(pool: Pool, after: timedelta, converts: int, known_before: bool):
    await declare(pool)
    steps = [lambda: expose(pool, ("mona", NOW)), lambda: happen(pool, bought("mona", NOW + after))]
    for step in reversed(steps) if known_before else steps:
        await step()
    assert await results(pool) == (1, converts)


async def test_the_earliest_goal_converts_once_and_only_its_customer(pool: Pool):
    await declare(pool)
    await expose(pool, ("mona", NOW), ("ben", NOW))
    for days in (3, 2, 4):
        await happen(pool, bought("mona", NOW + days * DAY, str(days)))
    await happen(pool, bought("ben", NOW + DAY), counted=False)
    assert await results(pool) == (2, 1)
    assert await pool.fetchval("SELECT max(converted_at) FROM exposure") == NOW + 2 * DAY


async def test_what_is_no_goal_is_not_recorded(pool: Pool):
    await happen(pool, bought("mona", NOW))
    assert await pool.fetchval("SELECT count(*) FROM happened") == 0


async def test_an_erasure_leaves_the_counts(pool: Pool):
    await declare(pool)
    await expose(pool, ("mona", ago(days=2)), ("ben", ago(days=2)))
    await happen(pool, bought("mona", ago(days=1)))
    async with pool.acquire() as connection, connection.transaction():
        await erasure.apply(connection, [erased("mona", NOW)], erasing.erase, NOW)
    assert await results(pool) == (2, 1)
    rows = await pool.fetch("SELECT customer_id FROM exposure ORDER BY customer_id")
    assert [row["customer_id"] for row in rows] == ["ben", None]
