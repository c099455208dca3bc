"""Plants bugs, one at a time, and shows that each is caught."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caught:
    """A planted bug, and the checks that caught it (empty: none did)."""

    plant: str
    seconds: float
    by: str
