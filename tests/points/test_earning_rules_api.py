"""Earning rules over HTTP: one document, drafted, checked and published.

Planted and caught here: a published version that changes; a second editor who overwrites the first; a version in
force from before it was published; of two versions of one instant, the earlier one.
"""

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from shared.contracts.values import format_instant
from shared.postgres.pool import Pool
from tests.points.asking import BASE, at, done, of, pointers, post, refusal
from tests.points.books import balances, check_books, deliver
from tests.points.conftest import Headers, Key, customer, get
from tests.points.drafting import COFFEE, DOUBLE, RULES, publish, put
from tests.points.shop import NOON, hour, purchase, refund
from tests.points.states import DEFAULT


async def test_a_document_is_stored_as_a_draft(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    with at(hour(0)):
        answer = await post(client, RULES, marketing, COFFEE)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["version"], made["status"], made["warnings"]) == (2, "draft", [])
    assert (made["created_at"], answer.headers["ETag"]) == (format_instant(hour(0)), made["etag"])
    assert not {"effective_at", "published_at"} & set(made)
    # Every default is spelled out; everything else is as it was sent.
    document = made["document"]
    assert (document["week_start"], document["tiers"]) == ("mon", ["member", "silver", "gold"])
    for sent, kept in zip(COFFEE["rules"], document["rules"], strict=True):
        for name in set(sent) - {"limits"}:
            assert kept[name] == sent[name]
    shown = await client.get(f"{RULES}/2", headers=reader)
    assert (shown.json(), shown.headers["ETag"]) == (
        {name: value for name, value in made.items() if name != "warnings"},
        made["etag"],
    )
    # A document that was read can be sent again unchanged.
    assert (await done(client, RULES, marketing, document))["document"] == document


async def test_a_version_names_its_author_editor_and_publisher(client: httpx.AsyncClient, key: Key, reader: Headers):
    writer, editor, publisher = (key("marketing") for _ in range(3))
    names = [f"key:{headers['Authorization'].split('_')[1]}" for headers in (writer, editor, publisher)]
    made = await done(client, RULES, writer, DOUBLE)
    assert (made["created_by"], "changed_by" in made, "published_by" in made) == (names[0], False, False)
    answer = await put(client, editor, 2, DOUBLE, made["etag"])
    assert (answer.json()["created_by"], answer.json()["changed_by"]) == (names[0], names[1])
    assert (await publish(client, publisher, 2)).json()["published_by"] == names[2]
    shown = await get(client, f"{RULES}/2", reader)
    assert [shown[name] for name in ("created_by", "changed_by", "published_by")] == names
    first = await get(client, f"{RULES}/1", reader)
    assert not {"created_by", "changed_by", "published_by"} & set(first)


async def test_a_document_with_warnings_is_accepted(client: httpx.AsyncClient, marketing: Headers):
    never = BASE | {"when": [{"kind": "window", "from": "2020-01-01", "to": "2020-02-01"}]}
    sent = {"currency": "USD", "rules": [never, BASE | {"id": "rest"}]}
    made = await done(client, RULES, marketing, sent)
    [warning] = made["warnings"]
    assert warning["pointer"].startswith("/rules/0")
    assert warning["message"]
    answer = await put(client, marketing, 2, sent, made["etag"])
    assert answer.json()["warnings"] == [warning]
    published = await publish(client, marketing, 2)
    assert (published.status_code, published.json()["warnings"]) == (200, [warning])


async def test_versions_are_listed_newest_first(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    [first] = (await get(client, RULES, reader))["data"]
    assert (first["version"], first["status"], first["document"]) == (1, "published", DEFAULT)
    assert first["effective_at"] == "0001-01-01T00:00:00Z"
    for _ in range(4):
        await done(client, RULES, marketing, DOUBLE)
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 2}
    for size in (2, 2, 1):
        shown = await get(client, RULES, reader, **query)
        assert len(shown["data"]) == size
        seen += [version["version"] for version in shown["data"]]
        query["after"] = shown["next"]
        await done(client, RULES, marketing, DOUBLE)
    assert (seen, shown["next"]) == ([5, 4, 3, 2, 1], None)
    for version, status in {99: 404, 0: 422, 2**31: 422, "one": 422}.items():
        assert (await client.get(f"{RULES}/{version}", headers=reader)).status_code == status


