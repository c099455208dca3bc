"""Fixtures of the tests of tiers."""

from collections.abc import Callable

import pytest

from shared import telemetry

Counted = Callable[[], dict[str, float]]

KINDS = ("natural_key", "repeat_differs")


def _values() -> dict[str, float]:
    return {kind: telemetry.DUPLICATES.labels(kind)._value.get() for kind in KINDS}


@pytest.fixture
def counted() -> Counted:
    """How many repeats were counted since the test began, by kind."""
    before = _values()

    def since() -> dict[str, float]:
        return {kind: value - before[kind] for kind, value in _values().items() if value != before[kind]}

    return since
