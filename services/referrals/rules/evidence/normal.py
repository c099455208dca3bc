"""Normal forms: two values are the same where their normal forms are equal; a value without one is no evidence."""

import re
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

import phonenumbers

_LONGEST_ADDRESS: Final = 320
_LONGEST_DOMAIN: Final = 253
_LONGEST_NAME: Final = 1_000
_LONGEST_PHONE: Final = 100
_LONGEST_IP: Final = 64
_LEAST_DIGITS: Final = 7
"""Of a phone number with its country code: fewer are an extension or a short code."""

_LOCAL_PART: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f@<>]+")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_NO_NAME: Final = re.compile(r"://|www\.|[@\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", re.IGNORECASE)

_VAGUE: Final = frozenset({"unknown", "undefined", "null", "none", "nil", "n/a", "na", "-", "0"})
"""What pages and apps send where they know nothing."""

# Vowel signs and other marks on Arabic letters, and the tatweel, which only stretches a word.
_MARKS: Final = re.compile(
    "[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)

_GMAIL: Final = "gmail.com"
_ALSO_GMAIL: Final = "googlemail.com"


class Mailbox(NamedTuple):
    """An e-mail address in its normal form."""

    local: str
    domain: str

    @property
    def text(self) -> str:
        """The address."""
        return f"{self.local}@{self.domain}"


def mailbox(text: str) -> Mailbox | None:
    """An address in lower case, without the tag behind `+`, and of Gmail without dots.

    googlemail.com is gmail.com. None where it is not an address.
    """
    text = text.strip()
    if len(text) > _LONGEST_ADDRESS:
        return None
    local, _, host = unicodedata.normalize("NFC", text).lower().rpartition("@")
    at = domain(host)
    if at is None or not _LOCAL_PART.fullmatch(local):
        return None
    local = local.partition("+")[0] or local
    if at == _GMAIL:
        local = local.replace(".", "")
    return Mailbox(local, at) if local else None


def domain(text: str) -> str | None:
    """A domain in lower case, in its ASCII form, without the dot at its end; None where it is not a domain."""
    name = text.strip().lower().removesuffix(".")
    if len(name) > _LONGEST_DOMAIN:
        return None
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            return None
    if len(name) > _LONGEST_DOMAIN or not _DOMAIN.fullmatch(name):
        return None
    return _GMAIL if name == _ALSO_GMAIL else name


def phone(text: str, country: str | None) -> str | None:
    """A phone number in E.164, a national one by its country; None where it has none, or is not a number."""
    if len(text) > _LONGEST_PHONE:
        return None
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    normal = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return normal if len(normal) > _LEAST_DIGITS else None


def is_international(text: str) -> bool:
    """Whether a phone number is written with its country code, so that it needs no country to be understood."""
    return "+" in text or "\uff0b" in text


def name(text: str) -> str | None:
    """A whole name without case, repeated blanks, tatweel and harakat (NFKC); None where it is missing.

    A placeholder is missing too, and whatever has an address of a page or of a mailbox, or several
    lines.
    """
    if len(text) > _LONGEST_NAME or _NO_NAME.search(text):
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _told(" ".join(_MARKS.sub("", folded).split()))


def country(text: str) -> str | None:
    """A country code in capital letters; None where it is none."""
    code = text.strip().upper()
    return code if _COUNTRY.fullmatch(code) else None


def token(text: str) -> str | None:
    """The id of a device or of a means of payment; None where it is blank or a placeholder."""
    return _told(text.strip())


def agent(text: str) -> str | None:
    """A user agent with single blanks; None where it is blank or a placeholder."""
    return _told(" ".join(text.split()))


def _told(text: str) -> str | None:
    return text if text and text.lower() not in _VAGUE else None


class Place(NamedTuple):
    """Where a sign-up comes from: `ip` is the IPv4 address or the /64, `network` the /24 or the /48."""

    ip: str
    network: str


_NOWHERE: Final = tuple(
    (int(network.network_address), int(network.netmask))
    for network in map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
"""Private, shared, loopback, link-local, multicast and reserved addresses, without the networks of examples."""

_SOMEWHERE: Final = IPv6Network("2000::/3")
"""All that was ever given out of IPv6."""


def place(text: str) -> Place | None:
    """An address as it is compared; None where it is no address, or one that many share.

    An IPv4 address that is written as IPv6 is an IPv4 address.
    """
    if len(text) > _LONGEST_IP:
        return None
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return _place_of_6(address)
        address = address.ipv4_mapped
    return _place_of_4(address)


def _place_of_4(address: IPv4Address) -> Place | None:
    bits = int(address)
    if any(bits & mask == base for base, mask in _NOWHERE):
        return None
    return Place(str(address), f"{IPv4Address(bits >> 8 << 8)}/24")


def _place_of_6(address: IPv6Address) -> Place | None:
    if address not in _SOMEWHERE:
        return None
    bits = int(address)
    return Place(f"{IPv6Address(bits >> 64 << 64)}/64", f"{IPv6Address(bits >> 80 << 80)}/48")
