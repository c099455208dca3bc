import asyncio
import hmac
import json
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode
from pydantic import ValidationError

from services.tiers.settings import Settings
from shared.http.auth import JwtSettings, Kind, Principal, Scope
from shared.http.auth.tokens import Tokens
from shared.http.auth.verification_keys import UrlKeys, parse_key, parse_set
from tests.http.conftest import JsonLog

NOW = 1_800_000_000
SECRET = "a secret of thirty-two bytes or so"
LATER = NOW + 600
CLAIMS = {"sub": "layla", "scope": "customer", "exp": LATER}
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "ed"})
OCT = OctKey.import_key(SECRET)


def encode(claims: dict[str, Any], key: Key = OCT, algorithm: str = "HS256", **header: str):
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        return jwt.encode({"alg": algorithm, **header}, claims, key, registry=registry)


def pem(key: Key):
    return key.as_pem(private=False).decode()


def weak_rsa():
    public = rsa.generate_private_key(65537, 1024).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_set(*keys: Key):
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


async def find(token: str, now: int = NOW, **settings: str | int):
    return await Tokens(JwtSettings(**(settings or {"key": SECRET}))).find(token, now)


async def test_a_customers_token():
    assert await find(encode(CLAIMS)) == Principal(Kind.CUSTOMER, "layla", frozenset({Scope.CUSTOMER}))


@pytest.mark.parametrize(
    "claims, scopes",
    [
        ({"scope": "read support"}, {Scope.READ, Scope.SUPPORT}),
        ({"scopes": "read  admin"}, {Scope.READ, Scope.ADMIN}),
        ({"scope": ["read", 7, None, ["admin"]]}, {Scope.READ}),
        ({"scope": "openid profile"}, set()),
        ({"scope": 7}, set()),
        ({}, set()),
    ],
)
async def test_the_scopes_of_a_token(claims: dict[str, Any], scopes: set[Scope]):
    assert await find(encode({"sub": "backend", "exp": LATER, **claims})) == Principal(
        Kind.TOKEN, "backend", frozenset(scopes)
    )


@pytest.mark.parametrize("key, algorithm", [(RSA, "RS256"), (ED, "EdDSA"), (ED, "Ed25519")])
async def test_public_keys_in_pem(key: Key, algorithm: str):
    assert await find(encode(CLAIMS, key, algorithm), key=pem(key)) is not None
    assert await find(encode(CLAIMS, key, algorithm), key=pem(key).replace("\n", "\\n")) is not None


async def test_another_key_is_refused():
    other = OctKey.import_key("another secret of thirty-two bytes")
    assert await find(encode(CLAIMS, other)) is None
    assert await find(encode(CLAIMS, RSAKey.generate_key(2048), "RS256"), key=pem(RSA)) is None


