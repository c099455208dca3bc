"""Circles of referrals: A brings B, who brings C, who brings A."""

from collections.abc import Collection, Mapping
from typing import Final

MOST_PEOPLE: Final = 5
"""The largest ring that is looked for."""


def closes_ring(advocates_of: Mapping[str, Collection[str]], advocate: str, friend: str) -> bool:
    """Whether a referral of the friend by the advocate closes a ring of 2 to MOST_PEOPLE people.

    `advocates_of` has the advocates of each customer by referrals that were not rejected, at least those of the
    advocate and of the customers up to three levels above. It may have the referral itself.
    """
    seen: set[str] = set()
    level = {advocate}
    for _ in range(MOST_PEOPLE - 1):
        seen |= level
        level = {above for customer in level for above in advocates_of.get(customer, ())} - seen
        if friend in level:
            return True
    return False
