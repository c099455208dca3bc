"""Guards requests to URLs that others chose, such as webhooks, against reaching what is not public (SSRF).

A URL is checked when it is given, without looking its name up, and again at each request. Then the name is resolved
once for each connection; if all its addresses are public, the connection goes to one of them and to no other, so it
does not matter what the name resolves to next. The certificate is verified for the name.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, cast

import httpcore
import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises OSError if there are none."""

LONGEST_URL: Final = 2_048
RESOLVE_SECONDS: Final = 5.0

_MOST_ADDRESSES: Final = 4
"""Addresses of a name that are tried, one after the other."""
_FIRST_FREE_PORT: Final = 1_024
_LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))

# The registries of IANA for special purposes, and not Python's `is_global`, which differs between its versions.
_REFUSED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # a public address, but on machines of Azure it is the agent of the host
    )
)  # fmt: skip
# Only 2000::/3 is global unicast. That leaves out IPv4 in other clothes: mapped, compatible, translated (NAT64).
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo, which holds IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4, which holds IPv4 addresses
        "3fff::/20",
    )
)
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Not the threads of the event loop: names that resolve slowly delay nothing but each other.
_THREADS: Final = ThreadPoolExecutor(16, thread_name_prefix="look-up")


class RefusedUrl(ValueError):
    """The URL may not be called; the message says why, in words for whoever gave it."""


class RefusedTarget(httpx.ConnectError):
    """No connection was made: the URL, or an address of its name, may not be called."""


class _RefusedAddress(httpcore.ConnectError):
    pass


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a list such as `10.1.0.0/16, fd00::/8`, separated by commas.

    Raises:
        ValueError: one of them is not a network; the message names it.
    """
    parts = [part.strip() for part in text.split(",")]
    return tuple(ipaddress.ip_network(part) for part in parts if part)


def is_public(address: Address) -> bool:
    """Whether an address is unicast and global: reachable from the whole internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return not any(address in network for network in _REFUSED_V6)


async def look_up(name: str) -> list[str]:
    """The addresses of a name, as the system resolves it.

    Raises:
        OSError: there are none.
    """
    found = await asyncio.get_running_loop().run_in_executor(_THREADS, _look_up, name)
    return list(dict.fromkeys(found))


def _look_up(name: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


class Guard:
    """Says which URLs and addresses may be called: public ones, and those in the networks that are allowed."""

    def __init__(self, allow: Iterable[Network] = (), resolve: Resolve = look_up) -> None:
        self._allow = tuple(allow)
        self._resolve = resolve

    def check(self, url: str | httpx.URL) -> httpx.URL:
        """Check a URL without resolving its name: scheme, user, fragment, host and port.

        Only to an allowed address that is written as such, or to `localhost` if that is allowed, may a URL be http.

        Raises:
            RefusedUrl: it may not be called.
        """
        if len(str(url)) > LONGEST_URL:
            raise RefusedUrl(f"is longer than {LONGEST_URL} characters")
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise RefusedUrl("is not a URL") from None
        if parsed.scheme not in {"https", "http"} or not parsed.raw_host:
            raise RefusedUrl("has to be an https:// URL")
        if parsed.userinfo:
            raise RefusedUrl("has to be a URL without a user")
        if "#" in str(url):
            raise RefusedUrl("has to be a URL without a fragment")
        addresses = _literals(parsed.raw_host.decode("ascii").lower())
        if not all(self.allows(address) for address in addresses):
            raise RefusedUrl("has to lead to a public address")
        if parsed.scheme == "http" and not (addresses and all(self._is_listed(address) for address in addresses)):
            raise RefusedUrl("has to be an https:// URL")
        if parsed.port is not None and not (parsed.port == 443 or _FIRST_FREE_PORT <= parsed.port <= 65_535):
            raise RefusedUrl(f"has to have the port 443, or one from {_FIRST_FREE_PORT} to 65535")
        return parsed

    def allows(self, address: Address) -> bool:
        """Whether an address may be called."""
        return is_public(address) or self._is_listed(address)

    async def addresses(self, host: str) -> list[Address]:
        """The addresses of a host of which all may be called, resolved now.

        Raises:
            RefusedTarget: one of them may not be called.
            OSError: there are none.
            TimeoutError: the resolver did not answer in time.
        """
        try:
            found: Sequence[Address] = [ipaddress.ip_address(host)]
        except ValueError:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = [ipaddress.ip_address(address) for address in await self._resolve(host)]
        if not found:
            raise OSError("the name has no address")
        # One that is not public among public ones is an attempt to get past this check.
        if not all(self.allows(address) for address in found):
            raise RefusedTarget("the name leads to an address that is not public")
        return list(found)

    def transport(self, connections: int = 64, verify: ssl.SSLContext | None = None) -> httpx.AsyncBaseTransport:
        """A transport that calls only what may be called, by at most so many connections at a time.

        It knows no proxy. Redirects are up to the client; each is checked like any other request.
        """
        return _Transport(self, connections, verify or httpx.create_ssl_context())

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._allow)


def _literals(host: str) -> Sequence[Address]:
    """The addresses that a host is by itself; none for a name that has to be resolved.

    Raises:
        RefusedUrl: it is neither a name nor an address as one writes it.
    """
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    labels = host.split(".")
    # Systems read 127.1, 0x7f000001 and 017700000001 as addresses, and not all of them alike.
    if not _NAME.fullmatch(host) or len(host) > 253 or _NUMBER.fullmatch(labels[-1]):
        raise RefusedUrl("has to have a host name, or an address in its usual form")
    return _LOOPBACK if labels[-1] == "localhost" else ()


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, guard: Guard, connections: int, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._guard = guard
        # httpx has no argument for the backend, which makes the connections of its pool.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5.0,
            network_backend=_Backend(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            self._guard.check(request.url)
        except RefusedUrl as error:
            raise RefusedTarget(f"the URL {error}", request=request) from None
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectError as error:
            if isinstance(error.__cause__, _RefusedAddress):
                raise RefusedTarget(str(error), request=request) from error
            raise


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked; TLS, with the name of the URL, is up to the pool."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        end = time.monotonic() + (timeout or 60.0)
        try:
            async with asyncio.timeout(timeout):
                addresses = (await self._guard.addresses(host))[:_MOST_ADDRESSES]
        except RefusedTarget as error:
            raise _RefusedAddress(str(error)) from None
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except (OSError, UnicodeError, ValueError):
            raise httpcore.ConnectError("the name was not resolved") from None
        failure: Exception = httpcore.ConnectTimeout()
        for tried, address in enumerate(addresses):
            seconds = max(0.1, (end - time.monotonic()) / (len(addresses) - tried))
            try:
                return await self._backend.connect_tcp(str(address), port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
