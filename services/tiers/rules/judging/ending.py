"""What falls due: a tier's `valid_until`, the end of its grace, and the end of an assignment."""

from collections.abc import Sequence
from datetime import datetime

from services.tiers.rules.judging.conditions import highest_kept, is_kept, is_kept_in
from services.tiers.rules.judging.run import Run, values_in
from services.tiers.rules.judging.state import Span, Values
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.compiled import Tier


def end_due(run: Run) -> Reading[str | None]:
    """Apply what is due at the current instant; returns the reason of the last of it, None where nothing is due."""
    assert run.at is not None, "something happened"
    reason = None
    while (due := run.standing.due_at) is not None and due <= run.at:
        if run.standing.assigned and run.standing.assigned.until:
            reason = "assignment_ended"
            yield from _end_assignment(run, due)
        elif run.standing.grace_until:
            reason = "grace_end"
            yield from _end_grace(run)
        else:
            reason = "period_end"
            yield from _end_period(run, due, reason)
    return reason


def keep_in_grace(run: Run, reason: str) -> None:
    """Keep a tier in grace where it holds by the window of the current instant: held as if reached then."""
    assert run.at is not None, "something happened"
    if run.standing.grace_until and is_kept(run.tier, run.values):
        end = run.calendar.reached(run.at) if run.ends(run.tier) else None
        run.hold(reason, run.tier, end, run.window())


def target(run: Run, tier: Tier, periods: Sequence[Values]) -> Tier:
    """The tier to which a tier falls when a period has ended, by the values of the period."""
    if run.program.downgrade.to == "one_step":
        lower = run.program.tiers[tier.rank - 1]
    else:
        lower = highest_kept(run.program, tier.rank, periods)
    return run.at_least_floor(lower)


def one_period_more(run: Run, tier: Tier, end: datetime) -> datetime | None:
    """The `valid_until` of a tier that is held for one period from `end`."""
    return run.calendar.period_from(end) if run.ends(tier) else None


def _end_assignment(run: Run, until: datetime) -> Reading[None]:
    """End an assignment by hand (answers.md T9): at least at the floor, kept, or lost."""
    floor = run.floor()
    if floor is not None and run.program.tier(floor.tier).rank > run.tier.rank:
        run.fall("assignment_ended", run.program.tier(floor.tier), None)
    else:
        yield from _end_period(run, until, "assignment_ended")


def _end_period(run: Run, end: datetime, reason: str) -> Reading[None]:
    """Judge the tier by the period that ends with `end`: it is kept, or its grace begins, or it falls."""
    tier, spans = run.tier, run.ended(end)
    if not tier.rank:
        # Nothing ends but the assignment: if anything else changed at this instant, that is the reason.
        run.fall(run.reason or reason, tier, None)
        return
    if run.program.falls_at_once and not (run.standing.assigned and run.standing.assigned.until):
        # Given by hand and held as if reached: from here on it falls like any other.
        run.change(reason, tier, valid_until=None, assigned=None)
        return
    periods = yield from values_in(run.program, spans, end)
    if is_kept_in(tier, periods):
        run.hold(reason, tier, one_period_more(run, tier, end), spans)
    elif not run.program.has_ends:
        _end_without_periods(run, spans, periods, reason)
    elif run.program.downgrade.grace_days:
        grace_until = run.calendar.days_after(end, run.program.downgrade.grace_days)
        run.change(run.reason or reason, tier, valid_until=end, grace_until=grace_until, assigned=None)
    else:
        _fall(run, (end, spans, periods), reason)


def _end_without_periods(run: Run, spans: Sequence[Span], periods: Sequence[Values], reason: str) -> None:
    """Fall under `never`, `lifetime` or `at_once` at the end of an assignment: there and then, without grace."""
    lower = run.at_least_floor(highest_kept(run.program, run.tier.rank, periods))
    is_floor = run.program.downgrade.to == "never" and any(own.tier == lower.id for own in run.standing.reached)
    if is_kept_in(lower, periods) and not is_floor:
        run.hold(reason, lower, None, spans)
    else:
        run.fall(reason, lower, None)


def _end_grace(run: Run) -> Reading[None]:
    end = run.standing.valid_until
    assert end is not None, "a grace follows a valid_until"
    spans = run.ended(end)
    periods = yield from values_in(run.program, spans, end)
    _fall(run, (end, spans, periods), "grace_end")


def _fall(run: Run, ended: tuple[datetime, Sequence[Span], Sequence[Values]], reason: str) -> None:
    """Fall after a period; the lower tier is held for one period from its end."""
    end, spans, periods = ended
    lower = target(run, run.tier, periods)
    following = one_period_more(run, lower, end)
    if is_kept_in(lower, periods):
        run.hold(reason, lower, following, spans)
    else:
        run.fall(reason, lower, following)
