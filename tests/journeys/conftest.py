"""The journeys run twice: on the embedded broker (`make test`) and on Apache Kafka (`make test-kafka`)."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from services import SERVICES
from tests.journeys.shop import Shop
from tests.support.stack import Broker, Stack


# Of the package and not of the session: an idle stack asks its broker for news many times a second.
@pytest.fixture(
    scope="package",
    params=[
        # One process of pytest-xdist runs them all: a stack is dear to start.
        pytest.param("embedded", marks=[pytest.mark.journey, pytest.mark.xdist_group("journeys")]),
        pytest.param("apache", marks=pytest.mark.kafka),
    ],
)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker."""
    made = EmbeddedBroker() if request.param == "embedded" else ApacheKafka(tmp_path_factory.mktemp("kafka"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def stack(broker: Broker, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The broker with a worker of each service; at the end each of them stops in order."""
    made = asyncio.run(Stack.make(broker, postgres_url, tmp_path_factory.mktemp("stack")))
    try:
        asyncio.run(made.ready(*(made.worker(service) for service in SERVICES)))
        yield made
        codes = asyncio.run(made.fleet.end_workers())
        assert sorted(codes.values()) == [0] * len(SERVICES), codes
    finally:
        made.stop()


@pytest.fixture(scope="package")
def shop(stack: Stack) -> Shop:
    """A backend that publishes."""
    return Shop(stack.producer())
