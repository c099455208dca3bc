"""Which ports the stack listens on, and whether a broker in the environment is its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter

from deploy.local.layout import Layout, write_private
from deploy.local.ports import LOOPBACK, free_port, is_free
from deploy.local.program import StartError
from services import SERVICES

GATEWAY: Final = "gateway"
BROKER: Final = "broker"
POSTGRES: Final = "postgres"
SMTP: Final = "smtp"
MAIL: Final = "mail"

DEFAULTS: Mapping[str, int] = {
    GATEWAY: 8000,
    BROKER: 9092,
    POSTGRES: 5432,
    SMTP: 1025,
    MAIL: 8025,
    **{service: 8101 + number for number, service in enumerate(SERVICES)},  # the probes of the workers
}


@dataclass(frozen=True)
class Addresses:
    """The ports of the last start by name, and every Kafka bootstrap of a broker that the stack has run."""

    ports: Mapping[str, int] = field(default_factory=dict)
    own: frozenset[str] = frozenset()


_ADDRESSES: Final = TypeAdapter(Addresses)


def read(layout: Layout) -> Addresses:
    """The choice of the last start; empty before the first."""
    try:
        return _ADDRESSES.validate_json(layout.addresses_file.read_bytes())
    except FileNotFoundError:
        return Addresses()


def choose(layout: Layout, gateway: int | None) -> Addresses:
    """Choose the ports of this start, and keep them for the next, so that scripts go on working.

    A port that is taken is replaced by a free one, except `gateway` if it is given.

    Raises:
        StartError: the requested port is taken.
    """
    before = read(layout)
    if gateway is not None and not is_free(gateway):
        raise StartError(f"port {gateway} is taken by another program; choose another one with --port")
    ports: dict[str, int] = {}
    for name, default in DEFAULTS.items():
        wishes = [before.ports.get(name, default), default]
        if name == GATEWAY:
            wishes = [default] if gateway is None else [gateway]
        open_ = (port for port in wishes if port not in ports.values() and is_free(port))
        ports[name] = next(open_, None) or free_port()
    addresses = Addresses(ports, before.own | {f"{LOOPBACK}:{ports[BROKER]}"})
    write_private(layout.addresses_file, _ADDRESSES.dump_json(addresses, indent=2).decode() + "\n")
    return addresses


def foreign_broker(layout: Layout, environment: Mapping[str, str]) -> str | None:
    """The broker that the environment names; None if it names none, or this stack's own.

    A shell that sourced the env file names the broker of an earlier start. If something answers there while this
    stack is down, it is another broker.
    """
    bootstrap = environment.get("WAFA_KAFKA_BOOTSTRAP")
    if not bootstrap:
        return None
    host, _, port = bootstrap.rpartition(":")
    was_ours = bootstrap in read(layout).own and host == LOOPBACK
    return None if was_ours and is_free(int(port)) else bootstrap
