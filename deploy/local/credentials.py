"""The secrets of a stack: created at its first start, stored with its data."""

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import TypeAdapter

from deploy.keys import create_key, list_keys
from deploy.local.layout import Layout, write_private
from services.notifications.channels.push.vapid import encode
from shared.http.auth.principal import KEY_SCOPES

TOKEN_SECONDS: Final = 30 * 24 * 3600


@dataclass(frozen=True)
class Credentials:
    """`jwt_key` signs customers' tokens (HS256); `admin_token` is an API key with every scope.

    `evidence_key` keys the evidence against fraud of the referrals service, `sms_token` is that of the account for text
    messages, `vapid_key` identifies Wafa to push services. `message_secret` signs links in messages, `provider_secret`
    what the provider `local` reports. A stack from before one of them has none yet.
    """

    jwt_key: str
    admin_token: str
    evidence_key: str = ""
    sms_token: str = ""
    vapid_key: str = ""
    message_secret: str = ""
    provider_secret: str = ""


def _new_secret() -> str:
    return secrets.token_urlsafe(48)


def _new_vapid_key() -> str:
    return encode(ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32))


def _new_webhook_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


_MADE: Final[Mapping[str, Callable[[], str]]] = {
    "evidence_key": _new_secret,
    "sms_token": _new_secret,
    "vapid_key": _new_vapid_key,
    "message_secret": _new_secret,
    "provider_secret": _new_webhook_secret,
}

_CREDENTIALS: Final = TypeAdapter(Credentials)


def ensure(layout: Layout) -> Credentials:
    """The secrets of this stack; new ones if there are none, or if the admin key was revoked."""
    try:
        stored = _CREDENTIALS.validate_json(layout.credentials_file.read_bytes())
    except FileNotFoundError:
        stored = None
    is_valid = stored is not None and stored.admin_token.split("_")[1] in {
        entry.id for entry in list_keys(layout.api_keys)
    }
    missing = {name: make() for name, make in _MADE.items() if stored is None or not getattr(stored, name)}
    if stored is not None and is_valid and not missing:
        return stored
    admin_token = stored.admin_token if stored is not None and is_valid else _admin_key(layout)
    fresh = stored or Credentials(jwt_key=_new_secret(), admin_token=admin_token)
    fresh = replace(fresh, admin_token=admin_token, **missing)
    write_private(layout.credentials_file, _CREDENTIALS.dump_json(fresh, indent=2).decode() + "\n")
    return fresh


def _admin_key(layout: Layout) -> str:
    return api_key(layout, sorted(KEY_SCOPES), "admin of the one-machine stack")


def customer_token(layout: Layout, customer_id: str) -> str:
    """A JWT of a customer, valid for thirty days."""
    now = int(time.time())
    claims = {"sub": customer_id, "scope": "customer", "iat": now, "exp": now + TOKEN_SECONDS}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(ensure(layout).jwt_key))


def api_key(layout: Layout, scopes: Sequence[str], name: str = "made by `deploy.local token`") -> str:
    """A new API key with these scopes, valid once the services read the file again.

    Raises:
        deploy.keys.KeysError: a scope does not exist.
    """
    return create_key(layout.api_keys, scopes, name)
