"""Which URLs and addresses may be called, and that connections go to the address that was checked."""

import asyncio
import ipaddress
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from shared.http import guard
from shared.http.guard import Guard, RefusedTarget, RefusedUrl, is_public, networks

LOOPBACK = networks("127.0.0.0/8, ::1/128")

PUBLIC = [
    "https://example.com",
    "https://example.com/hook?a=b",
    "https://example.com:8443/hook",
    "https://EXAMPLE.com:443/",
    "https://münchen.example/ü",
    "https://my_hooks.example.com/",
    "https://1.1.1.1/",
    "https://[2606:4700::1111]:8443/",
    "https://1password.com/",
]

REFUSED = {
    "http://example.com/": "has to be an https:// URL",
    "http://1.1.1.1/": "has to be an https:// URL",
    "http://127.0.0.1/": "has to lead to a public address",
    "ftp://example.com/": "has to be an https:// URL",
    "file:///etc/passwd": "has to be an https:// URL",
    "example.com/hook": "has to be an https:// URL",
    "//example.com/hook": "has to be an https:// URL",
    "https:///hook": "has to be an https:// URL",
    "https://": "has to be an https:// URL",
    "": "has to be an https:// URL",
    "https://user@example.com/": "has to be a URL without a user",
    "https://user:secret@example.com/": "has to be a URL without a user",
    "https://127.0.0.1:443@example.com/": "has to be a URL without a user",
    "https://example.com\\@10.0.0.1/": "has to be a URL without a user",
    "https://example.com/#part": "has to be a URL without a fragment",
    "https://example.com/#": "has to be a URL without a fragment",
    "https://exa mple.com/": "has to have a host name, or an address in its usual form",
    "https://exa%2emple.com/": "has to have a host name, or an address in its usual form",
    "https://example.com./": "has to have a host name, or an address in its usual form",
    "https://-.example.com/": "has to have a host name, or an address in its usual form",
    "https://１２７.0.0.1/": "is not a URL",
    "https://exa\tmple.com/": "is not a URL",
    "https://[::1/": "is not a URL",
    "https://0177.0.0.1/": "is not a URL",
    "https://example.com:80/": "has to have the port 443, or one from 1024 to 65535",
    "https://example.com:22/": "has to have the port 443, or one from 1024 to 65535",
    "https://example.com:0/": "has to have the port 443, or one from 1024 to 65535",
    "https://example.com:99999/": "has to have the port 443, or one from 1024 to 65535",
    "https://example.com/" + "a" * 2_048: "is longer than 2048 characters",
}

PRIVATE = [
    "localhost",
    "LOCALHOST",
    "hooks.localhost",
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.0.1",
    "198.19.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[fe80::1%25eth0]",
    "[2606:4700::1111%25eth0]",
]

UNUSUAL = ["127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "1.1.1.0x1", "127.0.0.1.", "0x"]


def resolving(*answers: Sequence[str]) -> Callable[[str], Any]:
    """A resolver that gives these answers one after the other; the last one again and again."""
    left = list(answers)

    async def resolve(_name: str) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


def reason(url: str, allow: Sequence[guard.Network] = ()) -> str | None:
    try:
        Guard(allow).check(url)
    except RefusedUrl as error:
        return str(error)
    return None


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_may_be_called(url: str):
    assert reason(url) is None


@pytest.mark.parametrize("url, why", REFUSED.items())
def test_other_urls_are_refused(url: str, why: str):
    assert reason(url) == why


@pytest.mark.parametrize("host", PRIVATE)
def test_literal_addresses_that_are_not_public_are_refused_at_once(host: str):
    assert reason(f"https://{host}/") == "has to lead to a public address"
    assert reason(f"https://{host}:8443/hook") == "has to lead to a public address"


@pytest.mark.parametrize("host", UNUSUAL)
def test_addresses_in_unusual_forms_are_refused(host: str):
    assert reason(f"https://{host}/", LOOPBACK) == "has to have a host name, or an address in its usual form"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_allowed_addresses_may_be_called_also_without_tls(host: str):
    assert reason(f"https://{host}/", LOOPBACK) is None
    assert reason(f"http://{host}:8080/", LOOPBACK) is None


def test_an_allowed_network_opens_nothing_else():
    assert reason("http://example.com/", LOOPBACK) == "has to be an https:// URL"
    assert reason("https://10.0.0.1/", LOOPBACK) == "has to lead to a public address"
    assert reason("http://localhost/", networks("127.0.0.1")) == "has to lead to a public address"


def test_networks_are_read_from_a_list():
    assert networks("") == ()
    assert [str(each) for each in networks(" 10.1.0.0/16,fd00::/8 , ")] == ["10.1.0.0/16", "fd00::/8"]
    with pytest.raises(ValueError, match="has host bits set"):
        networks("10.0.0.1/8")


@given(st.ip_addresses(v=4))
def test_what_is_public_is_global_for_python_too(address: ipaddress.IPv4Address):
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=6))
def test_what_is_public_is_global_for_python_too_of_version_6(address: ipaddress.IPv6Address):
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=4, network="10.0.0.0/8"), st.sampled_from(["::ffff:0:0", "64:ff9b::", "::"]))
def test_no_notation_hides_a_private_address(address: ipaddress.IPv4Address, prefix: str):
    hidden = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(address))
    assert reason(f"https://[{hidden}]/") is not None
    assert reason(f"https://[{hidden.exploded}]/") is not None


