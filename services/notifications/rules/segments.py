"""How many segments a text message takes: each is paid for (3GPP TS 23.038)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")


class Encoding(StrEnum):
    """The alphabet of a text message."""

    GSM_7 = "gsm7"
    UCS_2 = "ucs2"


@dataclass(frozen=True, slots=True)
class Segments:
    """The size of a text message: `units` are septets of GSM 7, and pairs of octets of UCS 2."""

    encoding: Encoding
    units: int
    count: int


# Of a message in several segments each begins with a header of six octets.
_ALONE: Final = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
_JOINED: Final = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}


def measure(text: str) -> Segments:
    """The segments of a text: one character that GSM 7 lacks makes all of it UCS 2. An empty text takes one."""
    is_gsm = all(character in _BASIC or character in _EXTENDED for character in text)
    encoding = Encoding.GSM_7 if is_gsm else Encoding.UCS_2
    # An escaped character, and one outside the Basic Multilingual Plane, takes two units of one segment.
    wide = [character in _EXTENDED if is_gsm else ord(character) > 0xFFFF for character in text]
    units = len(wide) + sum(wide)
    count = 1 if units <= _ALONE[encoding] else _fill(wide, _JOINED[encoding])
    return Segments(encoding, units, count)


def _fill(wide: Iterable[bool], size: int) -> int:
    count, used = 1, 0
    for is_wide in wide:
        width = 2 if is_wide else 1
        if used + width > size:
            count, used = count + 1, 0
        used += width
    return count
