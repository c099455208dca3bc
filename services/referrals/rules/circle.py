"""Circles of referrals: A brings B, who brings C, who brings A."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final
from uuid import UUID

MOST_PEOPLE: Final = 5
"""The largest ring that is looked for."""


AdvocatesOf = Callable[[str], Collection[str]]
"""The advocates of a customer, by referrals that were not rejected."""


def closes_ring(advocates_of: AdvocatesOf, advocate: str, friend: str) -> bool:
    """Whether a referral of the friend by the advocate closes a ring of 2 to MOST_PEOPLE people.

    It is asked for the advocates of the advocate and of customers up to three levels above.
    """
    seen: set[str] = set()
    level = {advocate}
    for _ in range(MOST_PEOPLE - 1):
        seen |= level
        level = {above for customer in level for above in advocates_of(customer)} - seen
        if friend in level:
            return True
    return False


class Edges:
    """Who brought whom: what is stored, and what a batch adds and rejects.

    A circle is closed by the referral that is recorded last, so only referrals from before it count.
    """

    def __init__(self, stored: Iterable[Mapping[str, Collection[str]]]) -> None:
        """Begin with the stored edges of all referrals that the batch judges."""
        self._stored: defaultdict[str, set[str]] = defaultdict(set)
        for edges in stored:
            for friend, advocates in edges.items():
                self._stored[friend].update(advocates)
        self._places: dict[UUID, int] = {}
        """The order in which the batch opened referrals."""
        self._opened: defaultdict[str, dict[UUID, str]] = defaultdict(dict)
        """By friend, the advocates of referrals that the batch opened and did not reject."""
        self._rejected: defaultdict[str, set[str]] = defaultdict(set)
        """By friend, the advocates of stored referrals that the batch rejected."""

    def open(self, referral_id: UUID, friend: str, advocate: str) -> None:
        """Open a referral, before it is judged."""
        self._places[referral_id] = len(self._places)
        self._opened[friend][referral_id] = advocate

    def reject(self, referral_id: UUID, friend: str, advocate: str) -> None:
        """Reject a referral, opened or stored."""
        if referral_id in self._places:
            self._opened[friend].pop(referral_id, None)
        else:
            self._rejected[friend].add(advocate)

    def closes(self, own: Mapping[str, Collection[str]], referral_id: UUID, advocate: str, friend: str) -> bool:
        """Whether a referral closes a ring; `own` has the stored edges from before it, if it is stored itself."""
        place = self._places.get(referral_id)

        def advocates_of(customer: str) -> Collection[str]:
            stored = own if place is None else self._stored
            left = set(stored.get(customer, ())) - self._rejected.get(customer, set())
            if place is not None:
                opened = self._opened.get(customer, {})
                left.update(above for id_, above in opened.items() if self._places[id_] < place)
            return left

        return closes_ring(advocates_of, advocate, friend)
