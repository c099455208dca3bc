"""Referral codes: short, and hard to mistake for another one when read aloud or typed."""

from typing import Final

ALPHABET: Final = "23456789CDFGHJKMNPQRTVWX"
"""No 0 O, 1 I L, B, S, Z (they look like one another, or like 8, 5, 2); no vowels and no Y, which make words."""

LENGTH: Final = 8
"""24 ** 8 codes, 110 billion: with a million customers, one try in 110,000 finds a code."""


def parse(text: str) -> str | None:
    """The code as it was given out, however a person typed it; None when it cannot be one."""
    code = text.strip().upper()
    return code if len(code) == LENGTH and all(character in ALPHABET for character in code) else None
