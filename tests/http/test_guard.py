"""Requests to addresses that others chose reach public addresses only, whatever names say."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http import guard
from shared.http.guard import Guard, GuardedTransport, RefusedAddressError, networks
from tests.notifications.channels import certificates
from tests.notifications.channels.web import FakeWeb, answer, serving

LOOPBACK = networks("127.0.0.0/8, ::1/128")

PRIVATE = [
    *("127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "::127.0.0.1"),
    "2001:0:0:0:0:ffff:80ff:fffe",  # Teredo of 127.0.0.1
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str):
    assert not guard.is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str):
    assert guard.is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_what_embeds_an_address_is_as_public_as_it(address: Any):
    for text in (f"::ffff:{address}", str(ip_address((0x64FF9B << 96) | int(address)))):
        assert guard.is_public(ip_address(text)) == guard.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://{f'[{address}]' if ':' in address else address}/hook" for address in PRIVATE),
        *("https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://127.1/", "https://2130706433/"),
        *("https://0x7f.1/", "https://0177.0.0.1/", "https://127.0.0.1./", "https://[fe80::1%25eth0]/"),
        *("http://shop.example.org/", "ftp://shop.example.org/", "//shop.example.org/", "shop.example.org", ""),
        *("https://user@shop.example.org/", "https://user:pass@shop.example.org/", "https://@127.0.0.1/"),
        *("https:///path", "https://", "https://shop.example.org:0/", "https://shop.example.org:99999/"),
        *("https://shop.example.org/#a", "https://shop.example.org\\@127.0.0.1/", "https://a b/", "https://a\n/"),
        *("https://[::1", "https://مثال/", f"https://shop.example.org/{'x' * 2000}", "file:///etc/passwd"),
    ],
)
def test_urls_that_are_refused_at_once(url: str):
    with pytest.raises(RefusedAddressError):
        Guard().check(url)


@pytest.mark.parametrize(
    "url", ["https://shop.example.org/a?b=c", "https://shop.example.org:8443/", "https://8.8.8.8/"]
)
def test_urls_that_are_not(url: str):
    Guard().check(url)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_a_url(text: str):
    try:
        Guard().check(text)
    except RefusedAddressError:
        return
    assert text.lower().startswith("https://")


def test_allowed_networks_are_reached_also_without_tls():
    local = Guard(LOOPBACK)
    local.check("http://127.0.0.1:8025/push/1")
    local.check("https://[::1]/")
    local.check("http://localhost/")
    for url in ("http://10.0.0.1/", "http://8.8.8.8/", "https://10.0.0.1/", "ftp://127.0.0.1/"):
        with pytest.raises(RefusedAddressError):
            local.check(url)
    for wrong in ("127.0.0.1/8", "x", "1.2.3.4/99"):
        with pytest.raises(ValueError, match=r"."):
            networks(wrong)


Names = dict[str, Sequence[str] | Exception]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What the name server says."""
    said: Names = {}

    def look_up(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        known = said.get(host, [host])
        if isinstance(known, Exception):
            raise known
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(guard.socket, "getaddrinfo", look_up)
    return said


@pytest.fixture
async def fake() -> AsyncIterator[FakeWeb]:
    async with serving(FakeWeb(lambda _: answer(200, {"ok": True}))) as fake:
        yield fake


async def get(url: str, of: Guard, context: ssl.SSLContext | None = None) -> httpx.Response:
    transport = GuardedTransport(of, context=context)
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=2.0) as client:
        return await client.get(url)


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]])
async def test_a_name_with_an_address_that_is_not_public_is_refused(names: Names, fake: FakeWeb, found: list[str]):
    names["evil.example"] = found
    with pytest.raises(RefusedAddressError, match="not public"):
        await get(f"https://evil.example:{fake.port}/", Guard())
    assert fake.connections == 0


async def test_a_name_that_changes_is_connected_to_the_address_that_was_checked(
    fake: FakeWeb, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(guard.socket, "getaddrinfo", look_up)
    connected: list[str] = []

    async def connect(_self: object, host: str, *_: object) -> None:
        connected.append(host)
        raise guard.httpcore.ConnectError("no network here")

    monkeypatch.setattr(guard.httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpx.ConnectError):
        await get(f"https://evil.example:{fake.port}/", Guard())
    assert (asked, connected) == (["evil.example"], ["8.8.8.8"])


async def test_an_allowed_network_is_reached(names: Names, fake: FakeWeb):
    names["hook.test"] = ["127.0.0.1"]
    given = await get(f"http://hook.test:{fake.port}/a?b=c", Guard(LOOPBACK))
    assert given.json() == {"ok": True}
    assert (fake.requests[0].path, fake.requests[0].headers["host"]) == ("/a?b=c", f"hook.test:{fake.port}")


async def test_without_tls_only_allowed_networks_are_reached(names: Names, fake: FakeWeb):
    names["hook.test"] = ["8.8.8.8"]
    with pytest.raises(RefusedAddressError, match="https"):
        await get(f"http://hook.test:{fake.port}/", Guard(LOOPBACK))


async def test_redirects_are_not_followed(names: Names):
    async with serving(FakeWeb(lambda _: answer(302, location="http://127.0.0.1:1/"))) as fake:
        assert (await get(f"{fake.url}/", Guard(LOOPBACK))).status_code == 302
        assert len(fake.requests) == 1


async def test_a_certificate_is_checked_against_the_name(names: Names, tmp_path: Path):
    server, trusted = certificates.make(tmp_path)
    names["hook.test"] = ["127.0.0.1"]
    context = ssl.create_default_context(cafile=str(trusted))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(200))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert (await get(f"https://127.0.0.1:{port}/", Guard(LOOPBACK), context)).status_code == 200
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            await get(f"https://hook.test:{port}/", Guard(LOOPBACK), context)


async def test_the_next_address_is_tried_where_one_does_not_answer(names: Names, fake: FakeWeb):
    names["hook.test"] = ["127.0.0.2", "127.0.0.1"]
    assert (await get(f"http://hook.test:{fake.port}/", Guard(LOOPBACK))).status_code == 200


async def test_a_name_that_failed_is_not_asked_for_at_once_again(monkeypatch: pytest.MonkeyPatch):
    now, asked = [0.0], []

    def look_up(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        raise socket.gaierror("unknown")

    monkeypatch.setattr(guard.socket, "getaddrinfo", look_up)
    guarded = Guard(clock=lambda: now[0])
    for later in (0.0, 1.0, 14.9, 15.1):
        now[0] = later
        with pytest.raises(httpx.ConnectError):
            await get("https://nowhere.example/", guarded)
    assert asked == ["nowhere.example"] * 2


async def test_a_slow_name_server_delays_only_its_own_names(fake: FakeWeb, monkeypatch: pytest.MonkeyPatch):
    ends = threading.Event()

    def look_up(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if host == "slow.test":
            ends.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    guarded = Guard(LOOPBACK)
    monkeypatch.setattr(guard.socket, "getaddrinfo", look_up)
    try:
        slow = asyncio.create_task(get(f"http://slow.test:{fake.port}/", guarded))
        for _ in range(5):
            assert (await get(f"http://quick.test:{fake.port}/", guarded)).status_code == 200
        assert not slow.done()
    finally:
        ends.set()
    assert (await slow).status_code == 200
