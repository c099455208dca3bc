"""What moves a customer by itself: promotion, a tier given by hand, and a new version of the program."""

from datetime import datetime
from typing import cast

from msgspec.structs import replace

from services.tiers.rules.judging.conditions import (
    Ways,
    difference,
    highest_entered,
    highest_kept,
    is_kept_in,
    values_of,
)
from services.tiers.rules.judging.ending import keep_in_grace
from services.tiers.rules.judging.run import Run, values_in
from services.tiers.rules.judging.state import Assigned, Assignment, Foothold, Span
from services.tiers.rules.metrics import Reading, Request, Sums
from services.tiers.rules.program.compiled import Program


def promote(run: Run, reason: str | None) -> bool:
    """Promote the customer to the highest tier whose `enter` holds; returns whether there is one above.

    `reason` is that of what happened; None: an event, so that the metric that made the difference is the reason.
    """
    standing, at = run.standing, run.at
    assert at is not None, "something happened"
    tier = highest_entered(run.program, run.tier.rank, run.values)
    if tier is None or standing.locked_until:
        return False
    if reason is None:
        reason = difference(tier.enter, run.values_before(), run.values) or _metric(run, tier.enter)
    run.hold(reason, tier, run.calendar.reached(at) if run.ends(tier) else None, run.window())
    return True


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
    assigned = Assigned(until, assignment.locked and until is not None)
    if until is not None:
        end = until if tier.rank else None
        run.change("assigned", tier, valid_until=end, grace_until=None, assigned=assigned, basis=None)
        return
    # `at_once` by days holds it as if it was reached, too.
    is_at_once = run.program.falls_at_once and tier.rank > 0 and not tier.permanent
    end = run.calendar.reached(at) if run.ends(tier) or is_at_once else None
    run.settle("assigned", tier, end, None)
    run.change("assigned", tier, assigned=assigned)


def change_version(run: Run, program: Program) -> Reading[None]:
    """Judge by a new version from the current instant on."""
    old, at = run.program, run.at
    assert at is not None, "the version comes into force"
    run.use(program)
    run.reason = "program"
    if [tier.id for tier in program.tiers] != [tier.id for tier in old.tiers]:
        _rename(run)
    window = run.calendar.window(at)
    answers = yield [Request(window, None, at)]
    run.values = values_of(program, cast("Sums", answers[0]))
    run.oldest = max(filter(None, (window, run.anchor)), default=None)
    _leave(run, at)
    if promote(run, "program"):
        return
    if _is_judged_anew(run):
        yield from _judge_anew(run, at)
    else:
        keep_in_grace(run, "program")


def _rename(run: Run) -> None:
    """Move a customer, and the tiers reached, out of tiers that the new version lacks."""
    program, standing = run.program, run.standing

    def new(tier: str) -> str:
        return tier if tier in program else program.moves.get(tier, program.first.id)

    def renamed(footholds: tuple[Foothold, ...]) -> tuple[Foothold, ...]:
        # Of two tiers that become one, the customer's own counts, then the one that had the name before.
        order = sorted(footholds, key=lambda own: (own.tier == standing.tier, own.tier in program))
        bases = {new(own.tier): own.basis for own in order}
        return tuple(Foothold(*own) for own in sorted(bases.items(), key=lambda own: program.tier(own[0]).rank))

    tier = program.tier(new(standing.tier))
    if tier.id != standing.tier:
        run.change("program", tier)
    reached = renamed(standing.reached)
    if standing.assigned is None or standing.assigned.until is None:
        reached = tuple(own for own in reached if program.tier(own.tier).rank <= tier.rank)
    lost = renamed(standing.lost)
    if standing.assigned is None and all(own.tier != tier.id for own in reached):
        # In it by right, though it was the first tier before, or is one that the first became.
        basis = next((own.basis for own in lost if own.tier == tier.id), None)
        reached = (*reached, Foothold(tier.id, basis))
    if (reached, lost) != (standing.reached, standing.lost):
        run.standing = replace(run.standing, reached=reached, lost=lost)


def _is_judged_anew(run: Run) -> bool:
    """Whether a new version judges whether the tier is held (answers.md T14)."""
    program, standing = run.program, run.standing
    if program.on_publish != "full" or program.downgrade.to == "never":
        return False
    return run.tier.rank > 0 and not run.tier.permanent and not standing.locked_until


def _leave(run: Run, at: datetime) -> None:
    """Leave the customer in the tier until its own end, as far as the version has ends (answers.md T13)."""
    standing = run.standing
    if standing.assigned and standing.assigned.until:
        # The first tier has no `valid_until`, yet the assignment ends.
        run.standing = replace(standing, valid_until=standing.assigned.until if run.tier.rank else None)
    elif not run.ends(run.tier):
        if standing.valid_until or standing.grace_until:
            run.standing = replace(standing, valid_until=None, grace_until=None)
    elif standing.valid_until is None:
        run.standing = replace(standing, valid_until=run.calendar.period_from(at))


def _judge_anew(run: Run, at: datetime) -> Reading[None]:
    """Judge whether the tier is held at all; it falls to the highest that is, or is held for one period."""
    tier = run.tier
    if run.program.period.kind in ("calendar_year", "anniversary"):
        spans = run.ended(at)
        periods = yield from values_in(run.program, spans, at)
    else:
        spans, periods = (Span(run.calendar.window(at), at),), [run.values]
    if not is_kept_in(tier, periods):
        tier = highest_kept(run.program, tier.rank, periods)
    tier = run.at_least_floor(tier)
    end = run.calendar.period_from(at) if run.ends(tier) else None
    if is_kept_in(tier, periods):
        run.hold("program", tier, end, spans)
    else:
        run.fall("program", tier, end)
