"""Circles of two to five, against a slow search of all chains."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.referrals.rules.circle import AdvocatesOf, Edges, closes_ring


def chain(*people: str) -> dict[str, list[str]]:
    """Each person brought the next."""
    return {friend: [advocate] for advocate, friend in pairwise(people)}


def lookup(edges: dict[str, list[str]]) -> AdvocatesOf:
    return lambda customer: edges.get(customer, [])


@pytest.mark.parametrize("people", [2, 3, 4, 5, 6, 7])
def test_a_ring_of_two_to_five_is_closed_by_the_last_referral(people: int):
    names = [f"c{number}" for number in range(people)]
    assert closes_ring(lookup(chain(*names)), names[-1], names[0]) == (people <= 5)


def test_a_chain_or_a_tree_is_no_ring():
    edges = chain("a", "b", "c", "d") | {"e": ["b"]}
    assert not closes_ring(lookup(edges), "d", "f")
    assert not closes_ring(lookup(edges), "e", "c")
    assert not closes_ring(lookup({}), "a", "b")
    assert not closes_ring(lookup({}), "a", "a")


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
        assert closes_ring(lookup(advocates_of), advocate, friend) == closes_slowly(edges, advocate, friend)


SIGN_UPS = st.lists(st.tuples(PEOPLE, PEOPLE, st.integers(0, 3)), max_size=12)


@given(SIGN_UPS, st.integers(0, 12))
def test_circles_do_not_depend_on_what_was_stored_before_the_batch(sign_ups: list[tuple[str, str, int]], split: int):
    """Advocate, friend, and of every fourth referral: one that was rejected before."""
    rejected: set[int] = set()
    edges = Edges([stored(sign_ups, rejected, split)])
    for place, (advocate, friend, luck) in enumerate(sign_ups):
        if place >= split:
            edges.open(UUID(int=place), friend, advocate)
        expected = advocate != friend and closes_slowly(edges_before(sign_ups, rejected, place), advocate, friend)
        own = stored(sign_ups, set(), min(place, split))
        if advocate != friend:
            assert edges.closes(own, UUID(int=place), advocate, friend) == expected
        victim = place - luck
        if luck and victim >= 0 and is_only(sign_ups, victim):
            rejected.add(victim)
            edges.reject(UUID(int=victim), sign_ups[victim][1], sign_ups[victim][0])


def edges_before(sign_ups: list[tuple[str, str, int]], rejected: set[int], place: int) -> set[tuple[str, str]]:
    return {edge[:2] for number, edge in enumerate(sign_ups[:place]) if number not in rejected}


def stored(sign_ups: list[tuple[str, str, int]], rejected: set[int], count: int) -> dict[str, list[str]]:
    edges: dict[str, list[str]] = {}
    for advocate, friend in edges_before(sign_ups, rejected, count):
        edges.setdefault(friend, []).append(advocate)
    return edges


def is_only(sign_ups: list[tuple[str, str, int]], place: int) -> bool:
    """Whether no other referral has the same two sides."""
    return sum(edge[:2] == sign_ups[place][:2] for edge in sign_ups) == 1
