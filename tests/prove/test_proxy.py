"""The proxy forwards bytes, and resets a connection between a COMMIT and its answer."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.local.ports import free_port
from shared.postgres.pool import is_transient, server_settings
from tests.prove import wire
from tests.prove.proxy import Proxy
from tests.prove.wire import Parser


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def startup(code: int, words: bytes = b"") -> bytes:
    body = code.to_bytes(4) + words
    return (len(body) + 4).to_bytes(4) + body


def test_messages_are_parsed_wherever_the_stream_is_split():
    settings = b"user\0x\0application_name\0wafa-points-worker\0\0"
    sent = startup(80877103) + startup(196608, settings) + message(b"Q", b"BEGIN;\0")
    sent += message(b"d", b"x" * 100_000) + message(b"Q", b"COMMIT;\0")
    for size in (1, 7, 5000, len(sent)):
        parser = Parser(starts=True)
        messages = [item for at in range(0, len(sent), size) for item in parser.feed(sent[at : at + size])]
        assert [item.type for item in messages] == [b"", b"", b"Q", b"d", b"Q"]
        assert wire.application(messages[1]) == "wafa-points-worker"
        assert [wire.is_commit(item) for item in messages] == [False, False, False, False, True]
        assert messages[-1].end == len(sent)


def test_only_commits_are_recognized_simple_and_prepared():
    def asks(kind: bytes, body: bytes) -> bool:
        [one] = Parser().feed(message(kind, body))
        return wire.is_commit(one)

    assert asks(b"Q", b"commit\0")
    assert asks(b"P", b"name\0COMMIT\0\0\0")
    assert not asks(b"Q", b"ROLLBACK;\0")
    assert not asks(b"Q", b"COMMIT PREPARED 'x'\0")


def test_answers_show_commits_and_open_transactions():
    def answered(kind: bytes, body: bytes) -> wire.Message:
        [one] = Parser().feed(message(kind, body))
        return one

    assert wire.is_committed(answered(b"C", b"COMMIT\0"))
    assert not wire.is_committed(answered(b"C", b"ROLLBACK\0"))
    assert wire.is_in_transaction(answered(b"Z", b"T")) is True
    assert wire.is_in_transaction(answered(b"Z", b"I")) is False
    assert wire.is_in_transaction(answered(b"C", b"COMMIT\0")) is None


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    started = Proxy(free_port(), urlsplit(postgres_url).port or 0)
    await started.start()
    yield started
    await started.stop()


async def connect(url: str, proxy: Proxy, application: str = "wafa-test") -> asyncpg.Connection:
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    through = urlunsplit(parts._replace(netloc=f"{host}:{proxy.port}"))
    return await asyncpg.connect(through, server_settings=server_settings(application))


async def test_the_proxy_forwards_and_tracks_applications(proxy: Proxy, postgres_url: str):
    connection = await connect(postgres_url, proxy)
    [link] = proxy.find(lambda item: item.application == "wafa-test")
    assert not link.in_transaction
    async with connection.transaction():
        assert await connection.fetchval("SELECT repeat('x', 200000)") == "x" * 200_000
        assert link.in_transaction
    assert not link.in_transaction
    await connection.close()
    await asyncio.sleep(0.1)
    assert proxy.find(lambda _: True) == []


async def test_a_commit_is_done_though_its_answer_is_held_back(proxy: Proxy, postgres_url: str):
    connection = await connect(postgres_url, proxy)
    await connection.execute("CREATE TABLE paid (number int)")
    [link] = proxy.find(lambda item: item.application == "wafa-test")
    cut = proxy.cut_at_commit(link)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO paid VALUES (1)")
    assert not cut.done(), "only the COMMIT's answer is kept back"
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
        await transaction.commit()
    assert is_transient(caught.value)
    assert cut.done()
    other = await connect(postgres_url, proxy)
    assert await other.fetchval("SELECT count(*) FROM paid") == 1
    await other.execute("DROP TABLE paid")
    await other.close()


async def test_the_commit_of_a_batch_is_distinguished_from_others(proxy: Proxy, postgres_url: str):
    other = await asyncpg.connect(postgres_url)
    await other.execute("CREATE TABLE position (number int); INSERT INTO position VALUES (0)")
    connection = await connect(postgres_url, proxy)
    [link] = proxy.find(lambda item: item.application == "wafa-test")
    cut = proxy.cut_at_commit(link, only_batches=True)
    async with connection.transaction():
        await connection.fetch("SELECT number + $1 FROM position", 1)
    assert not cut.done()
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch("UPDATE position SET number = $1", 7)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await transaction.commit()
    assert cut.done()
    assert await other.fetchval("SELECT number FROM position") == 7
    await other.execute("DROP TABLE position")
    await other.close()


async def test_a_rollback_is_no_commit(proxy: Proxy, postgres_url: str):
    connection = await connect(postgres_url, proxy)
    [link] = proxy.find(lambda item: item.application == "wafa-test")
    cut = proxy.cut_at_commit(link)
    transaction = connection.transaction()
    await transaction.start()
    await transaction.rollback()
    assert not cut.done()
    await connection.close()


async def test_a_reset_undoes_an_open_transaction(proxy: Proxy, postgres_url: str):
    connection = await connect(postgres_url, proxy)
    await connection.execute("CREATE TABLE undone (number int)")
    [link] = proxy.find(lambda item: item.application == "wafa-test")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO undone VALUES (1)")
    link.reset()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await transaction.commit()
    other = await connect(postgres_url, proxy)
    assert await other.fetchval("SELECT count(*) FROM undone") == 0
    await other.execute("DROP TABLE undone")
    await other.close()
