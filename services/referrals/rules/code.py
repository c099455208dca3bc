"""Referral codes: short, and hard to mistake for another one when read aloud or typed."""

from typing import Final

ALPHABET: Final = "23456789CDFGHJKMNPQRTVWX"
"""Without 0 O, 1 I L, B, S and Z, which look like one another or like 8, 5, 2; without vowels and Y: no words."""

LENGTH: Final = 8
"""24 ** 8 codes are 110 billion: with a million customers, one guess in 110,000 is a valid code."""


def parse(text: str) -> str | None:
    """The code that a person typed, in its canonical form; None where the text cannot be a code."""
    code = text.strip().upper()
    return code if len(code) == LENGTH and all(character in ALPHABET for character in code) else None
