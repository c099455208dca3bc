"""What an event tells of its customer, and in which form it is compared."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

_VAGUE: Final = {"", "unknown", "undefined", "null", "none", "nil", "n/a", "na", "-", "0"}
_DIALLING: Final = {"SA": "966", "AE": "971"}
"""The countries whose national numbers the histories use; in both, a national number begins with 0."""


def told(data: Any) -> Iterator[tuple[str, str]]:
    """The evidence in an event: kinds and values."""
    read = {
        "email": email(data.email),
        "phone": phone(data.phone, getattr(data, "country", None)),
        "payment": plain(data.payment_fingerprint),
        "device": plain(data.device_id),
        "name": name(getattr(data, "name", None)),
        "country": country(getattr(data, "country", None)),
        "ip": address(data.ip),
        "network": network(data.ip),
    }
    agent = plain(data.user_agent)
    if read["ip"] and agent:
        read["ip_and_agent"] = f"{read['ip']} {agent}"
    yield from ((kind, value) for kind, value in read.items() if value)


def plain(text: str | None) -> str | None:
    """An id without blanks around it; None where it tells nothing."""
    trimmed = (text or "").strip()
    return None if trimmed.lower() in _VAGUE else trimmed


def email(text: str | None) -> str | None:
    """Lower case; cut at the plus sign; Gmail without dots and under one domain."""
    local, at, domain = (text or "").strip().lower().rpartition("@")
    local = local.split("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}" if at and local and "." in domain else None


def phone(text: str | None, of_country: str | None) -> str | None:
    """E.164; national numbers by the profile's country."""
    digits = re.sub(r"[^0-9+]", "", text or "")
    if digits.startswith("+"):
        return digits
    code = _DIALLING.get((of_country or "").upper())
    return f"+{code}{digits[1:]}" if code and digits.startswith("0") else None


def name(text: str | None) -> str | None:
    """NFKC, folded, blanks collapsed, without tatweel and harakat."""
    folded = unicodedata.normalize("NFKC", text or "").casefold()
    bare = "".join(char for char in folded if char != "\u0640" and not "\u064b" <= char <= "\u0652")
    collapsed = " ".join(bare.split())
    return None if collapsed in _VAGUE else collapsed


def country(text: str | None) -> str | None:
    """Upper case."""
    return (text or "").strip().upper() or None


def _parsed(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address((text or "").strip())
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed if parsed.is_global else None


def _prefix(text: str | None, v4: int, v6: int) -> str | None:
    parsed = _parsed(text)
    if parsed is None:
        return None
    return str(ipaddress.ip_network((parsed, v4 if parsed.version == 4 else v6), strict=False))


def address(text: str | None) -> str | None:
    """What is compared of an address: all of IPv4, the /64 of IPv6; private and reserved ones are no evidence."""
    return _prefix(text, 32, 64)


def network(text: str | None) -> str | None:
    """The /24 or /48 of an address."""
    return _prefix(text, 24, 48)
