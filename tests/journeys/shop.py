"""A shop's backend: a foreign client that writes CloudEvents by hand, in either mode."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

TOPICS = {
    "shop.purchase": "shop.purchases",
    "shop.review": "shop.reviews",
    "shop.referral": "shop.referrals",
    "shop.customer": "shop.customers",
    "shop.activity": "shop.activities",
}
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]

Headers = Sequence[tuple[str, bytes]]

_numbers = itertools.count(1)


def name(prefix: str) -> str:
    """An id that no other journey has."""
    return f"{prefix}-{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class Shop:
    """Publishes, and waits for the acknowledgement of each."""

    producer: Producer

    def publish(self, type_: str, data: dict[str, Any], *, binary: bool = False, **attributes: Any) -> str:
        """Publish an event of the customer in its data; returns its id."""
        event = self.event(type_, data, **attributes)
        topic, key = TOPICS[type_.rpartition(".")[0].rpartition(".")[0]], data["customer_id"]
        if binary:
            headers = [(f"ce_{field}", str(value).encode()) for field, value in event.items() if field != "data"]
            self.send(topic, key, json.dumps(data).encode(), [("content-type", b"application/json"), *headers])
        else:
            self.send(topic, key, json.dumps(event).encode())
        return event["id"]

    def event(self, type_: str, data: dict[str, Any], **attributes: Any) -> dict[str, Any]:
        """A CloudEvent; attributes have defaults."""
        return {
            "specversion": "1.0",
            "id": name("event"),
            "source": "/shop/web",
            "type": type_,
            "time": "2026-03-01T12:00:00Z",
            **attributes,
            "data": data,
        }

    def purchase(self, customer: str, order: str, total: str, **attributes: Any) -> str:
        """Publish a completed purchase in USD."""
        data = {"customer_id": customer, "order_id": order, "currency": "USD", "total": total}
        return self.publish("shop.purchase.completed.v1", data, **attributes)

    def refund(self, customer: str, order: str, amount: str, *, currency: str = "USD", **attributes: Any) -> str:
        """Publish a refund of an order."""
        data = {"customer_id": customer, "order_id": order, "refund_id": name("refund")}
        data |= {"currency": currency, "amount": amount}
        return self.publish("shop.purchase.refunded.v1", data, **attributes)

    def send(self, topic: str, key: str | None, value: bytes | None, headers: Headers = STRUCTURED) -> None:
        """Publish a record as it is."""
        failed: list[KafkaError] = []

        def told(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        self.producer.produce(topic, value, key=key, headers=list(headers), on_delivery=told)
        left = self.producer.flush(20)
        assert not left
        assert not failed
