"""Lines of JSON on a topic: which are sent, and the errors of lines that are not events."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from deploy.local import publish
from deploy.local.publish import LONGEST_LINE, TOPICS, RefusedError, check
from shared.contracts.examples import EXAMPLES
from shared.contracts.registry import TYPES
from shared.messaging.kafka import Broker

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Producer:
    """A producer that records what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]] = []
        self.stopped = False

    async def start(self) -> None:
        pass

    async def send(self, topic: str, value: bytes, *, key: bytes, headers: list[tuple[str, bytes]]) -> Any:
        self.sent.append((topic, key, value, headers))

        async def acknowledged() -> None:
            pass

        return acknowledged()

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Producer]:
    fake = Producer()
    monkeypatch.setattr(Broker, "producer", lambda _: fake)
    monkeypatch.setattr(publish, "broker_of", lambda _: Broker("nowhere:1", "test"))
    yield fake
    assert fake.stopped


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    data = {"customer_id": "ليلى", "order_id": f"A-{number}", "currency": "USD", "total": "129.90"}
    head = {"specversion": "1.0", "id": f"e-{number}", "source": "/shop", "type": "shop.purchase.completed.v1"}
    return head | {"time": "2026-10-01T10:00:00Z", "data": data} | changes


def lines(*given: dict[str, Any] | bytes) -> io.BytesIO:
    return io.BytesIO(
        b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in given)
    )


def test_events_are_sent_unchanged_and_keyed_by_customer(producer: Producer, capsys: pytest.CaptureFixture[str]):
    assert publish.publish({}, "shop.purchases", lines(event(1), b"", b"  ", event(2))) == 0
    header = ("content-type", b"application/cloudevents+json")
    assert producer.sent == [
        ("shop.purchases", "ليلى".encode(), json.dumps(event(number)).encode(), [header]) for number in (1, 2)
    ]
    assert capsys.readouterr() == ("published 2 to shop.purchases\n", "")


def test_invalid_lines_are_reported_by_number_and_the_others_are_sent(
    producer: Producer, capsys: pytest.CaptureFixture[str]
):
    long = json.dumps(event(3) | {"comment": "x" * LONGEST_LINE}).encode()
    given = lines(event(1), b"nonsense", event(2, data={"customer_id": "c"}), long, event(4))
    assert publish.publish({}, "shop.purchases", given) == 1
    assert [json.loads(value)["id"] for _, _, value, _ in producer.sent] == ["e-1", "e-4"]
    output, refused = capsys.readouterr()
    assert output == "published 2 to shop.purchases, refused 3\n"
    assert [line.partition(": ")[0::2] for line in refused.splitlines()] == [
        ("line 2", "not_json: JSON is malformed: invalid character (byte 4)"),
        ("line 3", "missing_field: data.order_id: Field required"),
        ("line 4", "longer than 1,000,000 bytes"),
    ]


def test_the_last_line_needs_no_line_break(producer: Producer):
    assert publish.publish({}, "shop.purchases", io.BytesIO(json.dumps(event()).encode())) == 0
    assert len(producer.sent) == 1


def test_empty_input_publishes_nothing(producer: Producer, capsys: pytest.CaptureFixture[str]):
    assert publish.publish({}, "shop.purchases", io.BytesIO()) == 0
    assert capsys.readouterr().out == "published 0 to shop.purchases\n"


@pytest.mark.parametrize("topic", TOPICS)
def test_every_example_of_the_contract_is_accepted_on_its_topic_only(topic: str):
    examples = [example for example in EXAMPLES.values() if example.type.startswith("shop.")]
    assert {TYPES[example.type].topic for example in examples} == set(TOPICS)
    later = NOW + timedelta(days=365)  # later than every example
    for example in examples:
        value = json.dumps(example.envelope()).encode()
        if TYPES[example.type].topic == topic:
            assert check(topic, value, later) == example.data["customer_id"].encode()
        else:
            with pytest.raises(RefusedError, match=f"^bad_field: type: {example.type} travels on"):
                check(topic, value, later)


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"type": "shop.purchase.made.v1"},
            "type: has to be one of shop.order.status_changed.v1, shop.purchase.completed.v1, ",
        ),
        ({"specversion": "0.3"}, "not_a_cloudevent: specversion: has to be 1.0"),
        ({"time": (NOW + timedelta(days=2)).isoformat()}, "time_in_future: time: "),
        ({"data": {"order_id": "A-1", "currency": "USD", "total": "1"}}, "missing_field: data.customer_id: "),
        ({"data": None}, "bad_field: data: "),
        ({"data": {"customer_id": "a/b"}}, "missing_field: "),
        ({"data": {"customer_id": "\ud800", "order_id": "A", "currency": "USD", "total": "1"}}, "bad_field: "),
        ({"subject": "somebody else"}, "bad_field: subject: "),
    ],
)
def test_a_line_that_a_service_would_refuse_is_refused(changes: dict[str, Any], words: str):
    with pytest.raises(RefusedError) as refused:
        check("shop.purchases", json.dumps(event(**changes)).encode(), NOW)
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_an_unreachable_broker_is_a_one_line_error(producer: Producer, monkeypatch: pytest.MonkeyPatch):
    async def send(*_: object, **__: object) -> None:
        raise KafkaConnectionError("no")

    monkeypatch.setattr(producer, "send", send)
    with pytest.raises(publish.StartError, match="Kafka at nowhere:1: "):
        publish.publish({"WAFA_KAFKA_BOOTSTRAP": "nowhere:1"}, "shop.purchases", lines(event()))
