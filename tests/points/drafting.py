"""Drafts of earning rules, and requests to replace and publish them."""

from typing import Any

import httpx

from tests.points.asking import BASE, post
from tests.points.conftest import Headers

RULES = "/v1/earning-rules"

DOUBLE: Any = {"currency": "USD", "rules": [BASE | {"award": {"kind": "per_amount", "points": 2, "amount": "1.00"}}]}
COFFEE: Any = {
    "currency": "USD",
    "rates": {"SAR": "0.2667"},
    "time_zone": "Asia/Riyadh",
    "rules": [
        {
            "id": "base",
            "name": {"en": "Every purchase", "ar": "كل عملية شراء"},
            "on": "purchase",
            "when": [],
            "award": {"kind": "per_amount", "points": 1, "amount": "1.00"},
            "activate": {"kind": "after_days", "days": 14},
            "expire": {"kind": "after_months", "months": 12},
        },
        {
            "id": "coffee-friday",
            "on": "purchase",
            "when": [{"kind": "category_in", "values": ["coffee"]}, {"kind": "weekday_in", "days": ["fri"]}],
            "award": {"kind": "multiplier", "factor": "2"},
        },
        {
            "id": "tenth",
            "on": "purchase",
            "when": [{"kind": "every_nth_purchase", "n": 10}],
            "award": {"kind": "fixed", "points": 300},
        },
        {
            "id": "review",
            "on": "review",
            "when": [{"kind": "verified_purchase"}],
            "award": {"kind": "fixed", "points": 50},
            "limits": [
                {"count": 1, "per": "ever", "scope": "customer_sku"},
                {"points": 500, "per": "month", "scope": "customer"},
            ],
        },
    ],
}
"""A document with most kinds of conditions, awards and limits."""


async def put(client: httpx.AsyncClient, headers: Headers, version: int, body: object, tag: str = "") -> httpx.Response:
    """Replace a draft; `tag` is the ETag that its editor saw."""
    headers = headers | ({"If-Match": tag} if tag else {})
    return await client.put(f"{RULES}/{version}", json=body, headers=headers)


async def publish(client: httpx.AsyncClient, headers: Headers, version: int, body: object = None) -> httpx.Response:
    """Publish a draft."""
    return await post(client, f"{RULES}/{version}/publish", headers, body)
