"""Rows of customers, timelines, histories and assignments: written and read by sets of customers."""

import asyncio
from uuid import UUID

from services.tiers.store import assignments, customers, timelines
from services.tiers.store.assignments import Assignment
from services.tiers.store.customers import Customer, Mark
from services.tiers.store.timelines import Change, TimelineEntry
from shared.contracts.envelope import Cause
from shared.postgres.pool import Pool
from tests.tiers.shop import day

JUDGED = Customer(
    *("ann", day(1), "silver", day(1), day(366), day(380), 3, {"tier": "silver", "metrics": {"spend": "1/3"}}),
    *(day(366), day(0), False, {"id": "e1"}),
)


async def test_a_customers_row_comes_back(tiers_pool: Pool):
    async with tiers_pool.acquire() as connection, connection.transaction():
        entered = await customers.lock(connection, ["bob", "ann", "bob"])
        assert entered == {name: Customer(name) for name in ("ann", "bob")}
        await customers.save(connection, [JUDGED, Customer("bob", tier="gold")])
        assert await customers.lock(connection, ["ann"]) == {"ann": JUDGED}
        assert await customers.read(connection, ["ann", "bob", "zoe"]) == {
            "ann": JUDGED,
            "bob": Customer("bob", tier="gold"),
        }
        assert await customers.find(connection, "zoe") == Customer("zoe")
        await customers.save(connection, [])


async def test_the_earliest_mark_stands(tiers_pool: Pool):
    async with tiers_pool.acquire() as connection:
        await customers.lock(connection, ["ann", "bob"])
        await customers.mark(connection, {"ann": Mark(day(3), {"id": "3"})})
        await customers.mark(connection, {"ann": Mark(day(2), {"id": "2"}), "bob": Mark(day(1), {"id": "1"})})
        await customers.mark(connection, {"ann": Mark(day(5), {"id": "5"})})
        await customers.mark(connection, {})
        marked = await customers.claim_marked(connection, day(9), 10)
        assert {name: (row.rejudge_from, row.rejudge_for) for name, row in marked.items()} == {
            "ann": (day(2), {"id": "2"}),
            "bob": (day(1), {"id": "1"}),
        }
        assert list(await customers.claim_marked(connection, day(9), 1)) == ["bob"]
    assert await customers.count_marked(tiers_pool) == 2


async def test_what_others_hold_is_not_claimed(tiers_pool: Pool):
    rows = [
        Customer(f"c{number}", due_at=day(number), rejudge_from=day(0) if number == 4 else None) for number in range(5)
    ]
    async with tiers_pool.acquire() as first, tiers_pool.acquire() as second:
        await customers.lock(first, [row.customer_id for row in rows])
        await customers.save(first, rows)
        async with first.transaction(), second.transaction():
            assert list(await customers.claim_due(first, day(9), 2)) == ["c0", "c1"]
            assert list(await asyncio.wait_for(customers.claim_due(second, day(2), 9), 5)) == ["c2"]
            assert list(await customers.claim_due(second, day(9), 9)) == ["c2", "c3"]


async def test_a_timeline_is_replaced_from_an_instant_on(tiers_pool: Pool):
    old = [TimelineEntry("ann", day(number), "silver", "1.25") for number in range(4)]
    other = TimelineEntry("bob", day(2), "gold", "1.5", day(9), 2, "promoted", "orders", "silver", {"a": 1})
    new = TimelineEntry("ann", day(2.5), "member", "1", None, 3, None, "period_end", "silver", None)
    async with tiers_pool.acquire() as connection:
        await timelines.replace(connection, {}, [*old, other], is_late=False)
        await timelines.replace(connection, {"ann": day(2)}, [new])
        assert await timelines.load_from(connection, {"ann": None, "bob": day(2), "zoe": None}) == {
            "ann": [*old[:2], new],
            "bob": [other],
            "zoe": [],
        }
        assert await timelines.load_from(connection, {"ann": day(1), "bob": day(3)}) == {
            "ann": [old[1], new],
            "bob": [],
        }
        before = {"ann": day(2.5), "bob": day(2), "zoe": day(9)}
        assert await timelines.load_last_before(connection, before) == {"ann": old[1]}
        assert await timelines.load_last_before(connection, {"bob": day(2.01)}) == {"bob": other}


def change(customer_id: str, number: int) -> Change:
    return Change(
        *(customer_id, "promoted", "member", "silver", "spend", 2, day(number), day(400), day(number)),
        *({"spend": "500.00"}, "/wafa/tiers", f"e{number}", f"p{number}", "root"),
    )


async def test_the_last_change_is_the_cause_of_what_it_lets_end(tiers_pool: Pool):
    async with tiers_pool.acquire() as connection:
        await timelines.record(connection, [change("ann", 1), change("bob", 2), change("ann", 3)])
        await timelines.record(connection, [])
        assert await timelines.load_causes(connection, ["ann", "bob", "zoe"]) == {
            "ann": Cause("root", "p3"),
            "bob": Cause("root", "p2"),
        }
    first, second = await timelines.history(tiers_pool, "ann", None, 10)
    assert (first.effective_at, first.metrics, first.valid_until) == (day(3), {"spend": "500.00"}, day(400))
    assert await timelines.history(tiers_pool, "ann", first.number, 10) == [second]


async def test_assignments_come_in_the_order_of_time(tiers_pool: Pool):
    given = [
        Assignment(
            UUID(int=number), "ann", day(number), "gold", day(9) if number else None, bool(number), "key:desk", "kind"
        )
        for number in (2, 0, 1)
    ]
    async with tiers_pool.acquire() as connection:
        for assignment in given:
            await assignments.add(connection, assignment)
        assert await assignments.load_from(connection, {"ann": None, "bob": None}) == {
            "ann": [given[1], given[2], given[0]],
            "bob": [],
        }
        assert await assignments.load_from(connection, {"ann": day(1)}) == {"ann": [given[2], given[0]]}
