"""The faults of a seed: their kinds, rates and times, drawn from it."""

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation.history import CUSTOMERS
from tests.simulation.link import Link

COMMITS: Final = (
    "lost before",
    "lost after",
    "lost meanwhile",
    "crash before",
    "crash after",
    "crash meanwhile",
    "error 40001",
)
STRIKES: Final = ("crash", "pause", "pause", "rebalance", "broker", "session", "restart", "database")

POISONS: Final = ("raises", "57014", "53200", "53100", "session")
"""A customer's events make the handler raise, a statement time out or find no memory or disk, or end the session."""

_WITHOUT_POISON: Final = 0.6
_LOSSES: Final = ("lost before", "lost after")
_ERRORS: Final = ("error 40001", "error 40P01")
_NEVER_FAILING: Final = ("BEGIN", "ROLLBACK", "SELECT pg_advisory")
_STEPS: Final = 1_200


@dataclass(frozen=True)
class Mixture:
    """The rates of faults per request, statement or step, and the steps at which strikes happen."""

    commits: float
    slow: float
    errors: float
    requests: float
    publishing: float
    gaps: float
    stalls: float
    strikes: dict[int, str]

    @classmethod
    def draw(cls, chance: Random) -> "Mixture":
        """Draw rates: some kinds never happen, others often."""
        kinds = chance.sample(STRIKES, chance.randint(1, len(STRIKES)))
        steps = sorted(chance.sample(range(50, _STEPS), chance.choice((0, 3, 6, 9))))
        return cls(
            commits=chance.choice((0.0, 0.04, 0.15)),
            slow=chance.choice((0.0, 0.2, 0.6)),
            errors=chance.choice((0.0, 0.002, 0.01)),
            requests=chance.choice((0.0, 0.01, 0.05)),
            publishing=chance.choice((0.0, 0.02, 0.1)),
            gaps=chance.choice((0.0, 0.1, 0.4)),
            stalls=chance.choice((0.0, 0.005, 0.02)),
            strikes={step: chance.choice(kinds) for step in steps},
        )


@dataclass(frozen=True)
class Poison:
    """A customer for which a service's handler always fails, and the kind of failure."""

    service: str
    customer: str
    kind: str

    @classmethod
    def draw(cls, chance: Random) -> "Poison | None":
        """Draw a poison; None for most seeds."""
        if chance.random() < _WITHOUT_POISON:
            return None
        return cls(chance.choice(("points", "tiers")), chance.choice(CUSTOMERS), chance.choice(POISONS))


class Faults:
    """The faults of a seed; `calm` stops all of them."""

    def __init__(self, chance: Random) -> None:
        self.mixture = Mixture.draw(chance)
        self.calm = False
        self._chance = chance

    def of_statement(self, link: Link, label: str) -> str:
        """The fault of a statement, for `Server`; "" for none."""
        if self.calm or link.process is None:
            return ""
        if label == "COMMIT":
            if self._chance.random() < self.mixture.commits:
                return self._chance.choice(COMMITS)
            return "slow" if self._chance.random() < self.mixture.slow else ""
        if self._chance.random() < self.mixture.errors:
            return self._chance.choice(_LOSSES if label.startswith(_NEVER_FAILING) else (*_LOSSES, *_ERRORS))
        return ""

    def of_step(self, step: int) -> str | None:
        """The strike before a step; the mildest is a stall of the processor."""
        if self.calm:
            return None
        if self.mixture.stalls and self._chance.random() < self.mixture.stalls:
            return "stall"
        return self.mixture.strikes.get(step)

    def of_request(self, what: str) -> bool:
        """Whether a request to the broker fails."""
        is_publishing = what in {"send", "produce", "acknowledge"}
        often = self.mixture.publishing if is_publishing else self.mixture.requests
        return not self.calm and self._chance.random() < often
