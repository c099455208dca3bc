"""Examples of events that backends publish: Layla's order, her review, her friend Omar."""

from typing import Any, Final

from shared.contracts.examples.example import Example

_TILL: Final = "/shop/checkout"
_SITE: Final = "/shop/site"


def _example(kind: str, number: int, source: str, time: str, **data: Any) -> Example:  # noqa: ANN401 fields of any type
    return Example(f"shop.{kind}.v1", f"evt-{number}", source, time, data)


_LAYLA: Final = {
    "name": "ليلى حداد",
    "email": "layla@example.org",
    "phone": "+962790000000",
    "locale": "ar-JO",
    "time_zone": "Asia/Amman",
    "country": "JO",
    "birth_date": "1991-03-08",
    "heard_from": "friend",
    "device_id": "dev-77f0",
    "ip": "192.0.2.10",
    "marketing_consent": {"email": True, "sms": False, "push": True},
}

SHOP: Final = (
    _example(
        "purchase.completed",
        1001,
        _TILL,
        "2026-03-14T10:26:53.589Z",
        customer_id="c-1042",
        order_id="SO-2026-10457",
        currency="USD",
        total="129.90",
        lines=[
            {"line_id": "1", "sku": "COFFEE-1KG", "category": "GROCERY", "quantity": 2, "amount": "49.90"},
            {"line_id": "2", "sku": "مصباح-٧", "category": "منزل", "quantity": 1, "amount": "80.00"},
            {"line_id": "3", "sku": "TOTE-BAG", "quantity": 1, "amount": "0.00"},
        ],
        channel="web",
        store_id="amman-1",
        coupon_codes=["WELCOME"],
    ),
    _example(
        "purchase.refunded",
        1002,
        "/shop/returns",
        "2026-03-20T08:00:00+03:00",
        customer_id="c-1042",
        order_id="SO-2026-10457",
        refund_id="RF-2026-311",
        currency="USD",
        amount="24.95",
        lines=[{"line_id": "1", "quantity": 1, "amount": "24.95"}],
    ),
    _example(
        "purchase.delivered",
        1003,
        "/shop/shipping",
        "2026-03-16T15:40:00Z",
        customer_id="c-1042",
        order_id="SO-2026-10457",
    ),
    _example(
        "order.status_changed",
        1012,
        "/shop/shipping",
        "2026-03-15T09:10:00Z",
        customer_id="c-1042",
        order_id="SO-2026-10457",
        status="shipped",
        expected_at="2026-03-17T18:00:00Z",
        carrier="Example Post",
        tracking_url="https://post.example.org/track/EP123456789",
    ),
    _example(
        "review.published",
        1004,
        _SITE,
        "2026-03-18T19:05:12Z",
        customer_id="c-1042",
        review_id="rev-9001",
        sku="COFFEE-1KG",
        rating=5,
        verified_purchase=True,
        text_length=240,
        photo_count=2,
    ),
    _example(
        "review.withdrawn",
        1005,
        _SITE,
        "2026-03-25T07:30:00Z",
        customer_id="c-1042",
        review_id="rev-9001",
    ),
    _example(
        "referral.signed_up",
        1006,
        _SITE,
        "2026-03-15T12:00:00Z",
        customer_id="c-2077",
        code="LAYLA-7K2M",
        email="omar@example.org",
        device_id="dev-18ac",
        ip="198.51.100.23",
        user_agent="Mozilla/5.0 (Android 15)",
        payment_fingerprint="card-5f2e",
    ),
    _example("customer.registered", 1007, _SITE, "2026-03-01T09:00:00Z", customer_id="c-1042", **_LAYLA),
    _example(
        "customer.updated",
        1008,
        _SITE,
        "2026-04-02T11:15:00Z",
        customer_id="c-1042",
        phone=None,
        locale="en",
        marketing_consent={"email": False},
    ),
    _example("customer.erased", 1009, _SITE, "2027-01-05T00:00:00Z", customer_id="c-1042"),
    _example(
        "activity.performed",
        1010,
        "/shop/app",
        "2026-03-22T18:45:00Z",
        customer_id="c-1042",
        activity_id="act-55",
        activity="quiz",
        properties={"quiz": "coffee-or-tea", "score": 8},
    ),
    _example(
        "survey.answered",
        1011,
        "/shop/surveys",
        "2026-03-23T06:10:00Z",
        customer_id="c-1042",
        answer_id="ans-310",
        survey="nps",
        score=9,
        order_id="SO-2026-10457",
        comment="خدمة ممتازة وتوصيل سريع",
    ),
)
