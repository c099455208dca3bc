"""Earning rules that are refused over HTTP, with pointers into the document that was sent.

Planted and caught here: a document that is published unchecked.
"""

import json
from typing import Any

import httpx
import pytest

from shared.postgres.pool import Pool
from tests.points.asking import BASE, done, pointers, post
from tests.points.conftest import Headers
from tests.points.drafting import COFFEE, DOUBLE, RULES, publish, put

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"award": {"kind": "per_amount", "points": -1, "amount": "1.00"}}, "/award/points"),
    ({"award": {"kind": "per_amount", "points": 1, "amount": "1.00001"}}, "/award/amount"),
    ({"award": {"kind": "per_amount", "points": 1, "amount": "0.00"}}, "/award/amount"),
    ({"award": {"kind": "per_amount", "points": 1, "amount": 1}}, "/award/amount"),
    ({"award": {"kind": "per_amount", "points": 1}}, "/award/amount"),
    ({"award": {"kind": "fixed", "points": 1.5}}, "/award/points"),
    ({"award": {"kind": "lottery"}}, "/award/kind"),
    ({"award": {"points": 1}}, "/award/kind"),
    ({"award": {"kind": "multiplier", "factor": "0.5"}}, "/award/factor"),
    ({"award": {"kind": "multiplier", "factor": "1.00001"}}, "/award/factor"),
    ({"award": 5}, "/award"),
    ({"id": "other"}, "/id"),
    ({"id": "a b"}, "/id"),
    ({"on": "sunshine"}, "/on"),
    ({"on": "review"}, "/award/kind"),
    ({"name": {"en": 5}}, "/name/en"),
    ({"colour": "red"}, "/colour"),
    ({"when": [{"kind": "moon_phase"}]}, "/when/0/kind"),
    ({"when": [{}]}, "/when/0/kind"),
    ({"when": [5]}, "/when/0"),
    ({"when": [{"kind": "hours", "from": "09:00", "to": "09:00"}]}, "/when/0/to"),
    ({"when": [{"kind": "hours", "from": "9:00", "to": "10:00"}]}, "/when/0/from"),
    ({"when": [{"kind": "hours", "from": "09:00", "to": "24:00"}]}, "/when/0/to"),
    ({"when": [{"kind": "window", "from": "2026-03-01", "to": "2026-03-01"}]}, "/when/0/to"),
    ({"when": [{"kind": "window", "from": "2026-02-30", "to": "2026-03-01"}]}, "/when/0/from"),
    ({"when": [{"kind": "window", "from": "2026-03-01"}]}, "/when/0/to"),
    ({"when": [{"kind": "first_purchase"}, {"kind": "category_in", "values": []}]}, "/when/1/values"),
    ({"when": [{"kind": "weekday_in", "days": ["fri", "someday"]}]}, "/when/0/days/1"),
    ({"when": [{"kind": "every_nth_purchase", "n": 0}]}, "/when/0/n"),
    ({"when": [{"kind": "first_purchase", "n": 1}]}, "/when/0/n"),
    ({"limits": [{"per": "day", "scope": "customer"}]}, "/limits/0"),
    ({"limits": [{"count": 0, "per": "day", "scope": "customer"}]}, "/limits/0/count"),
    ({"limits": [{"count": 1, "per": "moon", "scope": "customer"}]}, "/limits/0/per"),
    ({"activate": {"kind": "after_days", "days": -1}}, "/activate/days"),
    ({"activate": {"kind": "whenever"}}, "/activate/kind"),
    ({"expire": {"kind": "after_months", "months": 0}}, "/expire/months"),
]


@pytest.mark.parametrize(("fields", "pointer"), WRONG)
async def test_a_wrong_rule_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers, fields: dict[str, Any], pointer: str
):
    sent = {"currency": "USD", "rules": [BASE | {"id": "other"}, BASE | fields]}
    assert pointers(await post(client, RULES, marketing, sent)) == [f"/rules/1{pointer}"]
    made = await done(client, RULES, marketing, DOUBLE)
    assert pointers(await put(client, marketing, 2, sent, made["etag"])) == [f"/rules/1{pointer}"]
    assert await points_pool.fetchval("SELECT max(version) FROM document_version") == 2
    assert await points_pool.fetchval("SELECT revision FROM document_version WHERE version = 2") == 1


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"time_zone": "localtime"}, "/time_zone"),
        ({"currency": "usd"}, "/currency"),
        ({"currency": None}, "/currency"),
        ({"rates": {"SAR": "0.2667000000001"}}, "/rates/SAR"),
        ({"rates": {"SAR": "0"}}, "/rates/SAR"),
        ({"rates": {"SAR": 0.26}}, "/rates/SAR"),
        ({"rates": {"riyal": "0.26"}}, "/rates/riyal"),
        ({"rates": {"USD": "1"}}, "/rates/USD"),
        ({"week_start": "monday"}, "/week_start"),
        ({"tiers": []}, "/tiers"),
        ({"tiers": ["gold", "gold"]}, "/tiers"),
        ({"rules": None}, "/rules"),
        ({"rules": [5]}, "/rules/0"),
        ({"rules": [{}]}, "/rules/0/id"),
        ({"version": 7}, "/version"),
    ],
)
async def test_a_wrong_document_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, marketing: Headers, fields: dict[str, Any], pointer: str
):
    assert pointers(await post(client, RULES, marketing, COFFEE | fields))[0] == pointer


async def test_all_faults_are_reported(client: httpx.AsyncClient, marketing: Headers):
    hours = {"kind": "hours", "from": "09:00", "to": "09:00"}
    answer = await post(client, RULES, marketing, COFFEE | {"rules": [BASE | {"when": [hours, hours]}, BASE]})
    assert pointers(answer) == ["/rules/0/when/0/to", "/rules/0/when/1/to", "/rules/1/id"]
    assert all(error["message"] for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/rules/0/award/points", -1),
        ("/rules/1/id", "base"),
        ("/rules/0/award/kind", "lottery"),
        ("/time_zone", "Mars/Olympus"),
    ],
)
async def test_a_document_is_checked_again_when_it_is_published(
    client: httpx.AsyncClient, points_pool: Pool, marketing: Headers, pointer: str, value: object
):
    await done(client, RULES, marketing, COFFEE)
    # As after a release that accepts less than the previous one.
    await points_pool.execute(
        "UPDATE document_version SET document = jsonb_set(document::jsonb, $1, $2::text::jsonb)::json"
        " WHERE version = 2",
        pointer.split("/")[1:],
        json.dumps(value),
    )
    assert pointers(await publish(client, marketing, 2)) == [pointer]
    assert await points_pool.fetchval("SELECT published_at FROM document_version WHERE version = 2") is None
