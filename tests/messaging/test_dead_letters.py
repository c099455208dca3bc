"""Dead letters are stored completely, listed, and replayed with their full effect."""

from datetime import UTC, datetime, timedelta

from msgspec import structs

from shared.contracts.envelope import Record
from shared.messaging import dead_letters
from shared.messaging.dead_letters import DeadLetter, Filter
from shared.postgres.pool import Pool
from tests.contracts.records import read
from tests.messaging.log import Desk, malformation, purchase, record


async def only(pool: Pool) -> DeadLetter:
    async with pool.acquire() as connection:
        (number,) = await dead_letters.ids_of(connection, Filter())
        letter = await dead_letters.find(connection, number)
    assert letter is not None
    return letter


async def test_a_record_is_stored_completely(platform_pool: Pool):
    odd = Record(
        topic="shop.purchases",
        partition=3,
        offset=2**40,
        key=b"\xff\x00key",
        value=b"\xfe\x00\x80 not UTF-8",
        headers=(
            (b"content-type", b"\xff"),
            (b"x", b""),
            (b"x", b"twice"),
            (b"none", None),
            ("العربية".encode(), b"1"),
            (b"ce_\x00type", b"not ce_type"),
            (b"\x80caf\xe9", b"no UTF-8"),
            (b"", b"no name"),
        ),
        timestamp=datetime(2027, 1, 1, 0, 0, 0, 123000, tzinfo=UTC),
    )
    async with platform_pool.acquire() as connection:
        await dead_letters.write(connection, [malformation(odd, "a \x00 NUL and a \ud800 surrogate")])
    letter = await only(platform_pool)
    assert letter.record == odd
    assert letter.error == "a \\0 NUL and a \\ud800 surrogate"


async def test_a_record_without_key_and_value_is_kept(platform_pool: Pool):
    bare = Record("shop.purchases", 0, 0, None, None, (), datetime(1970, 1, 1, tzinfo=UTC))
    async with platform_pool.acquire() as connection:
        await dead_letters.write(connection, [malformation(bare)])
    assert (await only(platform_pool)).record == bare


async def test_errors_are_stored_up_to_a_length(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        await dead_letters.write(connection, [malformation(record(b"{"), "\x00" * 3_000)])
    assert (await only(platform_pool)).error == "\\0" * 2_000 + "…"


async def test_a_list_has_no_values_and_headers(platform_pool: Pool):
    large = structs.replace(record(b"{" * 1_000_000), key=b"k" * 2_000)
    async with platform_pool.acquire() as connection:
        await dead_letters.write(connection, [malformation(large)])
        (listed,) = await dead_letters.page(connection, Filter(), None, 10)
    assert listed.record == structs.replace(large, key=b"k" * 1_024, value=None, headers=())
    assert (await only(platform_pool)).record == large


async def test_pages_are_newest_first(platform_pool: Pool):
    async with platform_pool.acquire() as connection:
        await dead_letters.write(connection, [malformation(record(b"{", offset)) for offset in range(5)])
        first = await dead_letters.page(connection, Filter(), None, 2)
        second = await dead_letters.page(connection, Filter(), first[-1].id, 2)
        last = await dead_letters.page(connection, Filter(), second[-1].id, 2)
        assert await dead_letters.page(connection, Filter("bad_field"), None, 2) == []
        assert await dead_letters.find(connection, 999) is None
    assert [item.record.offset for item in (*first, *second, *last)] == [4, 3, 2, 1, 0]


async def test_letters_locked_by_another_replay_are_skipped(platform_pool: Pool):
    async with platform_pool.acquire() as first, platform_pool.acquire() as other:
        await dead_letters.write(first, [malformation(record(b"{", offset)) for offset in range(2)])
        ids = await dead_letters.ids_of(first, Filter("not_json"))
        async with first.transaction():
            assert len(await dead_letters.claim(first, ids[:1])) == 1
            assert [letter.id for letter in await dead_letters.claim(other, ids)] == ids[1:]


async def test_a_replay_applies_the_event(desk: Desk):
    desk.handler.breaks = lambda _: ValueError("not yet")
    await desk.deliver([purchase("a")])
    desk.handler.breaks = lambda _: None
    async with desk.pool.acquire() as connection, connection.transaction():
        letter = await only(desk.pool)
        from_letter = letter.record
        again = await desk.delivery.replay([read(from_letter)], connection)
    assert again == []
    assert await desk.effects() == ["a"]
    async with desk.pool.acquire() as connection, connection.transaction():
        assert await desk.delivery.replay([read(from_letter)], connection) == []
    assert await desk.effects() == ["a"], "a second replay is a repeat"


async def test_a_replay_returns_what_is_refused_again(desk: Desk):
    desk.handler.breaks = lambda _: ValueError("never")
    await desk.deliver([purchase("a")])
    async with desk.pool.acquire() as connection, connection.transaction():
        letter = await only(desk.pool)
        (refusal,) = await desk.delivery.replay([read(letter.record)], connection)
    assert refusal.reason == "handler_refused"
    assert (await desk.effects(), await desk.inbox()) == ([], 0)


async def test_recorded_at_is_the_time_of_the_refusal(desk: Desk):
    await desk.deliver([b"{"])
    letter = await only(desk.pool)
    assert abs(letter.recorded_at - datetime.now(UTC)) < timedelta(minutes=1)
