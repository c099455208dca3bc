"""What a customer is found by, in a form in which spellings of the same thing are equal."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import phonenumbers

from services.notifications.rules.profile import Profile
from shared.contracts.values import trim

VERSION: Final = 1
"""Of the normal forms: rows of another version are made again."""

LONGEST_QUERY: Final = 200

_MOST_WORDS: Final = 16
_LONGEST_WORD: Final = 64
_FEWEST_DIGITS: Final = 5
_MOST_DIGITS: Final = 20
_LONGEST_EMAIL: Final = 320
_TATWEEL: Final = "\u0640"
# Letters that are written for each other in Arabic; marks and the hamza on a letter are cut off before.
_ALIKE: Final = str.maketrans({"ى": "ي", "ة": "ه", "ٱ": "ا", "ک": "ك", "ی": "ي", _TATWEEL: None})
_BESIDE_DIGITS: Final = frozenset("+-()./ \u00a0")


@dataclass(frozen=True, slots=True)
class Keys:
    """What a customer is found by: an address, spellings of a phone number, and the words of the name."""

    customer_id: str
    email: str | None
    phones: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched: a customer with this id, or this address, or one of these numbers, or all words begun so."""

    customer_id: str
    email: str | None
    phones: tuple[str, ...]
    words: tuple[str, ...]


def keys_of(profile: Profile) -> Keys | None:
    """What a customer is found by besides the id; None for one without a profile."""
    if not profile.is_known:
        return None
    phone, country = (_text(profile, name) for name in ("phone", "country"))
    return Keys(
        profile.customer_id,
        _email(profile.email or ""),
        () if phone is None else _numbers(phone, country),
        words_of(profile.name or ""),
    )


def wanted(query: str) -> Wanted:
    """What a query searches."""
    text = trim(query)
    digits = _digits(text)
    return Wanted(text, _email(text), () if digits is None else _spellings(text, digits), words_of(text))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in their normal form, each once."""
    return tuple(dict.fromkeys(_words(text)))[:_MOST_WORDS]


def _words(text: str) -> Iterator[str]:
    folded = unicodedata.normalize("NFKD", text[: 4 * LONGEST_QUERY]).translate(_ALIKE).casefold()
    word = ""
    for char in folded:
        if char.isalnum():
            word += char
        elif unicodedata.category(char) not in {"Mn", "Cf"} and char not in "'’":  # O'Neil is a word
            if word:
                yield word[:_LONGEST_WORD]
            word = ""
    if word:
        yield word[:_LONGEST_WORD]


def _email(text: str) -> str | None:
    return text.lower() if "@" in text and len(text) <= _LONGEST_EMAIL else None


def _numbers(phone: str, country: str | None) -> tuple[str, ...]:
    """The spellings by which a phone number is found: as E.164, and as its digits without the zeros before them."""
    digits = _digits(phone)
    if digits is None:
        return ()
    spellings = _spellings(phone, digits)
    try:
        parsed = phonenumbers.parse(phone, country.strip().upper() if country else None)
    except phonenumbers.NumberParseException:
        return spellings
    whole = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return tuple(dict.fromkeys((*spellings, whole, phonenumbers.national_significant_number(parsed))))


def _spellings(text: str, digits: str) -> tuple[str, ...]:
    bare = digits.lstrip("0")
    if not bare:
        return ()
    return (f"+{bare}",) if text.startswith(("+", "00")) else (bare,)


def _digits(text: str) -> str | None:
    """The digits of a text that can be a phone number, in ASCII."""
    found = ""
    for char in text:
        digit = unicodedata.digit(char, None)
        if digit is not None:
            found += str(digit)
        elif char not in _BESIDE_DIGITS:
            return None
    return found if _FEWEST_DIGITS <= len(found) <= _MOST_DIGITS else None


def _text(profile: Profile, name: str) -> str | None:
    detail = profile.details.get(name)
    return detail.value if detail is not None and isinstance(detail.value, str) else None
