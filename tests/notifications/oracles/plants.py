"""Faults of the product that the comparison has to notice, each with the seed of a history that tells it."""

# pyright: reportUnknownLambdaType=false

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from services.notifications.handlers import experimenting
from services.notifications.rules import profile, trigger
from services.notifications.rules.journey import fold, machine
from services.notifications.rules.journey.live import InForce, Way
from services.notifications.store import experiments, forgetting, happened, timers

Plant = Callable[[pytest.MonkeyPatch], None]


def _sql(module: Any, name: str, old: str, new: str) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        statement: str = getattr(module, name)
        assert old in statement
        patch.setattr(module, name, statement.replace(old, new))

    return plant


def _call(module: Any, name: str, function: Callable[..., Any]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        assert callable(getattr(module, name))
        patch.setattr(module, name, function)

    return plant


_join, _wait, _choose, _referral = machine.join, machine.after_wait, experimenting.choose, trigger._of_referral  # pyright: ignore[reportPrivateUsage]


def _sliding(run: Any, joining: Any) -> Any:
    joined = _join(run, joining)
    return joined if joined.due_at is None else structs.replace(joined, due_at=joined.due_at + timedelta(hours=1))


async def _nothing(*_: object) -> int:
    return 0


PLANTS: dict[tuple[str, int], Plant] = {
    ("a digest takes no further trigger", 14): _call(fold, "collects", lambda *_: False),
    ("the window of a digest slides", 14): _call(fold, "join", _sliding),
    ("`again` refuses nothing", 10): _call(fold, "may_start", lambda *_: True),
    ("a wait ends by the clock of UTC", 14): _call(
        machine, "after_wait", lambda start, _zone, *rest: _wait(start, ZoneInfo("UTC"), *rest)
    ),
    ("the trigger itself counts as having happened", 47): _sql(
        happened, "ANSWER_SQL", "AND key IS DISTINCT FROM ask.besides", ""
    ),
    ("what came before the step fell due ends its wait", 12): _sql(happened, "ANSWER_SQL", "AND at > ask.after", ""),
    ("runs of a disabled journey go on", 53): _call(
        InForce, "way", lambda self, run: Way(self.versions[run.journey, run.version].version, halted=False)
    ),
    ("an erasure leaves runs", 212): _call(forgetting, "_erase_runs", _nothing),
    ("nobody is held out", 34): _call(
        experimenting, "choose", lambda key, each, customer: _choose(key, each._replace(holdout=0), customer)
    ),
    ("a goal before the exposure counts", 21): _sql(experiments, "CONVERT_SQL", "new.at > exposure.at AND", ""),
    ("an exposure forgets the goals known before it", 34): _sql(
        experiments, "EXPOSE_SQL", "AND happened.at > new.at", "AND false"
    ),
    ("the oldest profile wins", 30): _call(profile, "_precedence", lambda detail: -detail.at.timestamp()),
    ("a friend starts no run", 62): _call(trigger, "_of_referral", lambda *args: _referral(*args)[:1]),
    ("an older event begins a stretch of inactivity anew", 6): _sql(
        timers, "SET_SQL", "OR timer.base <= excluded.base", "OR true"
    ),
    ("spent points expire all the same", 69): _call(machine, "_is_over", lambda *_: False),
}
