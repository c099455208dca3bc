"""The arms of an experiment, and which of them a customer is in."""

import hmac
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Final, NamedTuple

_HALF: Final = 16
_RANGE: Final = 256**_HALF
"""Each half of a digest is a number below it."""


class Arm(NamedTuple):
    """An arm and its weight: customers are shared out in proportion to the weights."""

    id: str
    weight: int = 1


class Goal(NamedTuple):
    """An event type that counts as converted within some days (of 24 hours) after the exposure."""

    type: str
    days: int

    @property
    def span(self) -> timedelta:
        """How long after an exposure the goal counts."""
        return timedelta(days=self.days)


class Experiment(NamedTuple):
    """An experiment: the arms, of which the first is compared against, and the share of customers held out of all."""

    id: str
    arms: tuple[Arm, ...]
    holdout: float = 0.0
    goal: Goal | None = None


def undeclared(id_: str, arms: Sequence[str]) -> Experiment:
    """The experiment of a split that names one that nobody declared: equal weights, nobody held out, no goal."""
    return Experiment(id_, tuple(Arm(arm) for arm in arms))


def choose(key: bytes, experiment: Experiment, customer_id: str) -> str | None:
    """The arm of a customer who reaches the experiment for the first time; None: held out.

    The same customer gets the same arm each time, and those of two experiments are independent. Who is held out does
    not depend on the weights, and the arm does not depend on the share held out.
    """
    # A length in front: no two pairs of ids make the same text.
    text = f"{len(experiment.id)}:{experiment.id}{customer_id}".encode()
    digest = hmac.digest(key, text, "sha256")
    if int.from_bytes(digest[:_HALF]) < experiment.holdout * _RANGE:
        return None
    weights = list(accumulate(arm.weight for arm in experiment.arms))
    drawn = int.from_bytes(digest[_HALF:]) * weights[-1] // _RANGE
    return next(arm.id for arm, upto in zip(experiment.arms, weights, strict=True) if drawn < upto)
