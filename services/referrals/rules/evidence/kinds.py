"""The kinds of evidence."""

from datetime import timedelta
from enum import IntEnum
from typing import Final, NamedTuple

KEPT_FOR: Final = timedelta(days=400)
"""How long a value counts after it was last told, by the time of the event; then it is forgotten."""

MOST_VALUES: Final = 50
"""How many values of a customer and kind count: the newest ones, by when they were first told."""

MOST_SHARING: Final = 50
"""A value that more customers have is no evidence: it is a shop's proxy, an office or a placeholder."""


class Kind(IntEnum):
    """What a value is; the numbers are stored, and part of every hash."""

    EMAIL = 1
    DOMAIN = 2
    """The domain of an e-mail address."""
    PHONE = 3
    PAYMENT = 4
    DEVICE = 5
    IP = 6
    """An IPv4 address, or the /64 of an IPv6 address."""
    NETWORK = 7
    """The /24 of an IPv4 address, or the /48 of an IPv6 address."""
    IP_AND_AGENT = 8
    NAME = 9
    COUNTRY = 10


class Value(NamedTuple):
    """A value in its normal form. `local` is the local part of an e-mail address, None of other kinds."""

    kind: Kind
    text: str
    local: str | None = None