@given(st.text(max_size=60))
def test_any_text_is_checked_without_another_error(text: str):
    reason(text)
    reason(f"https://{text}")


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["93.184.215.14", "::1"], ["fe80::1%2"], ["::ffff:93.184.215.14"]],
)
async def test_a_name_with_an_address_that_is_not_public_is_refused(answer: list[str]):
    with pytest.raises(RefusedTarget, match="not public"):
        await Guard(resolve=resolving(answer)).addresses("hooks.example.com")


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def hang(_name: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(guard, "RESOLVE_SECONDS", 0.05)
    async with client(Guard(resolve=hang)) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get("https://hooks.example.com/")


async def test_the_system_resolves_names():
    assert set(await guard.look_up("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match=r"not known|resolution"):
        await guard.look_up("no-such-name.invalid")


async def test_a_name_that_does_not_resolve_is_a_failed_connection():
    async with client(Guard(resolve=resolving([]))) as http:
        with pytest.raises(httpx.ConnectError) as failure:
            await http.get("https://hooks.example.com/")
    assert not isinstance(failure.value, RefusedTarget)


async def test_the_connection_goes_to_the_address_that_was_checked(tmp_path: Path):
    """The name leads elsewhere right after the check; its certificate and its Host header are those of the name."""
    async with serving(tmp_path, "hooks.example.com") as (port, heads, trusted):
        resolve = resolving(["127.0.0.1"], ["10.255.255.1"])
        async with client(Guard(LOOPBACK, resolve), trusted) as http:
            first = await http.get(f"https://hooks.example.com:{port}/hook")
        async with client(Guard(LOOPBACK, resolve), trusted) as http:
            with pytest.raises(RefusedTarget):
                await http.get(f"https://hooks.example.com:{port}/hook")
    assert first.status_code == 302
    assert "location" in first.headers  # not followed
    (head,) = heads
    assert head.startswith("GET /hook HTTP/1.1\r\n")
    assert f"host: hooks.example.com:{port}\r\n" in head.lower()


async def test_the_certificate_has_to_be_of_the_name(tmp_path: Path):
    async with (
        serving(tmp_path, "other.example.com") as (port, heads, trusted),
        client(Guard(LOOPBACK, resolving(["127.0.0.1"])), trusted) as http,
    ):
        with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
            await http.get(f"https://hooks.example.com:{port}/")
    assert heads == []


async def test_the_next_address_is_tried_where_nobody_listens(tmp_path: Path):
    async with (
        serving(tmp_path, "hooks.example.com") as (port, heads, trusted),
        client(Guard(LOOPBACK, resolving(["127.0.0.99", "127.0.0.1"])), trusted) as http,
    ):
        await http.get(f"https://hooks.example.com:{port}/")
    assert len(heads) == 1


async def test_a_redirect_to_a_private_address_is_refused_even_if_a_client_follows(tmp_path: Path):
    async with (
        serving(tmp_path, "hooks.example.com") as (port, _, trusted),
        client(Guard(LOOPBACK, resolving(["127.0.0.1"])), trusted) as http,
    ):
        with pytest.raises(RefusedTarget, match="public"):
            await http.get(f"https://hooks.example.com:{port}/", follow_redirects=True)


async def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert os.environ["HTTPS_PROXY"]
    async with (
        serving(tmp_path, "hooks.example.com") as (port, heads, trusted),
        client(Guard(LOOPBACK, resolving(["127.0.0.1"])), trusted) as http,
    ):
        await http.get(f"https://hooks.example.com:{port}/")
    assert len(heads) == 1


def client(guarded: Guard, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=guarded.transport(verify=verify), trust_env=False, timeout=5.0)


@asynccontextmanager
async def serving(folder: Path, name: str) -> AsyncGenerator[tuple[int, list[str], ssl.SSLContext]]:
    """A TLS server on 127.0.0.1 with a certificate of a name: its port, the requests, and who trusts it."""
    context, trusted = certificate(folder, name)
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(
                b"HTTP/1.1 302 x\r\nlocation: https://10.0.0.1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], heads, trusted


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))
