"""The pace of publishing follows the faults."""

from hypothesis import given
from hypothesis import strategies as st

from tests.prove.run import keeps_up


@given(struck=st.floats(0, 1, exclude_max=True))
def test_the_history_is_slightly_ahead_of_the_faults_and_ends_after_the_last(struck: float):
    assert keeps_up(struck, struck)
    assert not keeps_up(struck, 1)


def test_without_planned_faults_nothing_waits():
    assert keeps_up(1, 1)
    assert keeps_up(0, 0.08)
    assert not keeps_up(0, 0.09)
