"""How a message addresses a customer."""

import re
from typing import Final

from services.notifications import wording

_LONGEST_NAME: Final = 80
# A name with an address, a link or several lines is not a name: somebody wants it mailed to a stranger.
_NO_NAME: Final = re.compile(r"://|www\.|@|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", re.IGNORECASE)

_TITLES: Final = frozenset(
    {
        *(
            "mr",
            "mrs",
            "ms",
            "miss",
            "mx",
            "dr",
            "prof",
            "sir",
            "herr",
            "frau",
            "m",
            "mme",
            "mlle",
            "sr",
            "sra",
            "srta",
        ),
        *("eng", "hajj", "sheikh", "السيد", "السيدة", "الآنسة", "د", "دكتور", "دكتورة", "الدكتور", "الدكتورة"),
        *("م", "مهندس", "المهندس", "المهندسة", "أستاذ", "الأستاذ", "الأستاذة", "الشيخ", "الحاج", "الحاجة"),
    }
)
# Half of a name: "عبد" alone means slave.
_PREFIXES: Final = frozenset(
    {"عبد", "أبو", "ابو", "أم", "ام", "abd", "abdul", "abdel", "abdal", "abu", "abou", "umm", "um", "oum"}
)
_FAMILY_FIRST: Final = frozenset({"hu", "ja", "ko", "vi", "zh"})


def tidy(name: str | None) -> str | None:
    """The name on one line, of limited length, without invisible characters; None if it is not a name."""
    if name is None:
        return None
    seen = wording.visible(name)
    # Check both: invisible characters can split a link, and cleaning joins lines.
    if _NO_NAME.search(name.strip()) or _NO_NAME.search(seen):
        return None
    return seen[:_LONGEST_NAME].rstrip() or None


def first_name(name: str | None, locale: str | None) -> str | None:
    """The part of a tidy name to address a customer by.

    It is the first word without titles; after عبد, أبو, أم, Abd, Abdul, Abu or Umm with the next one. Where the family
    name comes first (hu, ja, ko, vi, zh), it is the whole name. None if nothing but titles or half a name is left.
    """
    if name is None:
        return None
    if (locale or "").replace("_", "-").split("-")[0].lower() in _FAMILY_FIRST:
        return name
    words = name.split()
    while words and words[0].rstrip(".").lower() in _TITLES:
        words.pop(0)
    taken = 0
    while taken < len(words):
        taken += 1
        if words[taken - 1].rstrip(".").lower() not in _PREFIXES:
            return " ".join(words[:taken])
    return None
