"""The curve against a list of changes."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.tiers.rules import curve as curves
from services.tiers.rules.curve import Amount, Branch, Curve, Key, Reading, Stretch, T

# Instants crowd at the borders of stretches, and lie far apart.


def at_border(place: int, bits: int, by: int) -> int:
    """A microsecond at the border of a stretch, or beside it."""
    return max(0, (place << bits) + by)


_AT_BORDERS = st.builds(at_border, st.integers(0, 70), st.sampled_from((6, 12, 42, 54)), st.integers(-1, 1))
_INSTANTS = st.one_of(st.integers(0, 400), _AT_BORDERS)
_AMOUNTS = st.one_of(st.integers(-50, 100), st.builds(Fraction, st.integers(-9, 9), st.just(3)))
CHANGES = st.lists(st.tuples(_INSTANTS, _AMOUNTS), max_size=40)


def run(reading: Reading[T], curve: Curve, stored: dict[Key, Stretch]) -> T:
    """What a reading returns, where just the stretches are read that it asks for."""
    while True:
        try:
            wanted = next(reading)
        except StopIteration as end:
            return end.value
        curve.stretches.update({key: stored[key] for key in wanted if key in stored})


def value(changes: Sequence[tuple[int, Amount]], at: int) -> Amount:
    return sum(amount for moment, amount in changes if moment <= at)


@given(data=st.data(), early=CHANGES, late=CHANGES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_curve_is_the_sum_of_its_changes(
    monkeypatch: pytest.MonkeyPatch,
    data: st.DataObject,
    early: list[tuple[int, Amount]],
    late: list[tuple[int, Amount]],
):
    monkeypatch.setattr(curves, "MOST_CHANGES", 3)
    first, curve = Curve.empty(), Curve()
    for at, amount in early:
        run(first.add(at, amount), first, {})
    first.settle()
    run(curve.read(at for at, _ in late), curve, first.stretches)
    for at, amount in late:
        run(curve.add(at, amount), curve, first.stretches)
    changes = [*early, *late]
    for at in {data.draw(_INSTANTS), *(at for at, _ in changes)}:
        assert run(curve.value(at), curve, first.stretches) == value(changes, at)
    since, least = data.draw(_INSTANTS), data.draw(st.integers(1, 200))
    reached = [at for at, _ in changes if at >= since and value(changes, at) >= least]
    assert run(curve.first(since, least), curve, first.stretches) == min(reached, default=None)
    curve.settle()
    for (bits, _), stretch in curve.stretches.items():
        assert bits == 0 or isinstance(stretch, Branch) or len(stretch.changes) <= 3
