"""Circles of two to five, against a slow search of all chains."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.referrals.rules.circle import closes_ring


def chain(*people: str) -> dict[str, list[str]]:
    """Each person brought the next."""
    return {friend: [advocate] for advocate, friend in pairwise(people)}


@pytest.mark.parametrize("people", [2, 3, 4, 5, 6, 7])
def test_a_ring_of_two_to_five_is_closed_by_the_last_referral(people: int):
    names = [f"c{number}" for number in range(people)]
    assert closes_ring(chain(*names), names[-1], names[0]) == (people <= 5)


def test_a_chain_or_a_tree_is_no_ring():
    edges = chain("a", "b", "c", "d") | {"e": ["b"]}
    assert not closes_ring(edges, "d", "f")
    assert not closes_ring(edges, "e", "c")
    assert not closes_ring({}, "a", "b")
    assert not closes_ring({}, "a", "a")


PEOPLE = st.sampled_from("abcdefg")


def closes_slowly(edges: set[tuple[str, str]], advocate: str, friend: str) -> bool:
    """Whether some chain of at most four referrals leads from the friend down to the advocate."""
    reached = {friend}
    for _ in range(4):
        reached |= {below for above, below in edges if above in reached}
    return advocate in reached


@given(st.sets(st.tuples(PEOPLE, PEOPLE), max_size=14), PEOPLE, PEOPLE)
def test_it_agrees_with_a_search_from_the_friend(edges: set[tuple[str, str]], advocate: str, friend: str):
    advocates_of: dict[str, list[str]] = {}
    for above, below in edges:
        advocates_of.setdefault(below, []).append(above)
    if advocate != friend:
        assert closes_ring(advocates_of, advocate, friend) == closes_slowly(edges, advocate, friend)
