"""What falls due: a tier's `valid_until`, the end of its grace, and the end of an assignment."""

from collections.abc import Sequence
from datetime import datetime

from services.tiers.rules.judging.conditions import highest_kept, is_kept, is_kept_in
from services.tiers.rules.judging.run import Run, highest_floor, values_in
from services.tiers.rules.judging.state import Basis, Foothold, Span, Values
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.compiled import Tier


def end_due(run: Run) -> Reading[bool]:
    """Apply what is due at the current instant; returns whether anything was."""
    assert run.at is not None, "something happened"
    was_due = False
    while (due := run.standing.due_at) is not None and due <= run.at:
        was_due = True
        if run.standing.assigned and run.standing.assigned.until:
            yield from _end_assignment(run, due)
        elif run.standing.grace_until:
            yield from _end_grace(run)
        else:
            yield from _end_period(run, due, "period_end")
    return was_due


def keep_in_grace(run: Run, metric: str) -> None:
    """Keep a tier in grace where it holds by the window of the current instant: held as if reached now."""
    assert run.at is not None, "something happened"
    if run.standing.grace_until and is_kept(run.tier, run.values):
        basis = run.window_basis(run.tier)
        end = run.calendar.reached(run.at) if run.ends(run.tier) else None
        run.change(metric, run.tier, valid_until=end, grace_until=None, basis=basis, reached=run.stand(run.tier, basis))


def target(run: Run, tier: Tier, periods: Sequence[Values]) -> Tier:
    """The tier to which a tier falls, by the values of the period that ended, floors aside."""
    if run.program.downgrade.to == "one_step":
        return run.program.tiers[tier.rank - 1]
    return highest_kept(run.program, tier.rank, periods)


def _end_assignment(run: Run, until: datetime) -> Reading[None]:
    run.change("assignment_ended", run.tier, assigned=None)
    yield from _end_period(run, until, "assignment_ended")
    floor = yield from highest_floor(run, range(run.tier.rank + 1, len(run.program.tiers)), until)
    if floor is not None:
        _return_to(run, floor, "assignment_ended")


def _return_to(run: Run, floor: Foothold, reason: str) -> None:
    """Return to a floor, which has no end."""
    tier = run.program.tier(floor.tier)
    reached = run.stand(tier, floor.basis)
    run.change(reason, tier, valid_until=None, grace_until=None, basis=floor.basis, reached=reached)


def _end_period(run: Run, end: datetime, reason: str) -> Reading[None]:
    """Judge the tier by the period that ends with `end`: it is kept, or its grace begins, or it falls."""
    tier, spans = run.tier, run.ended(end)
    periods = (yield from values_in(run.program, spans, end)) if tier.rank else []
    if not tier.rank or is_kept_in(tier, periods):
        basis = run.basis(tier, spans)
        following = run.calendar.period_from(end) if run.ends(tier) else None
        reached = run.stand(tier, basis)
        run.change(reason, tier, valid_until=following, assigned=None, basis=basis, reached=reached)
    elif not run.program.has_ends:
        # The end of an assignment under `never`, `lifetime` or `at_once`: there and then, without grace.
        yield from _fall(run, highest_kept(run.program, tier.rank, periods), (end, spans, periods), reason)
    elif run.program.downgrade.grace_days:
        grace_until = run.calendar.days_after(end, run.program.downgrade.grace_days)
        run.change(reason, tier, grace_until=grace_until, assigned=None)
    else:
        yield from _fall(run, target(run, tier, periods), (end, spans, periods), reason)


def _end_grace(run: Run) -> Reading[None]:
    end, tier = run.standing.valid_until, run.tier
    assert end is not None, "a grace follows a valid_until"
    spans = run.ended(end)
    periods = yield from values_in(run.program, spans, end)
    yield from _fall(run, target(run, tier, periods), (end, spans, periods), "grace_end")


def _fall(
    run: Run, lower: Tier, ended: tuple[datetime, Sequence[Span], Sequence[Values]], reason: str
) -> Reading[None]:
    """Fall to a lower tier, or to a floor above it; the lower tier is held for one period from the end."""
    end, spans, periods = ended
    floor = yield from highest_floor(run, range(lower.rank + 1, run.tier.rank), end)
    if floor is not None:
        lower = run.program.tier(floor.tier)
    basis = run.basis(lower, spans) if is_kept_in(lower, periods) else own_basis(run, lower)
    following = run.calendar.period_from(end) if run.ends(lower) else None
    reached = run.stand(lower, basis)
    run.change(reason, lower, valid_until=following, grace_until=None, assigned=None, basis=basis, reached=reached)


def own_basis(run: Run, tier: Tier) -> Basis | None:
    """What a tier stood on when it was itself reached or kept last; None: on nothing (answers.md T16)."""
    return next((foothold.basis for foothold in run.standing.reached if foothold.tier == tier.id), None)
