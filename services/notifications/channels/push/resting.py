"""Push services that do not answer, and are left alone for a while: customers choose them."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

FAILURES: Final = 3
"""How many requests in a row stay without an answer before an origin rests."""

PAUSE: Final = timedelta(minutes=1)

_ORIGINS: Final = 1_000  # those that failed last are kept


class Resting:
    """Which origins rest; `clock` is in seconds. One that hangs would hold the connections that others need."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def rests(self, endpoint: str) -> bool:
        """Whether nothing should be sent to an endpoint now."""
        failures, until = self._failed.get(_origin(endpoint), (0, 0.0))
        return failures >= FAILURES and self._clock() < until

    def failed(self, endpoint: str) -> None:
        """No answer came from an endpoint."""
        origin = _origin(endpoint)
        failures, _ = self._failed.pop(origin, (0, 0.0))
        self._failed[origin] = (failures + 1, self._clock() + PAUSE.total_seconds())
        while len(self._failed) > _ORIGINS:
            self._failed.popitem(last=False)

    def answered(self, endpoint: str) -> None:
        """An endpoint answered, whatever it said."""
        self._failed.pop(_origin(endpoint), None)


def _origin(endpoint: str) -> str:
    return urlsplit(endpoint).netloc.lower()
