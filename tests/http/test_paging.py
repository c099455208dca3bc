import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.http.paging import decode_cursor, encode_cursor, page
from shared.http.problems import Problem

BIGINTS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=128)
INSTANTS = st.datetimes(timezones=st.just(UTC))


def forge(position: object):
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


@given(st.tuples(INSTANTS, BIGINTS, TEXTS, st.uuids()))
def test_a_cursor_decodes_to_its_position(position: tuple[datetime, int, str, UUID]):
    cursor = encode_cursor(position)
    assert decode_cursor(cursor, tuple[datetime, int, str, UUID]) == position
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
@example("é")
@example("=")
@example("a")
@example("W10=")
@example(forge([[[]]]))
@example("bnVsbA")
def test_anything_but_a_cursor_is_400(text: str):
    with pytest.raises(Problem) as caught:
        decode_cursor(text, tuple[datetime, UUID])
    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "position, shape",
    [
        ([2**63], tuple[int]),
        ([-(2**63) - 1], tuple[int]),
        (["1"], tuple[int]),
        ([True], tuple[int]),
        ([1.5], tuple[int]),
        (["a\x00"], tuple[str]),
        (["\ud800"], tuple[str]),
        ([1], tuple[str]),
        (["2026-01-01T00:00:00"], tuple[datetime]),
        ([1767225600], tuple[datetime]),
        (["0001-01-01T00:00:00+14:00"], tuple[datetime]),
        (["9999-12-31T23:59:59-14:00"], tuple[datetime]),
        (["not one"], tuple[UUID]),
        ([1, 2], tuple[int]),
        ([], tuple[int]),
        ({"0": 1}, tuple[int]),
        ("1", tuple[str]),
    ],
)
def test_a_made_up_cursor_is_refused_if_postgresql_would_refuse_it(position: object, shape: type[object]):
    with pytest.raises(Problem):
        decode_cursor(forge(position), shape)


def test_no_cursor_is_the_first_page():
    assert decode_cursor(None, tuple[int]) is None


def test_an_instant_may_have_any_offset():
    moment = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=3)))
    assert decode_cursor(encode_cursor([moment]), tuple[datetime]) == (moment,)


def test_the_last_page_has_no_cursor():
    assert page([3, 2], 2, lambda number: (number,)).next is None
    assert page([], 2, lambda number: (number,)).model_dump() == {"data": [], "next": None}
    first = page([3, 2, 1], 2, lambda number: (number,))
    assert first.data == [3, 2]
    assert decode_cursor(first.next, tuple[int]) == (2,)


@pytest.mark.parametrize("limit", [1, 7, 50, 120, 200])
async def test_all_pages_together_are_the_whole_list(client: httpx.AsyncClient, limit: int):
    seen, after = [], None
    for _ in range(121):
        query = {"limit": limit} | ({"after": after} if after else {})
        answer = (await client.get("/v1/numbers", params=query)).json()
        seen += answer["data"]
        after = answer["next"]
        if after is None:
            break
    assert seen == list(range(119, -1, -1))


async def test_fifty_is_the_default(client: httpx.AsyncClient):
    assert len((await client.get("/v1/numbers")).json()["data"]) == 50


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit="])
async def test_limits_run_from_1_to_200(client: httpx.AsyncClient, query: str):
    assert (await client.get(f"/v1/numbers?{query}")).status_code == 422


async def test_a_bad_cursor_is_a_400_problem(client: httpx.AsyncClient):
    answer = await client.get("/v1/numbers?after=nonsense")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    assert answer.json()["errors"][0]["pointer"] == "/query/after"
