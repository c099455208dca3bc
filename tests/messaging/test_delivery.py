"""A batch has its effect once, whatever fails, and however often it is read."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import asyncpg
import pytest

from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging.application import MOST_REFUSED_IN_A_ROW, HandlerBrokenError
from shared.messaging.positions import PositionMovedError
from shared.postgres.pool import Connection
from tests.messaging.log import Desk, Handler, batch, fresh, purchase


def many(count: int, prefix: str = "e", customers: int = 7) -> list[dict]:
    return [purchase(f"{prefix}{number}", f"{prefix}-c{number % customers}") for number in range(count)]


async def test_a_batch_moves_the_position_with_its_effects(desk: Desk):
    assert await desk.deliver(many(3))
    assert await desk.deliver([purchase("later")], start=3)
    assert await desk.effects() == ["e0", "e1", "e2", "later"]
    assert await desk.position() == 4
    assert await desk.inbox() == 4


async def test_a_batch_with_another_start_is_rolled_back(desk: Desk):
    await desk.deliver(many(3))
    for start in (None, 2, 4):  # the first record again, an overlap, a gap
        with pytest.raises(PositionMovedError):
            await desk.deliver([purchase("x"), b"not json"], start=start)
    assert await desk.effects() == ["e0", "e1", "e2"]
    assert (await desk.position(), await desk.inbox(), await desk.letters()) == (3, 3, [])


async def test_a_moved_partition_rolls_back_the_others(desk: Desk):
    await desk.deliver(many(3))
    both = await batch([purchase("a")], start=2)
    other = await batch([purchase("b")], partition=1)
    both.spans.update(other.spans)
    both.events.extend(other.events)
    with pytest.raises(PositionMovedError, match="1 of 2"):
        await desk.delivery.deliver(both, fresh)
    assert await desk.effects() == ["e0", "e1", "e2"]
    assert await desk.pool.fetchval("SELECT count(*) FROM position") == 1


async def test_two_workers_with_the_same_records_apply_them_once(desk: Desk):
    same = await batch(many(50))
    results = await asyncio.gather(
        *(Desk(desk.pool).delivery.deliver(same, fresh) for _ in range(4)), return_exceptions=True
    )
    assert sorted(map(repr, map(type, results))) == [repr(bool)] + [repr(PositionMovedError)] * 3
    assert len(await desk.effects()) == 50


async def test_a_repeated_id_has_no_effect(desk: Desk):
    await desk.deliver([purchase("a"), purchase("b"), purchase("a", order="other")])
    await desk.deliver([purchase("b"), purchase("c")], start=3)
    assert await desk.effects() == ["a", "b", "c"]
    assert await desk.position() == 5
    assert await desk.letters() == []


async def test_ids_are_unique_per_customer(desk: Desk):
    await desk.pool.execute("ALTER TABLE effect DROP CONSTRAINT effect_id_key")
    await desk.deliver([purchase("a", "c1"), purchase("a", "c2")])
    assert await desk.effects() == ["a", "a"]


async def test_a_refused_event_is_a_dead_letter_without_a_trace_in_the_inbox(desk: Desk):
    desk.handler.refuses = lambda event: event.data.order_id == "bad"
    await desk.deliver([purchase("a"), purchase("b", order="bad"), purchase("c")])
    assert await desk.effects() == ["a", "c"]
    assert await desk.letters() == [(1, "order_conflict")]
    assert await desk.inbox() == 2


async def test_a_repeat_of_a_refused_event_is_applied(desk: Desk):
    desk.handler.refuses = lambda event: event.data.order_id == "bad"
    await desk.deliver([purchase("a", order="bad"), purchase("a"), purchase("a"), purchase("b")])
    assert await desk.effects() == ["b", "a"]
    assert await desk.letters() == [(0, "order_conflict")]
    await desk.deliver([purchase("a")], start=4)
    assert await desk.effects() == ["b", "a"]


async def test_malformed_records_are_dead_letters_and_the_rest_is_applied(desk: Desk):
    await desk.deliver([b"{", purchase("a"), b"[]", purchase("b", customer="c9", total="1e3")])
    assert await desk.effects() == ["a"]
    assert sorted(await desk.letters()) == [(0, "not_json"), (2, "not_a_cloudevent"), (3, "bad_field")]
    assert await desk.position() == 4


async def test_malformed_records_never_stop_the_worker(desk: Desk):
    await desk.deliver([b"{"] * 300)
    await desk.deliver([b"{"] * 300, start=300)
    assert len(await desk.letters()) == 600


@pytest.mark.parametrize("place", [0, 249, 499])
async def test_a_poison_event_leaves_one_dead_letter_and_499_effects(desk: Desk, place: int):
    desk.handler.breaks = lambda event: ZeroDivisionError("by zero") if event.id == f"e{place}" else None
    await desk.deliver(many(500))
    effects = await desk.effects()
    assert len(effects) == 499
    assert f"e{place}" not in effects
    assert await desk.letters() == [(place, "handler_refused")]
    assert await desk.pool.fetchval("SELECT error FROM dead_letter") == "ZeroDivisionError: by zero"
    assert await desk.inbox() == 499
    assert desk.delivery.refused_in_a_row == 0 or place == 499


async def test_an_error_of_the_database_is_bisected_too(desk: Desk):
    await desk.pool.execute("ALTER TABLE effect ADD CHECK (customer_id <> 'e-c3')")
    await desk.deliver(many(70))
    assert len(await desk.effects()) == 60
    assert len(await desk.letters()) == 10


async def test_failures_for_over_100_customers_in_a_row_stop_the_worker(desk: Desk):
    desk.handler.breaks = lambda event: RuntimeError("broken") if event.id.startswith("e") else None
    with pytest.raises(HandlerBrokenError, match="more than 100 customers in a row"):
        await desk.deliver([purchase("good"), *many(MOST_REFUSED_IN_A_ROW + 1, customers=MOST_REFUSED_IN_A_ROW + 1)])
    assert (await desk.effects(), await desk.letters(), await desk.position()) == ([], [], None)


async def test_refusals_in_a_row_count_over_batches_and_a_success_resets_them(desk: Desk):
    desk.handler.breaks = lambda event: RuntimeError("broken") if event.id.startswith("e") else None
    await desk.deliver(many(60, "e1", 60))
    assert desk.delivery.refused_in_a_row == 60
    await desk.deliver([purchase("good")], start=60)
    assert desk.delivery.refused_in_a_row == 0
    await desk.deliver(many(60, "e2", 60), start=61)
    with pytest.raises(HandlerBrokenError):
        await desk.deliver(many(60, "e3", 60), start=121)
    assert await desk.position() == 121
    assert len(await desk.letters()) == 120
    assert desk.delivery.refused_in_a_row == 60, "what was rolled back does not count"


async def test_exactly_100_in_a_row_are_dead_letters(desk: Desk):
    desk.handler.breaks = lambda _: RuntimeError("broken")
    await desk.deliver(many(MOST_REFUSED_IN_A_ROW, customers=MOST_REFUSED_IN_A_ROW))
    assert len(await desk.letters()) == MOST_REFUSED_IN_A_ROW


async def test_one_customer_with_500_poisonous_events_stops_no_other(desk: Desk):
    desk.handler.breaks = lambda event: RuntimeError("broken") if event.customer_id == "bad" else None
    await desk.deliver([purchase(f"bad{number}", "bad") for number in range(500)])
    await desk.deliver([purchase(f"more{number}", "bad") for number in range(101)] + many(5), start=500)
    assert await desk.effects() == ["e0", "e1", "e2", "e3", "e4"]
    assert len(await desk.letters()) == 601


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.SerializationError("again"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError("gone"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_transient_failure_is_retried_in_place(desk: Desk, quick: None, error: Exception):
    left = [error, error]
    desk.handler.breaks = lambda _: left.pop() if left else None
    await desk.deliver(many(5))
    assert len(await desk.effects()) == 5
    assert len(desk.handler.calls) == 3
    assert all(len(call) == 5 for call in desk.handler.calls), "it is not bisected"
    assert await desk.letters() == []


async def test_a_transient_failure_while_bisecting_is_no_refusal(desk: Desk, quick: None):
    left: list[Exception] = [asyncpg.DeadlockDetectedError("deadlock")]

    def breaks(event: Event):
        if event.id == "e4":
            return ValueError("poison")
        return left.pop() if left and len(desk.handler.calls) > 2 else None

    desk.handler.breaks = breaks
    await desk.deliver(many(8))
    assert await desk.letters() == [(4, "handler_refused")]
    assert len(await desk.effects()) == 7


async def test_a_terminated_session_is_replaced(desk: Desk, quick: None):
    ended = False

    class Fragile(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            nonlocal ended
            if not ended:
                ended = True
                pid = connection.get_server_pid()
                await desk.pool.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Fragile()
    await desk.deliver(many(5))
    assert len(await desk.effects()) == 5
    assert await desk.position() == 5


async def test_a_statement_timeout_is_retried(desk: Desk, quick: None):
    slow = [True]

    class Slow(Handler):
        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            if slow and slow.pop():
                await connection.execute("SET LOCAL statement_timeout = 50")
                await connection.execute("SELECT pg_sleep(5)")
            return await super().__call__(connection, events, now)

    desk.delivery.handle = Slow()
    await desk.deliver(many(5))
    assert len(await desk.effects()) == 5


async def test_a_deadlock_of_two_batches_ends_with_both_applied(desk: Desk, quick: None):
    await desk.pool.execute("CREATE TABLE hot (id int PRIMARY KEY, hits int); INSERT INTO hot VALUES (1, 0), (2, 0)")
    await desk.pool.execute("ALTER ROLE CURRENT_USER SET deadlock_timeout = '50ms'")
    held = asyncio.Barrier(2)

    class Crossed(Handler):
        def __init__(self, *order: int) -> None:
            super().__init__()
            self.order = order

        async def __call__(self, connection: Connection, events: Sequence[Event], now: datetime) -> list[Refusal]:
            await connection.execute("UPDATE hot SET hits = hits + 1 WHERE id = $1", self.order[0])
            if not self.calls:
                await held.wait()
            refusals = await super().__call__(connection, events, now)
            await connection.execute("UPDATE hot SET hits = hits + 1 WHERE id = $1", self.order[1])
            return refusals

    first, other = Desk(desk.pool, Crossed(1, 2)), Desk(desk.pool, Crossed(2, 1))
    batches = await batch([purchase("a")]), await batch([purchase("b")], partition=1)
    await asyncio.gather(first.delivery.deliver(batches[0], fresh), other.delivery.deliver(batches[1], fresh))
    assert sorted(await desk.effects()) == ["a", "b"]
    assert await desk.pool.fetch("SELECT hits FROM hot") == [(2,), (2,)]


async def test_it_is_unhealthy_during_retries(desk: Desk, quick: None):
    seen: list[bool] = []
    left: list[Exception] = [OSError("gone"), OSError("gone")]

    def breaks(_: Event):
        seen.append(desk.delivery.healthy)
        return left.pop() if left else None

    desk.handler.breaks = breaks
    await desk.deliver([purchase("a")])
    assert seen == [True, False, False]
    assert desk.delivery.healthy


async def test_it_is_healthy_again_after_another_worker_applied_the_batch(desk: Desk):
    same = await batch([purchase("a")])
    meanwhile: list[asyncio.Task[bool]] = []

    def breaks(_: Event):
        # The other worker waits for the row of the position until this transaction is rolled back.
        meanwhile.append(asyncio.create_task(Desk(desk.pool).delivery.deliver(same, fresh)))
        return OSError("the answer to COMMIT was lost")

    desk.handler.breaks = breaks
    with pytest.raises(PositionMovedError):
        await desk.delivery.deliver(same, fresh)
    assert await meanwhile[0]
    assert desk.delivery.healthy
    assert await desk.effects() == ["a"]


async def test_a_stale_batch_is_dropped(desk: Desk):
    stale = await batch([purchase("a")])
    assert not await desk.delivery.deliver(stale, lambda _: True)
    assert (await desk.effects(), await desk.position()) == ([], None)


async def test_a_batch_that_becomes_stale_during_retries_is_dropped(desk: Desk, quick: None):
    desk.handler.breaks = lambda _: OSError("gone")
    stale = await batch([purchase("a")])
    assert not await desk.delivery.deliver(stale, lambda _: len(desk.handler.calls) == 3)
    assert len(desk.handler.calls) == 3
    assert desk.delivery.healthy
    assert await desk.position() is None


async def test_a_batch_without_events_of_interest_moves_the_position(desk: Desk):
    unknown = purchase("a") | {"type": "shop.purchase.dreamt.v9"}
    await desk.deliver([unknown] * 3)
    assert (await desk.position(), await desk.effects(), desk.handler.calls) == (3, [], [])


async def test_other_failures_are_raised(desk: Desk):
    await desk.pool.execute("DROP TABLE inbox")
    with pytest.raises(asyncpg.UndefinedTableError):
        await desk.deliver([purchase("a")])
    assert await desk.position() is None
