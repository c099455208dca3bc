"""What the signals `blocklist` and `disposable_email` look for, as hashes."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from disposable_email_domains import blocklist as disposable_domains

from services.referrals.rules.evidence import normal
from services.referrals.rules.evidence.keys import EvidenceKey
from services.referrals.rules.evidence.kinds import Kind
from services.referrals.rules.program.compiled import Blocklist

WIDEST: Final = {4: 8, 6: 32}
"""The shortest prefix of a network in a block list, by version of IP."""

MOST_NETWORKS: Final = 2**18
"""The most stored values that the networks of a block list may cover: their hashes are computed once per version."""


class Listed(NamedTuple):
    """Hashes of the values that are looked for."""

    blocked: frozenset[bytes]
    disposable: frozenset[bytes]


@lru_cache(maxsize=4)
def listed(key: EvidenceKey, blocklist: Blocklist) -> Listed:
    """The hashes of a block list, and of the domains of disposable addresses."""
    return Listed(frozenset(_blocked(key, blocklist)), _disposable(key))


@lru_cache(maxsize=2)
def _disposable(key: EvidenceKey) -> frozenset[bytes]:
    return frozenset(key.hash(Kind.DOMAIN, name) for name in disposable_domains)


def _blocked(key: EvidenceKey, blocklist: Blocklist) -> Iterator[bytes]:
    for address in blocklist.addresses:
        if (mailbox := normal.mailbox(address)) is not None:
            yield key.hash(Kind.EMAIL, mailbox.text)
    for name in blocklist.domains:
        if (domain := normal.domain(name.strip().removeprefix("@"))) is not None:
            yield key.hash(Kind.DOMAIN, domain)
    for country in blocklist.countries:
        yield key.hash(Kind.COUNTRY, country)
    for network in blocklist.networks:
        for kind, text in stored_as(network):
            yield key.hash(kind, text)


def stored_as(network: IPv4Network | IPv6Network) -> Iterator[tuple[Kind, str]]:
    """The values of evidence that a network covers: single addresses, or networks as they are stored.

    IPv6 addresses are stored by their /64 only, so that a narrower network covers the whole of it. A network that is
    too wide for a block list covers nothing.
    """
    if is_too_wide(network):
        return
    address, of_network = _STORED[network.version]
    if network.prefixlen > address:
        network = network.supernet(new_prefix=address)
    kind = Kind.IP if network.prefixlen > of_network else Kind.NETWORK
    for part in network.subnets(new_prefix=address if kind is Kind.IP else of_network):
        yield kind, str(part.network_address) if kind is Kind.IP and network.version == 4 else str(part)


def is_too_wide(network: IPv4Network | IPv6Network) -> bool:
    """Whether a network is wider than a block list may have."""
    return network.prefixlen < WIDEST[network.version]


def width(network: IPv4Network | IPv6Network) -> int:
    """How many stored values a network covers."""
    address, of_network = _STORED[network.version]
    stored = address if network.prefixlen > of_network else of_network
    return 1 << max(0, stored - network.prefixlen)


_STORED: Final = {4: (32, 24), 6: (64, 48)}
"""The prefixes by which addresses and networks are stored, by version of IP."""
