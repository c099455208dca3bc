"""Referral codes: short, and hard to mistake for another one when read aloud or typed."""

import hashlib
import re
import unicodedata
from typing import Final

SYMBOLS: Final = "23456789CDFGHJKMNPRTVWX"
"""Without 0 O, 1 I L, B, S and Z, which look like one another or like 8, 5, 2; without Q, whose small form looks like 9
and g; without vowels and Y: no words. They are 23, a prime, on which the check symbol depends."""

LENGTH: Final = 9
"""Eight symbols and their check symbol. 23 ** 8 codes are 78 billion: with a million customers, one guess in 1,800,000
is a valid code."""

OLD_SYMBOLS: Final = "23456789CDFGHJKMNPQRTVWX"
OLD_LENGTH: Final = 8
"""Codes that were given out before there was a check symbol stay valid for ever."""

_VALUES: Final = {symbol: value for value, symbol in enumerate(SYMBOLS)}
_LONGEST_TYPED: Final = 128
_SHAPE: Final = re.compile(f"[{SYMBOLS}]{{{LENGTH}}}|[{OLD_SYMBOLS}]{{{OLD_LENGTH}}}")
_CODE: Final = re.compile(r"[0-9A-Z]{4,20}")
_ASCII_IGNORED: Final = dict.fromkeys(map(ord, " \t\n\r\f\v-"))
_IGNORED: Final = {"Pd", "Cf", "Zs", "Zl", "Zp", "Cc"}
"""Categories of Unicode: dashes; marks without a form, as of the direction of writing; blanks; control characters."""
_MINUS: Final = "\u2212"
_ALIKE: Final = str.maketrans("OIL", "011")


def with_check(symbols: str) -> str:
    """The code of eight symbols: they, and their check symbol.

    The places have the weights 9 to 1, and a code's weighted sum is 0 modulo 23. A wrong symbol changes it by a weight
    times a difference of values, a swap by a difference of weights times one of values: as 23 is a prime, neither is 0.
    """
    return symbols + SYMBOLS[-_weighted(symbols) % len(SYMBOLS)]


def is_shaped_as_given_out(code: str) -> bool:
    """Whether a code has the form of those that are given out, whether or not its check symbol is right."""
    return _SHAPE.fullmatch(code) is not None


def key_of(code: str) -> str:
    """What is stored of a code wherever it is used: of a code that was given out, itself.

    Of a code that a customer chose, which may be a name, it is a hash, so that nothing else is left after an erasure.
    Those that differ in O and 0, or in I, L and 1, have the same key.
    """
    if is_shaped_as_given_out(code):
        return code
    return hashlib.blake2b(code.translate(_ALIKE).encode(), digest_size=16).hexdigest()


def parse(text: str) -> str | None:
    """The key of the code that a person typed; None where the text cannot be a code.

    Upper and lower case are the same; blanks and hyphens are ignored. Digits of any script are digits.
    """
    code = _plain(text)
    if code is None or _CODE.fullmatch(code) is None:
        return None
    if len(code) == LENGTH and is_shaped_as_given_out(code) and _weighted(code) % len(SYMBOLS) != 0:
        return None
    return key_of(code)


def _weighted(symbols: str) -> int:
    """The sum of the values of the symbols times the weights of their places."""
    return sum(weight * _VALUES[symbol] for weight, symbol in zip(range(LENGTH, 0, -1), symbols, strict=False))


def _plain(text: str) -> str | None:
    """The text in upper case, without what is ignored; None if a code can't be that long."""
    if len(text) > _LONGEST_TYPED:
        return None
    if text.isascii():
        return text.translate(_ASCII_IGNORED).upper()
    compatible = unicodedata.normalize("NFKC", text)
    kept = "".join(map(_digit, (char for char in compatible if not _is_ignored(char))))
    # Outside ASCII, upper case makes letters of other ones: ß, ı.
    return kept.upper() if kept.isascii() else None


def _is_ignored(char: str) -> bool:
    return char == _MINUS or unicodedata.category(char) in _IGNORED


def _digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)
