"""What is told of a customer's tier: one announcement for an instant in order, or for everything that is late."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from services.tiers.rules.judging.run import Entry, direction
from services.tiers.rules.judging.state import Standing, Values
from services.tiers.rules.program.compiled import Program, Tier
from services.tiers.rules.program.versions import Versions

Kind = Literal["promoted", "demoted", "retained", "corrected"]


class Step(NamedTuple):
    """From `at` on, the customer is in the tier, whose points are multiplied."""

    at: datetime
    tier: str
    points_multiplier: str


class Announcement(NamedTuple):
    """A change that is recorded and published; `timeline` replaces what was told from `effective_at` on.

    `program_version` is the version in force at `effective_at`, `version` that which has the tier `to`.
    """

    kind: Kind
    from_: str
    to: str
    reason: str
    effective_at: datetime
    valid_until: datetime | None
    program_version: int
    points_multiplier: str
    timeline: Sequence[Step]
    metrics: Values
    version: int

    def judged_by(self, versions: Versions) -> Program:
        """The version that has the tier `to`."""
        return versions.version(self.version)


class Ended(NamedTuple):
    """The end of a timeline: the standing, the version by which it is judged, and the values of metrics."""

    standing: Standing
    version: int
    metrics: Values


def of_entry(versions: Versions, entry: Entry) -> Announcement | None:
    """What is told of an instant in order; None where customers see no change."""
    if entry.kind is None:
        return None
    tier = versions.version(entry.version).tier(entry.standing.tier)
    return Announcement(
        entry.kind,
        entry.before.tier,
        tier.id,
        entry.reason,
        entry.at,
        entry.standing.valid_until,
        entry.version,
        tier.points_multiplier,
        (Step(entry.at, tier.id, tier.points_multiplier),),
        entry.metrics,
        entry.version,
    )


def of_late(
    versions: Versions, base: Step, old: tuple[Sequence[Step], Ended], new: tuple[Sequence[Entry], Ended], reason: str
) -> Announcement | None:
    """What is told of everything that was late (answers.md T26); None where customers see no change.

    `base` is the step in force right before the first late instant; `old` and `new` are the timelines from there on,
    before and after.
    """
    old_steps, new_steps = compact(base, old[0]), steps(versions, base, new[0])
    before, after = old[1], new[1]
    timeline = _difference(base, old_steps, new_steps)
    if not timeline:
        if before.standing.valid_until == after.standing.valid_until:
            return None
        last = new[0][-1].at if new[0] else base.at
        timeline = [Step(last, after.standing.tier, _tier(versions, after).points_multiplier)]
    from_, to = _tier(versions, before), _tier(versions, after)
    moved = direction(from_, versions.version(after.version), to)
    return Announcement(
        "promoted" if moved > 0 else "demoted" if moved < 0 else "corrected",
        from_.id,
        to.id,
        reason,
        timeline[0].at,
        after.standing.valid_until,
        versions.in_force(timeline[0].at).version,
        to.points_multiplier,
        timeline,
        after.metrics,
        after.version,
    )


def steps(versions: Versions, base: Step, entries: Iterable[Entry]) -> list[Step]:
    """The steps that entries make after `base`: those that change the tier or its multiplier."""
    own = (
        Step(
            entry.at,
            entry.standing.tier,
            versions.version(entry.version).tier(entry.standing.tier).points_multiplier,
        )
        for entry in entries
    )
    return compact(base, own)


def compact(base: Step, all_steps: Iterable[Step]) -> list[Step]:
    """The steps after `base` that change the tier or its multiplier."""
    kept: list[Step] = []
    last = base
    for step in all_steps:
        if step[1:] != last[1:]:
            kept.append(step)
            last = step
    return kept


def _difference(base: Step, old: Sequence[Step], new: Sequence[Step]) -> list[Step]:
    """The steps that replace `old` from the first instant on at which `new` differs; none where they are equal."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    rest = list(new[same:])
    changed_at = min((step.at for step in (*old[same : same + 1], *rest[:1])), default=None)
    if changed_at is None or (rest and rest[0].at == changed_at):
        return rest
    last = new[same - 1] if same else base
    return [last._replace(at=changed_at), *rest]


def _tier(versions: Versions, ended: Ended) -> Tier:
    return versions.version(ended.version).tier(ended.standing.tier)