def unsigned(claims: dict[str, Any], algorithm: object):
    parts = (urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": algorithm}, claims))
    return ".".join((*parts, ""))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"], "HS256", "HS512"])
async def test_a_token_without_a_signature_is_refused(algorithm: object):
    assert await find(unsigned(CLAIMS, algorithm)) is None
    assert await find(unsigned(CLAIMS, algorithm), key=pem(RSA)) is None


def sign_with_public_key(key: Key):
    """A token that anybody with the public key can make: its PEM is the HMAC secret."""
    signed = unsigned(CLAIMS, "HS256")[:-1]
    signature = hmac.digest(pem(key).encode(), signed.encode(), "sha256")
    return f"{signed}.{urlsafe_b64encode(signature).decode()}"


async def test_the_key_decides_the_algorithm_and_not_the_token():
    assert await find(sign_with_public_key(RSA), key=pem(RSA)) is None
    assert await find(encode(CLAIMS, OCT, "HS512")) is None
    assert await find(encode(CLAIMS, RSA, "PS256"), key=pem(RSA)) is None


async def test_expiry_and_not_before_are_checked_to_the_second():
    assert await find(encode({**CLAIMS, "exp": NOW + 1})) is not None
    assert await find(encode({**CLAIMS, "exp": NOW})) is None
    assert await find(encode({**CLAIMS, "nbf": NOW})) is not None
    assert await find(encode({**CLAIMS, "nbf": NOW + 1})) is None
    assert await find(encode({**CLAIMS, "iat": NOW + 60})) is not None


async def test_leeway_tolerates_clocks_that_differ():
    late = encode({**CLAIMS, "exp": NOW - 3})
    assert await find(late, key=SECRET, leeway=5) is not None
    assert await find(late, key=SECRET, leeway=2) is None


@pytest.mark.parametrize("exp", ["never", None, True, [], "1900000000", float("nan"), float("inf"), -1])
async def test_an_expiry_that_is_not_a_number_is_refused(exp: object):
    principal = await find(encode({**CLAIMS, "exp": exp}))
    assert principal is None


async def test_issuer_and_audience_are_required_if_set():
    settings = {"key": SECRET, "issuer": "https://id.example", "audience": "wafa"}
    assert await find(encode({**CLAIMS, "iss": "https://id.example", "aud": ["shop", "wafa"]}), **settings) is not None
    assert await find(encode({**CLAIMS, "iss": "https://id.example", "aud": "wafa"}), **settings) is not None
    assert await find(encode({**CLAIMS, "iss": "https://id.example"}), **settings) is None
    assert await find(encode({**CLAIMS, "iss": "https://evil.example", "aud": "wafa"}), **settings) is None
    assert await find(encode({**CLAIMS, "aud": "wafa"}), **settings) is None
    assert await find(encode({**CLAIMS, "iss": "https://id.example", "aud": "shop"}), **settings) is None


@pytest.mark.parametrize("sub", [None, "", "a/b", ".", "\x00", "x" * 129, 7, ["layla"], {"id": "layla"}])
async def test_a_subject_that_is_not_an_id_is_refused(sub: object):
    assert await find(encode({**CLAIMS, "sub": sub})) is None


async def test_a_subject_is_required():
    assert await find(encode({"scope": "customer", "exp": LATER})) is None


@pytest.mark.parametrize("scope", ["customer", "read", "admin"])
async def test_an_expiry_is_required(scope: str):
    claims = {"sub": "layla", "scope": scope}
    assert await find(encode({**claims, "exp": LATER})) is not None
    assert await find(encode(claims)) is None
    assert await find(encode(claims), key=SECRET, leeway=10**9) is None


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b", "a.b.c.d", "é.é.é", "e30.e30.e30", "bnVsbA.e30.", "W10.e30.", "x" * 9000, "." * 9000],
)
async def test_anything_but_a_token_is_refused(token: str):
    assert await find(token) is None


async def test_a_payload_that_is_not_an_object_is_refused():
    for payload in ("[]", "null", "1", "{", "[" * 3000):
        assert await find(jws.serialize_compact({"alg": "HS256"}, payload, OCT)) is None


async def test_an_unknown_critical_header_is_refused():
    assert await find(encode(CLAIMS, custom="x")) is not None
    forged = unsigned(CLAIMS, "HS256")
    assert await find(forged) is None
    registry = JWSRegistry(algorithms=["HS256"], strict_check_header=False)
    registry.check_header = lambda header: None
    critical = {"alg": "HS256", "crit": ["exp"], "exp": 1}
    token = jws.serialize_compact(critical, json.dumps(CLAIMS), OCT, registry=registry)
    assert await find(token) is None


async def test_a_key_of_an_inline_set_is_chosen_by_kid():
    settings = {"jwks": key_set(RSA, ED)}
    assert await find(encode(CLAIMS, RSA, "RS256", kid="rsa"), **settings) is not None
    assert await find(encode(CLAIMS, ED, "EdDSA", kid="ed"), **settings) is not None
    assert await find(encode(CLAIMS, ED, "EdDSA"), **settings) is not None
    assert await find(encode(CLAIMS, ED, "EdDSA", kid="rsa"), **settings) is None


async def test_a_key_and_a_key_set_work_together():
    settings = {"key": SECRET, "jwks": key_set(RSA)}
    assert await find(encode(CLAIMS), **settings) is not None
    assert await find(encode(CLAIMS, RSA, "RS256", kid="rsa"), **settings) is not None


async def test_a_key_set_in_a_file_is_read_again_when_it_changes(tmp_path: Path):
    file = tmp_path / "jwks.json"
    tokens = Tokens(JwtSettings(jwks=str(file)))
    of_rsa, of_ed = encode(CLAIMS, RSA, "RS256", kid="rsa"), encode(CLAIMS, ED, "EdDSA", kid="ed")
    assert await tokens.find(of_rsa, NOW) is None
    file.write_text(key_set(RSA))
    assert await tokens.find(of_rsa, NOW) is not None
    assert await tokens.find(of_ed, NOW) is None
    file.write_text(key_set(ED))
    assert await tokens.find(of_rsa, NOW) is None
    assert await tokens.find(of_ed, NOW) is not None


