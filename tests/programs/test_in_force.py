"""The versions in force, against a slow model: of those effective by an instant, the last to take effect.

Planted and caught here: a draft that is read; the earlier version of the same instant; a version of another kind or
document; a cut that leaves out a version in force.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.postgres.pool import Connection, Pool
from shared.programs import in_force, store
from shared.programs.kind import Key
from shared.programs.store import SINCE_EVER, Publication
from tests.programs.toys import BOX, TOYS, CompiledToy, Toy
from tests.support.counting import Counting

START = datetime(2026, 1, 1, tzinfo=UTC)

Effective = Sequence[int | None]
"""The day from which each version is in force; None is a draft."""

VERSIONS = st.lists(st.one_of(st.none(), st.integers(0, 20)), min_size=1, max_size=30)
DAYS = st.integers(-1, 21)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


async def store_versions(connection: Connection, kind: str, id_: str, effective: Effective) -> None:
    key = Key(kind, id_)
    for size, number in enumerate(effective, 1):
        draft = await store.insert(connection, key, {"from": "wood", "size": size, "parts": []}, START, "key:test")
        if number is not None:
            await store.publish(connection, key, draft.version, Publication(START, day(number), "key:test"))


def newest_by(effective: Effective, moment: datetime, first: int = 1) -> int | None:
    """The number of the version in force, by a linear search."""
    reached = [(day(number), version) for version, number in enumerate(effective, first) if number is not None]
    return max((entry for entry in reached if entry[0] <= moment), default=(moment, None))[1]


@given(st.data(), VERSIONS, st.sets(DAYS, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_versions_in_force_agree_with_the_model(
    pool: Pool, data: st.DataObject, effective: Effective, days: set[int]
):
    moments = sorted(map(day, days))
    wanted = data.draw(st.lists(st.integers(1, len(effective) + 1), max_size=2, unique=True))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM document_version WHERE version > 1")
        # Version 1 ships in force since ever; another kind, and documents with an id, are not read.
        await store_versions(connection, BOX.name, "", effective)
        await store_versions(connection, TOYS.name, "", [0, 20])
        await store_versions(connection, BOX.name, "other", [0, 20])
        span = await in_force.book(connection, BOX, moments[0], moments[-1], wanted)
        points = await in_force.book_at(connection, BOX, moments, wanted)
        for moment in moments:
            expected = newest_by(effective, moment, 2) or 1
            assert span.in_force(moment).version == expected
            assert points.in_force(moment).version == expected
            assert (await in_force.version_at(connection, BOX, moment)).version == expected
        numbers = {1} | {version for version, number in enumerate(effective, 2) if number is not None}
        for number in wanted:
            assert (number in span) == (number in points) == (number in numbers)
        await connection.execute("DELETE FROM document_version WHERE kind = $1 OR id <> ''", TOYS.name)


@given(st.lists(VERSIONS, min_size=1, max_size=4), DAYS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_version_in_force_of_each_document_agrees_with_the_model(
    pool: Pool, documents: list[Effective], at: int
):
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM document_version WHERE kind = $1", TOYS.name)
        for number, effective in enumerate(documents):
            await store_versions(connection, TOYS.name, f"toy-{number}", effective)
        current = await in_force.each_at(connection, TOYS, day(at))
        newest = {f"toy-{number}": newest_by(effective, day(at)) for number, effective in enumerate(documents)}
        assert {id_: toy.version for id_, toy in current.items()} == {id_: v for id_, v in newest.items() if v}
        wanted = [(f"toy-{number}", version) for number in range(5) for version in range(1, 4)]
        published = {
            (f"toy-{number}", version)
            for number, effective in enumerate(documents)
            for version, begins in enumerate(effective, 1)
            if begins is not None
        }
        assert set(await in_force.published(connection, TOYS, wanted)) == published.intersection(wanted)


async def test_a_version_is_compiled_once(pool: Pool):
    compiled: list[int] = []

    def compile_(version: int, toy: Toy) -> CompiledToy:
        compiled.append(version)
        return CompiledToy(version, toy)

    kind = replace(BOX, compile=compile_)
    async with pool.acquire() as connection, connection.transaction():
        await store_versions(connection, BOX.name, "", [5])
        first = await in_force.book(connection, kind, day(0), day(9))
        again = await in_force.book_at(connection, kind, [day(3), day(7)])
    assert sorted(compiled) == [1, 2]
    assert again.in_force(day(7)) is first.in_force(day(7))


async def test_shipped_documents_are_stored_once(pool: Pool):
    shipped = {id_: {"from": "wood", "size": 3, "parts": []} for id_ in ("bear", "duck")}
    changed = shipped | {"duck": {"from": "tin", "size": 4, "parts": []}, "fox": shipped["bear"]}
    async with pool.acquire() as connection:
        await store.seed(connection, TOYS.name, shipped)
        await store.seed(connection, TOYS.name, changed)
        current = await in_force.each_at(connection, TOYS, SINCE_EVER)
    assert {id_: (toy.version, toy.toy.size) for id_, toy in current.items()} == {
        "bear": (1, 3),
        "duck": (1, 3),
        "fox": (1, 3),
    }


async def test_only_the_versions_of_the_instants_are_read(pool: Pool):
    async with pool.acquire() as connection, connection.transaction():
        await store_versions(connection, BOX.name, "", range(30))
        book = await in_force.book_at(connection, BOX, [day(0), day(7), day(29)])
        assert [book.in_force(day(number)).version for number in (0, 7, 29)] == [2, 9, 31]
        assert len(book) == 3


async def test_versions_are_read_again_only_after_a_publication(pool: Pool):
    published = in_force.Published(BOX)
    async with pool.acquire() as connection, connection.transaction():
        counting = Counting(connection)
        first = await published.load(counting)  # pyright: ignore[reportArgumentType]
        assert await published.load(counting) is first  # pyright: ignore[reportArgumentType]
        await store_versions(connection, BOX.name, "", [None])
        assert await published.load(counting) is first  # pyright: ignore[reportArgumentType]
        assert (counting.statements, counting.rows) == (3, 3)
        await store.publish(connection, Key(BOX.name), 2, Publication(START, day(3), "key:test"))
        row = await connection.fetchrow(in_force.STAMP_SQL, BOX.name)
        assert row is not None
        stamp = in_force.Stamp(*row)
        assert published.known(stamp) is None
        assert [version.version for _, version in await published.load(connection)] == [1, 2]
        assert published.known(stamp) is await published.load(connection)
