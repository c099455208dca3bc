"""Judges customers by the slow model of tests/tiers/oracles, which is written apart from the service."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from tests.tiers.oracles.at_risk import Moment, moments
from tests.tiers.oracles.facts import Assignment, Change
from tests.tiers.oracles.model import Outcome, Replay

Versions = Sequence[tuple[datetime | None, Mapping[str, Any]]]
"""The published documents by `effective_at`; the first is in force since ever."""

_AT_ONCE: Final = 25
_FEW: Final = 100
_PROCESSES: Final = 2


class History(NamedTuple):
    """What counts of a customer, the tiers given by hand, and when the API was asked for the tier."""

    customer: str
    changes: Sequence[Change]
    assignments: Sequence[Assignment]
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """A customer as of the question to the API, and once everything ahead has fallen due."""

    now: Outcome
    ahead: Outcome


def judge(versions: Versions, history: History, ahead: datetime) -> Judged:
    """Judge a customer from nothing."""
    replay = Replay(versions, history.changes, history.assignments)
    replay.run(history.asked_at)
    now = replay.outcome(history.asked_at)
    if ahead <= history.asked_at:
        return Judged(now, now)
    replay.run(ahead, after=history.asked_at)
    return Judged(now, replay.outcome(ahead))


def judge_all(versions: Versions, histories: Sequence[History], ahead: datetime) -> dict[str, Judged]:
    """Judge customers, many of them in several processes."""
    # Those with the longest histories first, so that no process is left with one of them at the end.
    ordered = sorted(histories, key=lambda history: -len(history.changes))
    if len(ordered) <= _FEW:
        return {history.customer: judge(versions, history, ahead) for history in ordered}
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        parts = ((versions, part, ahead) for part in _parts(ordered))
        return {name: judged for part in pool.map(_judge_part, parts) for name, judged in part}


def warnings(versions: Versions, histories: Sequence[History], at: datetime) -> dict[str, list[Moment]]:
    """By customer, the moments of warnings that have come by an instant, of the `valid_until` ahead of it."""
    return {own.customer: moments(versions, own.changes, own.assignments, at) for own in histories}


def _parts(histories: Sequence[History]) -> Iterator[list[History]]:
    left = iter(histories)
    while part := list(islice(left, _AT_ONCE)):
        yield part


def _judge_part(part: tuple[Versions, list[History], datetime]) -> list[tuple[str, Judged]]:
    versions, histories, ahead = part
    return [(history.customer, judge(versions, history, ahead)) for history in histories]
