"""Everything that events can say about a customer, with a different secret in every text field."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.contracts import topics
from shared.contracts.envelope import Record
from shared.contracts.registry import TYPES
from shared.contracts.values import format_instant

CUSTOMER: Final = "c-100"
OTHER: Final = "c-200"

NOW: Final = datetime.now(UTC).replace(microsecond=0)
BEFORE: Final = NOW - timedelta(hours=2)

SECRETS: Final = {
    "name": "Zanobia Kassab",
    "email": "zanobia@private.example",
    "phone": "+966500112233",
    "birth": "1987-02-03",
    "note": "she owes the shop a coffee",
    "reason": "complained by letter",
    "comment": "the courier was rude",
    "property": "blue-green wallpaper",
    "coupon": "ZANOBIA30",
    "ip": "198.51.100.77",
    "agent": "PhoneOfZanobia/1.0",
    "payment": "fp_zanobia_visa",
    "extra": "Rue des Jasmins 7",
    "header": "kassab-session",
    "parcel": "parcel-of-zanobia",
    "answer": "zanobia was answered",
    "vanity": "KASSAB7",
}

EVIDENCE: Final = {
    "email": SECRETS["email"],
    "phone": SECRETS["phone"],
    "device_id": "device of " + SECRETS["agent"],
    "ip": SECRETS["ip"],
    "user_agent": SECRETS["agent"],
    "payment_fingerprint": SECRETS["payment"],
}
PROFILE: Final = EVIDENCE | {
    "name": SECRETS["name"],
    "birth_date": SECRETS["birth"],
    "locale": "en",
    "country": "SA",
    "heard_from": SECRETS["extra"],
}
UNKNOWN: Final = {"delivery_address": SECRETS["extra"], "buyer": SECRETS["name"]}


def record(type_: str, number: int, data: dict[str, Any], **changes: Any) -> Record:
    """The record of an event; `changes` can replace the key and the time (BEFORE)."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"event-{number}-{changes.get('time', BEFORE).timestamp()}",
        "source": "/shop",
        "type": type_,
        "time": format_instant(changes.get("time", BEFORE)),
        "note": SECRETS["extra"],
        "data": {"customer_id": CUSTOMER} | data,
    }
    headers = (
        (b"content-type", b"application/cloudevents+json"),
        (SECRETS["header"].encode(), SECRETS["agent"].encode()),
    )
    key = changes.get("key", event["data"]["customer_id"]).encode()
    return Record(TYPES[type_].topic, 0, number, key, json.dumps(event).encode(), headers, NOW)


def purchase(order: str, **fields: Any) -> dict[str, Any]:
    line = {"line_id": "1", "sku": "tea", "quantity": 1, "amount": "30.00", "engraving": SECRETS["name"]}
    return {"order_id": order, "currency": "USD", "total": "30.00", "lines": [line], **UNKNOWN, **fields}


def refund(order: str, number: int) -> dict[str, Any]:
    return {"order_id": order, "refund_id": f"r-{number}", "currency": "USD", "amount": "5.00"} | UNKNOWN


def life() -> Sequence[Record]:
    """Valid and malformed events on every topic, and some that wait for others."""
    bought, refunded = "shop.purchase.completed.v1", "shop.purchase.refunded.v1"
    balance = {"available": 30, "pending": 0, "held": 0, "debt": 0}
    earned = {"transaction_id": "t-1", "points": 30, "qualifying_points": 30, "balance": balance}
    answer = {"answer_id": "s-1", "survey": "nps", "score": 3, "comment": SECRETS["comment"]}
    review = {"review_id": "v-1", "sku": "tea", "rating": 5, "text": SECRETS["comment"]}
    activity = {"activity_id": "a-1", "activity": "quiz", "properties": {"room": SECRETS["property"]}}
    parcel = {"reason": {"kind": "purchase", "order_id": SECRETS["parcel"]}}
    whole = [
        record("shop.customer.registered.v1", 1, PROFILE),
        record("shop.customer.registered.v1", 2, PROFILE | {"birth_date": 19870203}),
        record("shop.customer.updated.v1", 3, PROFILE | {"customer_id": OTHER}, key=CUSTOMER),
        record(bought, 4, purchase("o-1", coupon_codes=[SECRETS["coupon"]], channel="web")),
        record(bought, 5, purchase("o-2", total=30.0)),
        record(bought, 6, purchase("o-3") | {"customer_id": OTHER}, key=CUSTOMER),
        record(bought, 7, purchase("o-3"), key=OTHER),
        record(refunded, 8, refund("o-1", 1)),
        record(refunded, 9, refund("o-later", 2)),
        record("shop.purchase.delivered.v1", 10, {"order_id": "o-later"} | UNKNOWN),
        record("shop.referral.signed_up.v1", 11, {"code": "22222222"} | EVIDENCE),
        record("shop.review.published.v1", 12, review),
        record("shop.review.withdrawn.v1", 13, {"review_id": "v-later", "why": SECRETS["comment"]}),
        record("shop.activity.performed.v1", 14, activity),
        record("shop.survey.answered.v1", 15, answer),
        record("shop.survey.answered.v1", 16, answer | {"answer_id": "s-2", "score": 99}),
        record("loyalty.points.earned.v1", 17, earned | parcel),
        record("loyalty.points.earned.v1", 18, earned | parcel | {"points": SECRETS["name"]}),
        record("loyalty.points.earned.v1", 19, earned | parcel, key=f"{SECRETS['name']}/7"),
        record(bought, 20, purchase("o-4"), key=f"{SECRETS['name']}/7"),
    ]
    return [
        *whole,
        *(_broken(topic, number) for number, topic in enumerate(sorted({record.topic for record in whole}), 30)),
    ]


def _broken(topic: str, number: int) -> Record:
    """A record that is not JSON; only its bytes name the customer."""
    value = f'{{"data": {{"customer_id": "{CUSTOMER}", "name": "{SECRETS["name"]}", "email": "{SECRETS["email"]}"'
    return Record(topic, 0, number, None, value.encode(), ((b"x", SECRETS["header"].encode()),), NOW)


def erasure(number: int = 90, time: datetime = NOW) -> Record:
    """The customer's erasure."""
    return record("shop.customer.erased.v1", number, {}, time=time)


def other() -> Record:
    """A malformed record of another customer."""
    return Record(topics.PURCHASES, 0, 99, OTHER.encode(), b"{", (), NOW)
