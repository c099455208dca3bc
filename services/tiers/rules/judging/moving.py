"""What moves a customer by itself: promotion, a tier given by hand, and a new version of the program."""

from datetime import datetime
from typing import cast

from services.tiers.rules.judging.conditions import (
    Ways,
    difference,
    highest_entered,
    highest_kept,
    is_kept_in,
    values_of,
)
from services.tiers.rules.judging.ending import keep_in_grace
from services.tiers.rules.judging.run import Run, highest_floor, values_in
from services.tiers.rules.judging.state import Assigned, Assignment, Foothold, Span
from services.tiers.rules.metrics import Reading, Request, Sums
from services.tiers.rules.program.compiled import Program


def promote(run: Run, reason: str | None) -> None:
    """Promote the customer to the highest tier whose `enter` holds.

    `reason` is that of what happened; None: an event, so that the metric that made the difference is the reason.
    """
    standing, at = run.standing, run.at
    assert at is not None, "something happened"
    tier = highest_entered(run.program, run.tier.rank, run.values)
    if tier is None or standing.locked_until:
        return
    basis = run.window_basis(tier)
    end = run.calendar.reached(at) if run.ends(tier) else None
    reached = run.stand(tier, basis)
    if reason is None:
        reason = difference(tier.enter, run.values_before(), run.values) or _metric(run, tier.enter)
    run.change(reason, tier, valid_until=end, grace_until=None, assigned=None, basis=basis, reached=reached)


def _metric(run: Run, ways: Ways) -> str:
    """The metric of the first condition of the first list that holds."""
    return next(
        way[0].metric
        for way in ways
        if all(run.values.get(condition.key, 0) >= condition.at_least for condition in way)
    )


def kept_by(run: Run) -> str:
    """The metric by which a tier in grace is kept by an event."""
    before, tier = run.values_before(), run.tier
    return difference(tier.keep, before, run.values) or difference(tier.enter, before, run.values) or "period_end"


def assign(run: Run, assignment: Assignment) -> None:
    """Put the customer into a tier by hand (answers.md T8 to T11, T38)."""
    if assignment.tier not in run.program:
        return
    at = assignment.at
    tier, until = run.program.tier(assignment.tier), assignment.until
    if tier.rank == 0 and not assignment.locked:
        until = None
    if until is not None:
        end, reached = (until if tier.rank else None), run.standing.reached
    else:
        # What was given by hand is the floor anew.
        reached = (Foothold(tier.id, None),) if tier.rank else ()
        downgrade = run.program.downgrade
        is_at_once = downgrade.when == "at_once" and downgrade.to != "never" and tier.rank > 0 and not tier.permanent
        end = run.calendar.reached(at) if run.ends(tier) or is_at_once else None
    assigned = Assigned(until, assignment.locked and until is not None)
    run.change("assigned", tier, valid_until=end, grace_until=None, assigned=assigned, basis=None, reached=reached)


def change_version(run: Run, program: Program) -> Reading[None]:
    """Judge by a new version from the current instant on."""
    old, standing, at = run.program, run.standing, run.at
    assert at is not None, "the version comes into force"
    run.use(program)
    if standing.tier not in program or any(foothold.tier not in program for foothold in standing.reached):
        _rename(run, old)
    answers = yield [Request(run.calendar.window(at), None, at)]
    run.values = values_of(program, cast(Sums, answers[0]))
    window = run.calendar.window(at)
    run.oldest = max(filter(None, (window, run.anchor)), default=None)
    if _is_judged_anew(run):
        yield from _judge_anew(run, at)
    else:
        _leave(run, at)
        keep_in_grace(run, "program")
    promote(run, "program")


def _rename(run: Run, old: Program) -> None:
    """Move a customer, and the tiers reached, out of tiers that the new version lacks."""
    program, standing = run.program, run.standing

    def new(tier: str) -> str:
        return tier if tier in program else program.moves.get(tier, program.first.id)

    tier = program.tier(new(standing.tier))
    bases = {new(foothold.tier): foothold.basis for foothold in standing.reached}
    reached = sorted((Foothold(*item) for item in bases.items()), key=lambda foothold: program.tier(foothold.tier).rank)
    run.change("program", tier, reached=tuple(item for item in reached if program.tier(item.tier).rank))


def _is_judged_anew(run: Run) -> bool:
    """Whether a new version judges whether the tier is held (answers.md T14)."""
    program, standing = run.program, run.standing
    if program.on_publish != "full" or program.downgrade.to == "never":
        return False
    return not run.tier.permanent and not standing.locked_until


def _leave(run: Run, at: datetime) -> None:
    """Leave the customer in the tier until its own end, as far as the version has ends (answers.md T13)."""
    standing = run.standing
    if standing.assigned and standing.assigned.until:
        return
    if not run.ends(run.tier):
        if standing.valid_until or standing.grace_until:
            run.change("program", run.tier, valid_until=None, grace_until=None)
    elif standing.valid_until is None:
        run.change("program", run.tier, valid_until=run.calendar.period_from(at))


def _judge_anew(run: Run, at: datetime) -> Reading[None]:
    """Judge whether the tier is held at all; it falls to the highest that is, or is held for one period."""
    tier = run.tier
    if run.program.period.kind in ("calendar_year", "anniversary"):
        spans = run.ended(at)
        periods = yield from values_in(run.program, spans, at)
    else:
        spans, periods = (Span(run.calendar.window(at), at),), [run.values]
    kept = tier if is_kept_in(tier, periods) else highest_kept(run.program, tier.rank, periods)
    basis = run.basis(kept, spans)
    floor = yield from highest_floor(run, range(kept.rank + 1, tier.rank), at)
    if floor is not None:
        kept, basis = run.program.tier(floor.tier), floor.basis
    end = run.calendar.period_from(at) if run.ends(kept) else None
    reached = run.stand(kept, basis)
    run.change("program", kept, valid_until=end, grace_until=None, assigned=None, basis=basis, reached=reached)
