"""What goes wrong, and when: drawn from the seed, a different mixture for each."""

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation.links import Link

COMMITS: Final = (
    "lost before",
    "lost after",
    "lost meanwhile",
    "crash before",
    "crash after",
    "crash meanwhile",
    "error 40001",
)
STRIKES: Final = ("crash", "pause", "rebalance", "broker", "session", "restart", "database")

_STEPS: Final = 2_000


@dataclass(frozen=True)
class Mixture:
    """How often, of one request or statement, something goes wrong; and at which steps something strikes."""

    commits: float
    errors: float
    requests: float
    publishing: float
    gaps: float
    strikes: dict[int, str]

    @classmethod
    def draw(cls, chance: Random) -> "Mixture":
        """Some kinds not at all, others often."""
        kinds = chance.sample(STRIKES, chance.randint(1, len(STRIKES)))
        steps = sorted(chance.sample(range(50, _STEPS), chance.choice((0, 2, 5, 9))))
        return cls(
            commits=chance.choice((0.0, 0.04, 0.15)),
            errors=chance.choice((0.0, 0.002, 0.01)),
            requests=chance.choice((0.0, 0.01, 0.05)),
            publishing=chance.choice((0.0, 0.02, 0.1)),
            gaps=chance.choice((0.0, 0.1, 0.4)),
            strikes={step: chance.choice(kinds) for step in steps},
        )


class Faults:
    """The faults of a seed; after `calm` nothing goes wrong any more."""

    def __init__(self, chance: Random) -> None:
        self.mixture = Mixture.draw(chance)
        self.calm = False
        self._chance = chance

    def of_statement(self, link: Link, label: str) -> str:
        """What becomes of a statement: see `Server`."""
        if self.calm or link.process is None:
            return ""
        if label == "COMMIT":
            return self._chance.choice(COMMITS) if self._chance.random() < self.mixture.commits else ""
        if self._chance.random() < self.mixture.errors:
            return self._chance.choice(("error 40001", "error 40P01", "lost before", "lost after"))
        return ""

    def of_request(self, what: str) -> bool:
        """Whether a request to the broker fails."""
        is_publishing = what in {"send", "produce", "acknowledge"}
        often = self.mixture.publishing if is_publishing else self.mixture.requests
        return not self.calm and self._chance.random() < often