def test_keys_of_other_kinds_in_a_set_are_ignored():
    other = ECKey.generate_key("P-256").as_dict(private=False)
    encryption = {**RSAKey.generate_key(2048).as_dict(private=False), "use": "enc"}
    other_algorithm = {**RSAKey.generate_key(2048).as_dict(private=False), "alg": "RS512"}
    usable = ED.as_dict(private=False)
    members = [other, encryption, other_algorithm, {"kty": "AKP"}, "x", {"kty": "oct", "k": "c2hvcnQ"}, usable]
    assert [key.id for key in parse_set(json.dumps({"keys": members}))] == ["ed"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"keys": 1}', '{"keys": []}', '{"keys": [{"kty": "oct"}]}'])
def test_a_set_without_a_usable_key_is_refused(content: str):
    with pytest.raises(ValueError, match=r".+"):
        parse_set(content)


@pytest.mark.parametrize(
    "text",
    [
        "short",
        weak_rsa(),
        pem(ECKey.generate_key("P-256")),
        pem(OKPKey.generate_key("Ed448")),
        pem(OKPKey.generate_key("X25519")),
        "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----",
    ],
    # Keys are drawn anew in every process, and names of tests have to be the same in all.
    ids=["short", "weak RSA", "P-256", "Ed448", "X25519", "nonsense"],
)
def test_weak_and_foreign_keys_are_refused_at_start(text: str):
    with pytest.raises(ValueError, match=r".+"):
        parse_key(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/jwks.json",
        "http://127.0.0.1.evil.example/jwks.json",
        "http://localhost@evil.example/jwks.json",
        "HTTP://id.example/",
        "ftp://id.example/jwks.json",
        "file:///etc/jwks.json",
        "https:///jwks.json",
        "http://[::1/",
    ],
)
def test_a_key_set_must_come_by_https_or_from_this_machine(url: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r".+"):
        Tokens(JwtSettings(jwks=url))
    monkeypatch.setenv("WAFA_JWT_JWKS", url)
    with pytest.raises(ValidationError, match=r"(?i)jwt_jwks"):
        Settings()


@pytest.mark.parametrize(
    "jwks",
    ["https://id.example/a", "http://localhost:1/a", "http://127.0.0.1/a", "http://[::1]:80/a", "/etc/jwks"],
)
def test_a_key_set_from_a_secure_place_is_accepted(jwks: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_JWT_JWKS", jwks)
    assert Settings().authenticator() is not None


class Issuer:
    """A JWKS over HTTP, on a thread."""

    def __init__(self) -> None:
        self.content, self.status, self.asked = key_set(RSA), 200, 0
        self.leads_to = ""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                self.send_response(issuer.status)
                if issuer.leads_to:
                    self.send_header("Location", issuer.leads_to)
                self.end_headers()
                self.wfile.write(issuer.content.encode())

            def log_message(self, *_arguments: object):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


async def test_a_key_set_is_fetched_once_and_cached(issuer: Issuer):
    tokens = Tokens(JwtSettings(jwks=issuer.url))
    token = encode(CLAIMS, RSA, "RS256", kid="rsa")
    found = await asyncio.gather(*(tokens.find(token, NOW) for _ in range(10)))
    assert all(found)
    assert issuer.asked == 1


async def test_an_unknown_kid_fetches_again_but_not_for_every_token(issuer: Issuer):
    clock = [0.0]
    source = UrlKeys(issuer.url, clock=lambda: clock[0])
    assert [key.id for key in await source.keys("rsa")] == ["rsa"]
    issuer.content = key_set(RSA, ED)
    for _ in range(5):
        assert [key.id for key in await source.keys("ed")] == ["rsa"]
    assert issuer.asked == 1
    clock[0] = 31.0
    assert [key.id for key in await source.keys("ed")] == ["rsa", "ed"]
    await source.keys("rsa")
    assert issuer.asked == 2


async def test_a_redirect_to_an_insecure_url_is_not_followed(issuer: Issuer, json_log: JsonLog):
    issuer.status, issuer.leads_to = 302, "http://evil.example/jwks.json"
    assert await UrlKeys(issuer.url).keys("rsa") == ()
    [line] = json_log()
    assert (line["event"], "evil.example" in line["error"]) == ("jwks_not_fetched", True)


@pytest.mark.parametrize("status, content", [(500, ""), (200, "nonsense"), (200, "{}"), (200, " " * 1_100_000)])
async def test_the_last_keys_stay_valid_while_the_issuer_fails(
    issuer: Issuer, json_log: JsonLog, status: int, content: str
):
    clock = [0.0]
    source = UrlKeys(issuer.url, clock=lambda: clock[0])
    await source.keys("rsa")
    issuer.status, issuer.content = status, content
    clock[0] = 301.0
    assert [key.id for key in await source.keys("rsa")] == ["rsa"]
    assert issuer.asked == 2
    assert [line["event"] for line in json_log()] == ["jwks_not_fetched"]
