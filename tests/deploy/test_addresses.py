import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import addresses, ports
from deploy.local.addresses import BROKER, DEFAULTS, GATEWAY
from deploy.local.layout import Layout
from deploy.local.ports import LOOPBACK
from deploy.local.program import StartError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_all_ports_differ(layout: Layout):
    chosen = addresses.choose(layout, None).ports
    assert set(chosen) == set(DEFAULTS)
    assert len(set(chosen.values())) == len(chosen)


def test_a_requested_port_is_used_or_it_is_an_error(layout: Layout, taken: int):
    free = ports.free_port()
    assert addresses.choose(layout, free).ports[GATEWAY] == free
    with pytest.raises(StartError, match=f"port {taken} is taken"):
        addresses.choose(layout, taken)


def test_an_occupied_default_port_is_replaced_by_a_free_one(
    layout: Layout, taken: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(addresses, "DEFAULTS", {GATEWAY: taken, BROKER: taken})
    chosen = addresses.choose(layout, None).ports
    assert taken not in chosen.values()
    assert all(ports.is_free(port) for port in chosen.values())


def test_the_next_start_has_the_same_ports(layout: Layout, monkeypatch: pytest.MonkeyPatch, taken: int):
    monkeypatch.setattr(addresses, "DEFAULTS", {GATEWAY: ports.free_port(), BROKER: taken})
    assert addresses.choose(layout, None).ports == addresses.choose(layout, None).ports


def test_the_stacks_own_earlier_broker_is_not_foreign(layout: Layout):
    assert addresses.foreign_broker(layout, {}) is None
    chosen = addresses.choose(layout, None)
    own = f"{LOOPBACK}:{chosen.ports[BROKER]}"
    assert addresses.foreign_broker(layout, {"WAFA_KAFKA_BOOTSTRAP": own}) is None
    assert addresses.foreign_broker(layout, {"WAFA_KAFKA_BOOTSTRAP": "kafka:9092"}) == "kafka:9092"


def test_another_broker_on_a_former_port_of_the_stack_is_foreign(layout: Layout, monkeypatch: pytest.MonkeyPatch):
    port = ports.free_port()
    monkeypatch.setattr(addresses, "DEFAULTS", {GATEWAY: ports.free_port(), BROKER: port})
    addresses.choose(layout, None)
    own = {"WAFA_KAFKA_BOOTSTRAP": f"{LOOPBACK}:{port}"}
    with socket.create_server((LOOPBACK, port)):
        assert addresses.foreign_broker(layout, own) == f"{LOOPBACK}:{port}"
    assert addresses.foreign_broker(layout, own) is None
