"""Codes that customers choose themselves."""

import re
from typing import Final

from services.referrals.rules.codes.code import is_shaped_as_given_out
from services.referrals.rules.codes.words import is_offensive

SHORTEST: Final = 4
LONGEST: Final = 20
LONGEST_SENT: Final = 64
"""With hyphens."""

_CHARACTERS: Final = re.compile(r"[0-9A-Za-z-]*")


class UnfitCodeError(ValueError):
    """The text cannot be anybody's code; the message says why."""


def vanity(text: str) -> str:
    """The code that a customer chose, in upper case and without hyphens.

    Raises:
        UnfitCodeError: it has other characters, or too few or many of them.
    """
    if _CHARACTERS.fullmatch(text) is None:
        raise UnfitCodeError("This has other characters than A-Z, 0-9 and hyphens.")
    code = text.replace("-", "").upper()
    if not SHORTEST <= len(code) <= LONGEST:
        raise UnfitCodeError(f"This has {len(code)} characters besides hyphens: {SHORTEST} to {LONGEST} are possible.")
    return code


def check_fit(code: str) -> None:
    """Check that a code may be given to a customer who chose it.

    Raises:
        UnfitCodeError: it looks like a code that is given out, or is offensive.
    """
    if is_shaped_as_given_out(code):
        raise UnfitCodeError("This looks like a code that is given out at random: take other letters, or more of them.")
    if is_offensive(code):
        raise UnfitCodeError("This may offend somebody: take another word.")
