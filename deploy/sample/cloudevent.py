"""A CloudEvent as a shop's backend publishes it to Kafka: structured mode, written by hand.

It uses no code of Wafa, so that the sample tests the contract and not Wafa's own models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

PURCHASES: Final = "shop.purchases"
REVIEWS: Final = "shop.reviews"
REFERRALS: Final = "shop.referrals"
CUSTOMERS: Final = "shop.customers"

PURCHASE_COMPLETED: Final = "shop.purchase.completed.v1"
PURCHASE_REFUNDED: Final = "shop.purchase.refunded.v1"
REVIEW_PUBLISHED: Final = "shop.review.published.v1"
REVIEW_WITHDRAWN: Final = "shop.review.withdrawn.v1"
SIGNED_UP: Final = "shop.referral.signed_up.v1"
REGISTERED: Final = "shop.customer.registered.v1"

HEADERS: Final = [("content-type", b"application/cloudevents+json; charset=utf-8")]


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event. (`source`, `id`) identifies it, so publishing it again has no effect."""

    topic: str
    type: str
    id: str
    source: str
    time: datetime
    data: Mapping[str, Any]

    @property
    def key(self) -> bytes:
        """The record key: the customer id."""
        return self.data["customer_id"].encode()

    def value(self) -> bytes:
        """The record value: the whole event as JSON."""
        return to_json(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": self.source,
                "type": self.type,
                "time": self.time.isoformat().replace("+00:00", "Z"),
                "subject": self.data["customer_id"],
                "datacontenttype": "application/json",
                "data": self.data,
            }
        )
