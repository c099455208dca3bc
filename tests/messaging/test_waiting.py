"""Waiting events are stored as received, and returned in the order of their times."""

from shared.contracts.outcomes import Waiting
from shared.messaging import waiting
from shared.postgres.pool import Pool
from tests.contracts.records import REFUND, binary, data, envelope, read, structured


def refund(number: int, time: str, customer: str = "c1", order: str = "o1") -> Waiting:
    about = data(REFUND, customer_id=customer, order_id=order, refund_id=f"r{number}")
    event = read(structured(envelope(REFUND, id=f"e{number}", time=time, subject=customer, data=about)))
    return Waiting(f"order/{order}", f"refund/r{number}", event)


async def test_waiting_events_are_taken_completely_and_once(platform_pool: Pool):
    kept = [refund(2, "2027-01-02T00:00:00Z"), refund(1, "2027-01-03T00:00:00Z"), refund(0, "2027-01-02T00:00:00Z")]
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, kept)
        assert await waiting.take(connection, [("c1", "order/o1")]) == [kept[2], kept[0], kept[1]]
        assert await waiting.take(connection, [("c1", "order/o1")]) == []


async def test_a_header_name_with_nul_stays_distinct(platform_pool: Pool):
    """As text it would lose the NUL, and hide another header with the resulting name."""
    event = envelope(REFUND, subject="c1", data=data(REFUND, customer_id="c1", order_id="o1", refund_id="r1"))
    odd = [(b"ce_\x00type", b"x"), (b"ce_type\x00", b"x"), (b"\x80\xff", b"x"), (b"", None), (b"ce_id", b"again")]
    kept = Waiting("order/o1", "refund/r1", read(binary(event, *odd)))
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, [kept])
        assert await waiting.take(connection, [("c1", "order/o1")]) == [kept]


async def test_only_events_for_the_given_pair_are_taken(platform_pool: Pool):
    kept = [
        refund(1, "2027-01-01T00:00:00Z"),
        refund(2, "2027-01-01T00:00:00Z", order="o2"),
        refund(3, "2027-01-01T00:00:00Z", customer="c2"),
    ]
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, kept)
        assert await waiting.take(connection, []) == []
        assert await waiting.take(connection, [("c1", "order/o9"), ("c2", "order/o2")]) == []
        assert await waiting.take(connection, [("c1", "order/o2"), ("c2", "order/o1")]) == [kept[1], kept[2]]
        assert await waiting.take(connection, [("c1", "order/o1")]) == [kept[0]]


async def test_two_events_with_one_natural_id_both_wait(platform_pool: Pool):
    kept = [refund(1, "2027-01-01T00:00:00Z"), refund(1, "2027-01-01T00:00:00Z")]
    async with platform_pool.acquire() as connection:
        await waiting.keep(connection, [])
        await waiting.keep(connection, kept)
        assert len(await waiting.take(connection, [("c1", "order/o1")])) == 2
