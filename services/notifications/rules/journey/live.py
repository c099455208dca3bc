"""The journeys in force at an instant, and what handlers look up in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.notifications.rules.journey.compiled import Journey
from services.notifications.rules.journey.document import BeforeTrigger, DateTrigger, InactivityTrigger
from services.notifications.rules.journey.run import Run
from services.notifications.rules.journey.spending import SPENDING
from services.notifications.rules.journey.starting import Live, event_type
from services.notifications.rules.journey.triggers import PURCHASE


class Inside(StrEnum):
    """What becomes of the runs of older versions when a version takes effect."""

    GO_ON = "go_on"
    """They go on with the version that they began with."""
    MOVE = "move"
    """They go on with the new version from their next step on, where it has the step at which they wait."""
    STOP = "stop"
    """They end at their next step."""


class Published(NamedTuple):
    """A published version, and the instant from which it is in force."""

    effective_at: datetime
    version: Journey
    inside: Inside = Inside.GO_ON


class Way(NamedTuple):
    """How a run goes on: by which version, or not at all."""

    journey: Journey
    halted: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """The journeys in force at an instant.

    `by_type` has the enabled ones by the type of the event that starts them, `timed` those that time starts: `dates`,
    and `inactive` by the type of the event that is missed.
    `recorded` are the event types whose occurrences count somewhere, `awaited` those that a step waits for.
    Events of types that are not `relevant` concern no journey. `waits`: there may be runs that wait; `looks_later`: one
    that does may ask for tier, points or local time. Those that are `stopped` are disabled; `of_points` warn of points
    that expire. `until` is when another version takes effect, if any is published.
    """

    newest: Mapping[str, Published]
    versions: Mapping[tuple[str, int], Published]
    by_type: Mapping[str, Sequence[Live]]
    timed: Mapping[str, Live]
    dates: Sequence[Live]
    inactive: Mapping[str, Sequence[Live]]
    recorded: frozenset[str]
    awaited: frozenset[str]
    relevant: frozenset[str]
    looks_later: bool
    waits: bool
    stopped: frozenset[str]
    of_points: frozenset[str]
    until: datetime | None

    def way(self, run: Run) -> Way:
        """How a run goes on."""
        own = self.versions[run.journey, run.version].version
        newest = self.newest[run.journey]
        if newest.version.version == run.version or newest.inside is Inside.GO_ON:
            return Way(own, halted=not newest.version.enabled)
        if newest.inside is Inside.STOP or not newest.version.enabled:
            return Way(own, halted=True)
        place, other = own.places.get(run.step), newest.version.places.get(run.step)
        if place is None or other is None:
            return Way(own, halted=False)
        same = type(own.nodes[place].document) is type(newest.version.nodes[other].document)
        return Way(newest.version if same else own, halted=False)


def in_force(documents: Mapping[str, Sequence[Published]], now: datetime) -> InForce:
    """The journeys in force at an instant, of all published versions in the order in which they take effect."""
    newest: dict[str, Published] = {}
    by_type: dict[str, list[Live]] = {}
    timed: dict[str, Live] = {}
    later: list[datetime] = []
    for id_, published in documents.items():
        begun = [each for each in published if each.effective_at <= now]
        later += [each.effective_at for each in published if each.effective_at > now]
        if not begun:
            continue
        newest[id_] = begun[-1]
        if begun[-1].version.enabled:
            live = _live(id_, begun)
            start = live.journey.document.trigger
            if isinstance(start, DateTrigger | InactivityTrigger):
                timed[id_] = live
            else:
                by_type.setdefault(str(event_type(start)), []).append(live)
    journeys = [each.version for published in documents.values() for each in published]
    recorded = frozenset({PURCHASE}).union(*(journey.recorded for journey in journeys))
    return InForce(
        newest=newest,
        versions={(id_, each.version.version): each for id_, published in documents.items() for each in published},
        by_type=by_type,
        timed=timed,
        dates=[live for live in timed.values() if isinstance(live.journey.document.trigger, DateTrigger)],
        inactive=_by_missed_type(timed.values()),
        recorded=recorded,
        awaited=frozenset[str]().union(*(journey.awaited for journey in journeys)),
        relevant=recorded.union(by_type, SPENDING),
        waits=any(journey.enabled and journey.waits for journey in journeys),
        looks_later=any(journey.enabled and journey.looks and journey.waits for journey in journeys),
        stopped=frozenset(id_ for id_, each in newest.items() if not each.version.enabled),
        of_points=frozenset(id_ for id_, each in newest.items() if _is_of_points(each.version)),
        until=min(later, default=None),
    )


def _is_of_points(journey: Journey) -> bool:
    start = journey.document.trigger
    return isinstance(start, BeforeTrigger) and start.what == "points_expiry"


def _by_missed_type(timed: Iterable[Live]) -> Mapping[str, Sequence[Live]]:
    by_type: dict[str, list[Live]] = {}
    for live in timed:
        if isinstance(start := live.journey.document.trigger, InactivityTrigger):
            by_type.setdefault(start.of, []).append(live)
    return by_type


def _live(id_: str, begun: Sequence[Published]) -> Live:
    keeping = {each.version.keeps_runs for each in begun}
    return Live(
        id=id_,
        journey=begun[-1].version,
        since=next(each.effective_at for each in begun if each.version.enabled),
        kept=True in keeping,
        unkept=False in keeping,
    )
