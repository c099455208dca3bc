"""Requests to addresses that others chose, such as webhooks and push endpoints: to public addresses only.

A name is resolved at each connection, every address that it has is checked, and the connection goes to an address that
was checked: a name cannot change in between (DNS rebinding).
"""

import asyncio
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

import httpcore
import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL: Final = 2_000

# Addresses that embed those of IPv4: they lead wherever that address does.
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
_RELAY_6TO4: Final = IPv4Network("192.88.99.0/24")

_RESOLVERS: Final = 8  # threads: the system's resolver blocks
_FAILED_SECONDS: Final = 15.0
_FAILED_KEPT: Final = 10_000


class RefusedAddressError(Exception):
    """A URL leads where it may not: the message says why, without the address."""


def networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation, separated by commas.

    Raises:
        ValueError: one is not a network.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_public(address: Address) -> bool:
    """Whether an address is that of a host on the Internet, also by what it embeds."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
        if embedded is not None:
            return is_public(embedded)
        if address in _LOCAL_NAT64 or address.is_site_local:
            return False
    elif address in _RELAY_6TO4:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class Guard:
    """What may be reached: public addresses, and those of the networks in `allowed`, these also over plain HTTP."""

    def __init__(self, allowed: Iterable[Network] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = tuple(allowed)
        self._clock = clock
        # The default threads of the event loop are for others: a name server that hangs must not take them.
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolver")
        self._failed: OrderedDict[str, float] = OrderedDict()

    def may_reach(self, address: Address) -> bool:
        """Whether connections to an address are allowed."""
        return self.is_allowed(address) or is_public(address)

    def is_allowed(self, address: Address) -> bool:
        """Whether an address is in a network that was allowed."""
        return any(address in network for network in self._allowed)

    def check(self, url: str) -> None:
        """Refuse a URL that can never be reached, before anything is sent to it; names are not resolved.

        Raises:
            RefusedAddressError: it is no URL with https, or its host is an address that may not be reached.
        """
        parts = _split(url)
        literal = _literal(parts.hostname or "")
        if literal is not None and not self.may_reach(literal):
            raise RefusedAddressError("the address is not public")
        may_be_plain = literal is None or self.is_allowed(literal)
        if parts.scheme != "https" and not (self._allowed and may_be_plain):
            raise RefusedAddressError("the URL has to begin with https://")

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a name, of which every one may be reached.

        Raises:
            OSError: the name has no address. It is not asked for again for 15 seconds.
            RefusedAddressError: one of them may not be reached.
        """
        if self._failed.get(host, 0.0) > self._clock():
            raise OSError("the name had no address a moment ago")
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        except BaseException:  # also when the caller's time is over: the next one must not wait as long
            self._failed[host] = self._clock() + _FAILED_SECONDS
            while len(self._failed) > _FAILED_KEPT:
                self._failed.popitem(last=False)
            raise
        if not all(self.may_reach(address) for address in found):
            raise RefusedAddressError("the address is not public")
        return found


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects where a guard lets it. Give it to a client without redirects and with `trust_env=False`: a proxy of the
    environment would connect in its place.

    `context` is what TLS checks; by default certificates of public authorities.
    """

    def __init__(self, guard: Guard, connections: int = 100, context: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._connections = connections
        self._context = context
        self._transport: _Pinned | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            RefusedAddressError: it leads where it may not.
            httpx.HTTPError: there is no connection, or no answer.
        """
        self._guard.check(str(request.url))
        if request.url.scheme == "http":
            await self._refuse_plain(request.url)
        if self._transport is None:  # loading certificates takes a while: not before they are needed
            self._transport = _Pinned(self._guard, self._connections, self._context or httpx.create_ssl_context())
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.aclose()

    async def _refuse_plain(self, url: httpx.URL) -> None:
        """Only networks that were allowed are reached without TLS."""
        try:
            found = await self._guard.resolve(url.host, url.port or 80)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        if not all(self._guard.is_allowed(address) for address in found):
            raise RefusedAddressError("the URL has to begin with https://")


class _Pinned(httpx.AsyncHTTPTransport):
    """The transport of httpx, whose connections go to addresses that were checked."""

    def __init__(self, guard: Guard, connections: int, context: ssl.SSLContext) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(guard),
        )


class _Backend(httpcore.AsyncNetworkBackend):
    """Resolves by the guard. TLS still checks the certificate against the name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._sockets = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers, each of which has a share of the time."""
        try:
            async with asyncio.timeout(timeout):
                found = await self._guard.resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(type(error).__name__) from error
        share = None if timeout is None else timeout / len(found)
        for address in found[:-1]:
            try:
                return await self._sockets.connect_tcp(str(address), port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(str(found[-1]), port, share, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts."""
        await self._sockets.sleep(seconds)


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise RefusedAddressError("the URL is too long, or has characters that URLs do not have")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedAddressError("this is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise RefusedAddressError("the URL has to begin with https:// and a host")
    if "@" in parts.netloc:
        raise RefusedAddressError("the URL must not have a user")
    if parts.fragment:
        raise RefusedAddressError("the URL must not have a fragment")
    return parts


def _literal(host: str) -> Address | None:
    """The address that a host is written as, also as `127.1` or `2130706433`, or by a name that is always one's own."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return list(dict.fromkeys(addresses))
