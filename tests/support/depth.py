"""Properties with some examples in `make test`, and with many in `make test-deep`."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import settings

Test = TypeVar("Test", bound=Callable[..., object])

PROFILE = "deep"
"""The profile of Hypothesis in `make test-deep`."""


def examples(quick: int, *, deep: int, **others: Any) -> Callable[[Test], Test]:
    """Settings of a property: numbers of examples in `make test` and in `make test-deep`, and further settings.

    Only with the profile `deep` has the test the mark of that name, so that it belongs to both.
    """
    if settings.get_current_profile_name() != PROFILE:
        return settings(max_examples=quick, **others)

    def mark(test: Test) -> Test:
        marked: Any = pytest.mark.deep(settings(max_examples=deep, **others)(test))
        return marked

    return mark