async def test_concurrent_drafts_are_separate_versions(client: httpx.AsyncClient, marketing: Headers):
    made = await asyncio.gather(*(done(client, RULES, marketing, DOUBLE) for _ in range(5)))
    assert sorted(version["version"] for version in made) == [2, 3, 4, 5, 6]


async def test_the_second_of_two_editors_is_refused(client: httpx.AsyncClient, marketing: Headers):
    made = await done(client, RULES, marketing, DOUBLE)
    assert refusal(await put(client, marketing, 2, COFFEE)) == (428, "precondition_required")
    answers = await asyncio.gather(
        *(put(client, marketing, 2, document, made["etag"]) for document in (COFFEE, DOUBLE, COFFEE))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    [newest] = [answer for answer in answers if answer.status_code == 200]
    assert newest.headers["ETag"] == newest.json()["etag"] != made["etag"]
    assert refusal(await put(client, marketing, 2, DOUBLE, made["etag"])) == (412, "changed_meanwhile")
    # Nor can a draft be published that the publisher has not seen.
    stale = marketing | {"If-Match": made["etag"]}
    assert refusal(await publish(client, stale, 2)) == (412, "changed_meanwhile")
    assert (await publish(client, marketing | {"If-Match": newest.json()["etag"]}, 2)).status_code == 200
    assert refusal(await put(client, marketing, 99, DOUBLE, '"x"')) == (404, "not_found")
    assert refusal(await publish(client, marketing, 99)) == (404, "not_found")


async def test_a_published_version_never_changes(client: httpx.AsyncClient, marketing: Headers, reader: Headers):
    await done(client, RULES, marketing, DOUBLE)
    with at(hour(0)):
        answer = await publish(client, marketing, 2)
    published = answer.json()
    assert (published["status"], published["effective_at"]) == ("published", format_instant(hour(0)))
    assert (published["published_at"], answer.headers["ETag"]) == (format_instant(hour(0)), published["etag"])
    for tag in ("", '"x"', published["etag"], "*"):
        assert refusal(await put(client, marketing, 2, COFFEE, tag)) == (409, "already_published")
    for body in (None, {"effective_at": "2100-01-01T00:00:00Z"}, {"effective_at": "2000-01-01T00:00:00Z"}):
        assert refusal(await publish(client, marketing, 2, body)) == (409, "already_published")
    shown = await get(client, f"{RULES}/2", reader)
    assert shown == {name: value for name, value in published.items() if name != "warnings"}


async def test_a_version_takes_effect_now_or_later(client: httpx.AsyncClient, marketing: Headers):
    await done(client, RULES, marketing, DOUBLE)
    with at(hour(1)):
        for moment in (hour(1) - timedelta.resolution, hour(-9999)):
            answer = await publish(client, marketing, 2, {"effective_at": format_instant(moment)})
            assert pointers(answer) == ["/effective_at"]
        for body in ({"effective_at": "tomorrow"}, {"effective_at": 5}):
            assert pointers(await publish(client, marketing, 2, body)) == ["/effective_at"]
        assert pointers(await publish(client, marketing, 2, {"effective": "2100-01-01T00:00:00Z"})) == ["/effective"]
        answer = await publish(client, marketing, 2, {"effective_at": "2026-03-01T16:00:00+03:00"})
    assert (answer.status_code, answer.json()["effective_at"]) == (200, format_instant(hour(1)))
    with at(hour(1)):
        await done(client, RULES, marketing, DOUBLE)
        answer = await publish(client, marketing, 3, {"effective_at": format_instant(hour(500))})
    assert (answer.json()["effective_at"], answer.json()["published_at"]) == (
        format_instant(hour(500)),
        format_instant(hour(1)),
    )


async def test_events_are_judged_by_the_version_of_their_time(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    await done(client, RULES, marketing, DOUBLE)
    with at(hour(-48)):
        await publish(client, marketing, 2, {"effective_at": format_instant(NOON)})
    # At any time of arrival, in any order.
    await deliver(
        points_pool,
        purchase("after", "100.00", hour(1)),
        purchase("at", "100.00", NOON),
        purchase("before", "100.00", NOON - timedelta.resolution),
    )
    lines = (await get(client, of("ann", "points/transactions"), customer("ann")))["data"]
    assert {line["reason"]["order_id"]: line["points"] for line in lines} == {"before": 100, "at": 200, "after": 200}
    versions = [
        (await get(client, f"/v1/points/transactions/{line['id']}", customer("ann")))["receipt"]["rules_version"]
        for line in lines
    ]
    assert versions == [1, 2, 2]
    await check_books(points_pool)


async def test_a_refund_is_judged_by_the_version_of_its_order(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    await deliver(points_pool, purchase("old", "100.00", hour(-1)), now=hour(-1))
    await done(client, RULES, marketing, DOUBLE)
    with at(NOON):
        await publish(client, marketing, 2)
    await deliver(points_pool, refund("old", "r", "30.00", hour(1)), purchase("new", "100.00", hour(1)))
    await deliver(points_pool, refund("new", "s", "30.00", hour(2)))
    assert (await balances(points_pool)).available == 70 + 140
    lines = (await get(client, of("ann", "points/transactions"), customer("ann"), kind="reversed"))["data"]
    assert {line["reason"]["order_id"]: line["points"] for line in lines} == {"old": -30, "new": -60}
    for line in lines:
        shown = await get(client, f"/v1/points/transactions/{line['id']}", customer("ann"))
        assert shown["receipt"]["rules_version"] == (1 if line["reason"]["order_id"] == "old" else 2)
        assert shown["receipt_verified"]
    await check_books(points_pool)


async def test_of_two_versions_of_one_instant_the_later_one_counts(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers
):
    for version, points in ((2, 2), (3, 3)):
        award = {"kind": "per_amount", "points": points, "amount": "1.00"}
        await done(client, RULES, marketing, {"currency": "USD", "rules": [BASE | {"award": award}]})
        with at(hour(-1)):
            await publish(client, marketing, version, {"effective_at": format_instant(NOON)})
    await deliver(points_pool, purchase("1", "10.00", NOON))
    assert (await balances(points_pool)).available == 30


async def test_no_event_is_judged_by_a_draft(client: httpx.AsyncClient, points_pool: Pool, marketing: Headers):
    await done(client, RULES, marketing, DOUBLE)
    await deliver(points_pool, purchase("1", "100.00"))
    assert (await balances(points_pool)).available == 100


async def test_the_same_key_writes_once(client: httpx.AsyncClient, marketing: Headers):
    first = await post(client, RULES, marketing, DOUBLE, name="draft")
    again = await post(client, RULES, marketing, DOUBLE, name="draft")
    assert (again.status_code, again.json(), again.headers["Idempotency-Replayed"]) == (201, first.json(), "true")
    path = f"{RULES}/2/publish"
    published = await post(client, path, marketing, name="publish")
    again = await post(client, path, marketing, name="publish")
    assert (again.status_code, again.json()) == (200, published.json())
    assert again.headers["ETag"] == published.headers["ETag"]
    assert (await client.post(RULES, json=DOUBLE, headers=marketing)).json()["version"] == 3
    assert (await client.post(f"{RULES}/3/publish", headers=marketing)).status_code == 200


async def test_who_may_read_and_write_rules(client: httpx.AsyncClient, key: Key):
    made = await done(client, RULES, key("marketing"), DOUBLE)
    who = {
        "nobody": ({}, 401, 401),
        "ann": (customer("ann"), 403, 403),
        "read": (key("read"), 200, 403),
        "redeem": (key("redeem"), 403, 403),
        "support": (key("support"), 403, 403),
        "marketing": (key("marketing"), 200, 200),
    }
    for name, (headers, reads, writes) in who.items():
        for path in (RULES, f"{RULES}/1", f"{RULES}/2"):
            assert (await client.get(path, headers=headers)).status_code == reads, name
        assert (await post(client, RULES, headers, DOUBLE)).status_code == {200: 201}.get(writes, writes), name
        assert (await put(client, headers, 2, DOUBLE, made["etag"])).status_code == writes, name
        assert (await publish(client, headers, 2)).status_code == writes, name
    assert (await post(client, RULES, key("admin"), DOUBLE)).status_code == 201
