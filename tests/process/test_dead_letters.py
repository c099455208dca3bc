"""`dead-letters list|show|replay` of the points service."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from shared.contracts.envelope import Record
from shared.messaging import dead_letters
from shared.messaging.delivery import Delivery
from shared.postgres.pool import Pool, open_pool
from tests.messaging import log
from tests.messaging.log import batch, fresh, malformation, purchase, record
from tests.process.conftest import Command
from tests.support.headers import in_bytes


def on(url: str, work: Callable[[Pool], Awaitable[None]]) -> None:
    async def run():
        async with await open_pool(url, application="wafa-test") as pool:
            await work(pool)

    asyncio.run(run())


def write(url: str, *records: Record) -> None:
    async def work(pool: Pool):
        async with pool.acquire() as connection:
            await dead_letters.write(connection, [malformation(item) for item in records])

    on(url, work)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_list_prints_an_object_per_line_newest_first(command: Command, database_url: str):
    write(database_url, *(record(b"\xff{", offset) for offset in range(3)))
    letters = lines(command("dead-letters", "list", "--json").out)
    assert [item["offset"] for item in letters] == [2, 1, 0]
    assert letters[0] | {"id": 0, "recorded_at": ""} == {
        "id": 0,
        "topic": "shop.purchases",
        "partition": 0,
        "offset": 2,
        "key": "c1",
        "type": None,
        "reason": "not_json",
        "error": "broken",
        "recorded_at": "",
        "customers": ["c1"],
    }
    assert len(lines(command("dead-letters", "list", "--json", "--limit", "2").out)) == 2
    assert command("dead-letters", "list", "--json", "--reason", "bad_field").out == ""
    assert command("dead-letters", "list").out.count("shop.purchases/0@") == 3


def test_more_than_a_page_is_listed(command: Command, database_url: str):
    write(database_url, *(record(b"{", offset) for offset in range(1_201)))
    letters = lines(command("dead-letters", "list", "--json").out)
    assert [item["offset"] for item in letters] == list(range(1_200, -1, -1))
    assert len(lines(command("dead-letters", "list", "--json", "--limit", "700").out)) == 700


def test_a_letter_is_shown_completely(command: Command, database_url: str):
    refused = Record("shop.purchases", 1, 2, b"\xffk", b"\xfe", ((b"h", b"\xff"), (b"none", None)), log.ARRIVED)
    write(database_url, refused)
    (listed,) = lines(command("dead-letters", "list", "--json").out)
    result = command("dead-letters", "show", str(listed["id"]), "--json")
    (shown,) = lines(result.out)
    assert shown["value"] == "\\xfe"
    assert shown["key"] == "\\xffk"
    assert shown["headers"] == {"h": "\\xff", "none": None}
    assert shown["timestamp"] == "2026-06-01T12:00:00Z"
    assert json.loads(command("dead-letters", "show", str(listed["id"])).out) == shown


def test_header_names_are_shown_as_received(command: Command, database_url: str):
    headers = ((b"ce_\x00type", b"a"), (b"caf\xe9", b"b"), (b"twice", b"1"), (b"twice", None), ("اسم".encode(), b"c"))
    write(database_url, Record("shop.purchases", 1, 2, None, b"{", headers, log.ARRIVED))
    (listed,) = lines(command("dead-letters", "list", "--json").out)
    (shown,) = lines(command("dead-letters", "show", str(listed["id"]), "--json").out)
    assert shown["headers"] == {
        "ce_\x00type": "a",
        "caf\\xe9": "b",
        "twice": ["1", None],
        "اسم": "c",
    }


def test_an_unknown_letter_fails(command: Command, database_url: str):
    result = command("dead-letters", "show", "99")
    assert (result.code, result.out, result.err) == (1, "", "there is no dead letter 99\n")


def test_a_replay_has_its_full_effect(command: Command, database_url: str):
    """The event was refused while the handler was broken; replayed, it earns points and is announced."""

    async def broken(*_: object):
        raise RuntimeError("a bug")

    async def refuse(pool: Pool):
        delivery = Delivery(pool, log.GROUP, broken, lambda: log.NOW)
        await delivery.deliver(await batch([purchase("a"), purchase("b", "c2")]), fresh)

    on(database_url, refuse)
    (first, _) = lines(command("dead-letters", "list", "--json").out)
    assert first["type"] == "shop.purchase.completed.v1"
    result = command("dead-letters", "replay", str(first["id"]))
    assert (result.code, result.out) == (0, "1 handled, 0 refused again\n")
    result = command("dead-letters", "replay", "--reason", "handler_refused")
    assert (result.code, result.out) == (0, "1 handled, 0 refused again\n")
    assert command("dead-letters", "list", "--json").out == ""

    async def look(pool: Pool):
        assert await pool.fetchval("SELECT sum(available) FROM account") == 20
        assert await pool.fetchval("SELECT count(*) FROM outbox") == 2
        assert await pool.fetchval("SELECT count(*) FROM inbox") == 2

    on(database_url, look)


def test_a_record_refused_again_is_a_new_dead_letter(command: Command, database_url: str):
    write(database_url, record(b"{"), record(purchase("a", total="1e3")))
    before = lines(command("dead-letters", "list", "--json").out)
    result = command("dead-letters", "replay", *(str(item["id"]) for item in before))
    assert (result.code, result.out) == (1, "0 handled, 2 refused again\n")
    after = lines(command("dead-letters", "list", "--json").out)
    assert {item["reason"] for item in after} == {"not_json", "bad_field"}
    assert not {item["id"] for item in before} & {item["id"] for item in after}


def test_unknown_ids_are_reported(command: Command, database_url: str):
    result = command("dead-letters", "replay", "98", "99")
    assert (result.code, result.out) == (1, "0 handled, 0 refused again, 2 not found\n")


def test_a_time_that_was_too_far_in_the_future_may_be_valid_now(command: Command, database_url: str):
    early = datetime.now(UTC) - timedelta(days=40)
    event = purchase("a") | {"time": (early + timedelta(days=30)).isoformat()}
    headers = in_bytes([log.STRUCTURED])
    write(database_url, Record("shop.purchases", 0, 0, b"c1", json.dumps(event).encode(), headers, early))
    assert command("dead-letters", "replay", "--reason", "not_json").out == "1 handled, 0 refused again\n"


def named(customer: str, offset: int) -> Record:
    return record(purchase(f"e{offset}", customer) | {"time": "soon"}, offset)


def test_the_letters_of_one_customer_are_listed_and_replayed(command: Command, database_url: str):
    write(database_url, named("mona", 1), named("omar", 2), named("mona", 3))
    letters = lines(command("dead-letters", "list", "--json", "--customer", "mona").out)
    assert [(item["offset"], item["customers"]) for item in letters] == [(3, ["mona"]), (1, ["mona"])]
    assert command("dead-letters", "list", "--customer", "mona").out.count("shop.purchases/0@") == 2
    assert command("dead-letters", "list", "--customer", "mona", "--reason", "bad_field").out == ""
    assert command("dead-letters", "list", "--customer", "nobody").out == ""
    result = command("dead-letters", "replay", "--customer", "mona")
    assert (result.code, result.out) == (1, "0 handled, 2 refused again\n")
    assert len(lines(command("dead-letters", "list", "--json", "--reason", "bad_field", "--customer", "mona").out)) == 2


def test_an_erased_letter_is_listed_and_not_replayed(command: Command, database_url: str):
    write(database_url, named("mona", 1), named("omar", 2))

    async def erase(pool: Pool):
        await pool.execute(
            "UPDATE dead_letter SET key = NULL, value = NULL, header_names = '{}', header_values = '{}', error = '', "
            "erased_at = '2027-01-01 00:00Z' WHERE 'mona' = ANY(customer_ids)"
        )

    on(database_url, erase)
    _, erased = lines(command("dead-letters", "list", "--json").out)
    assert (erased["key"], erased["error"], erased["erased_at"]) == (None, "", "2027-01-01T00:00:00Z")
    assert "not_json  (erased with its customer)" in command("dead-letters", "list", "--customer", "mona").out
    result = command("dead-letters", "replay", str(erased["id"]))
    assert (result.code, result.out) == (1, "0 handled, 0 refused again, 1 erased\n")
    assert result.err == (
        f"dead letter {erased['id']} cannot be replayed: its content was erased with its customer "
        "at 2027-01-01T00:00:00Z\n"
    )
    assert len(lines(command("dead-letters", "list", "--json").out)) == 2
    shown = json.loads(command("dead-letters", "show", str(erased["id"]), "--json").out)
    assert (shown["value"], shown["headers"]) == (None, {})
