"""Customers' referral codes, and the visits of the links that carry them."""

import secrets
from datetime import datetime
from typing import Final

from services.referrals.rules.codes.code import LENGTH, SYMBOLS, key_of, parse, with_check
from services.referrals.rules.codes.vanity import check_fit, vanity
from services.referrals.rules.codes.words import is_offensive
from services.referrals.store import codes
from services.referrals.store.codes import Chosen
from shared.postgres.pool import Connection

MOST_CHOSEN: Final = 50
"""The most codes that a customer may choose: nobody takes all names."""

CLICK_SHARDS: Final = 16


class CodeTakenError(Exception):
    """Another customer has, or had, the code."""


class TooManyCodesError(Exception):
    """The customer has chosen too many codes already."""


async def find_or_make(connection: Connection, customer_id: str, now: datetime) -> str:
    """The code that the customer chose last, else the one that was given out; it is made at the first call."""
    code = await codes.find_code(connection, customer_id)
    while code is None:
        # Adds nothing if another call has just created this customer's code, or another customer has this code.
        await codes.add_code(connection, customer_id, _new(), now)
        code = await codes.find_code(connection, customer_id)
    return code


async def choose(connection: Connection, customer_id: str, text: str, now: datetime) -> str:
    """Give the customer a code of their choice, beside those that they have; one of their own becomes the newest.

    Raises:
        UnfitCodeError: the text cannot be anybody's code.
        CodeTakenError: another customer has it, or had it before an erasure.
        TooManyCodesError: the customer has chosen `MOST_CHOSEN` codes.
    """
    code = vanity(text)
    chosen = Chosen(customer_id, code, key_of(code))
    own = await codes.choose_own(connection, chosen, now)
    if own is not None:
        return own
    check_fit(code)
    if await codes.count_chosen(connection, customer_id) >= MOST_CHOSEN:
        raise TooManyCodesError
    if await codes.add_chosen(connection, chosen, now):
        # Asked afterwards: the code may have been retired while this transaction waited for that to end.
        if await codes.is_retired(connection, chosen.key):
            raise CodeTakenError
        return code
    # Another call may have given the customer this very code.
    own = await codes.choose_own(connection, chosen, now)
    if own is None:
        raise CodeTakenError
    return own


async def find(connection: Connection, text: str) -> str | None:
    """The code that a link carries, as it is spelled; None where no customer has it."""
    key = parse(text)
    return None if key is None else await codes.find_owned(connection, key)


async def follow(connection: Connection, text: str, now: datetime) -> str | None:
    """Count a visit by a referral link; returns the code as it is spelled, None where no customer has it."""
    key = parse(text)
    return (
        None if key is None else await codes.count_click(connection, key, now.date(), secrets.randbelow(CLICK_SHARDS))
    )


def _new() -> str:
    """A code of random symbols in which nobody reads a word."""
    while True:
        code = with_check("".join(secrets.choice(SYMBOLS) for _ in range(LENGTH - 1)))
        if not is_offensive(code):
            return code
