"""What is taken back, and days that leave the window: a tier that is revoked, or falls at once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.tiers.rules.judging.conditions import highest_kept, is_kept, is_kept_in
from services.tiers.rules.judging.run import MOMENT, Run, highest_floor, stands, values_in
from services.tiers.rules.judging.state import Basis
from services.tiers.rules.metrics import Change, Reading
from services.tiers.rules.program.compiled import Tier

_REASONS: Final = {"spend": "refund", "orders": "refund", "reviews": "withdrawal"}


def reason_of(changes: Iterable[Change]) -> str:
    """The reason of a loss by what was taken back; `window` where nothing was (answers.md T32)."""
    for change in changes:
        if change.is_taking:
            return _REASONS.get(change.metric, change.metric)
    return "window"


def revoke(run: Run) -> Reading[None]:
    """Judge the tier again by what it stands on, net of everything that was taken back up to now (answers.md T16)."""
    standing, tier, at = run.standing, run.tier, run.at
    assert at is not None, "something was taken back"
    basis = standing.basis
    if run.program.downgrade.on_refund != "revoke" or tier.permanent or standing.assigned or basis is None:
        return
    holds, periods = yield from stands(run, basis, at + MOMENT)
    if holds:
        return
    then = run.versions.version(basis.version)
    lower_then = highest_kept(then, then.tier(basis.tier).rank, periods)
    lower = run.renamed(lower_then.id, basis.version)
    lower = run.program.tiers[min(lower.rank, tier.rank - 1)]
    lower_basis = replace(basis, tier=lower_then.id) if lower_then.rank and lower.rank else None
    floor = yield from highest_floor(run, range(lower.rank + 1, tier.rank), at + MOMENT)
    if floor is not None:
        lower, lower_basis = run.program.tier(floor.tier), floor.basis
    _lower(run, lower, lower_basis)
    yield from _judge_in_grace(run)


def fall_at_once(run: Run, reason: str) -> Reading[None]:
    """Fall to the highest lower tier that is kept now, where the tier falls at once and is not kept any more."""
    if not run.falls_at_once() or is_kept(run.tier, run.values):
        return
    at = run.at
    assert at is not None, "something happened"
    tier = run.tier
    lower = highest_kept(run.program, tier.rank, [run.values])
    floor = yield from highest_floor(run, range(lower.rank + 1, tier.rank), at + MOMENT)
    if floor is not None:
        lower = run.program.tier(floor.tier)
    basis = floor.basis if floor else run.window_basis(lower)
    run.change(reason, lower, valid_until=None, basis=basis, reached=run.stand(lower, basis))


def _lower(run: Run, lower: Tier, basis: Basis | None) -> None:
    """Put a customer whose tier is revoked into a lower one, which keeps the `valid_until` that was."""
    standing = run.standing
    ends = run.ends(lower)
    run.change(
        reason_of(run.applied),
        lower,
        valid_until=standing.valid_until if ends else None,
        grace_until=standing.grace_until if ends else None,
        basis=basis,
        reached=run.stand(lower, basis),
    )


def _judge_in_grace(run: Run) -> Reading[None]:
    """Judge the lower tier of a customer in grace by the period that ended."""
    end: datetime | None = run.standing.valid_until
    if run.standing.grace_until is None or end is None:
        return
    tier, spans = run.tier, run.ended(end)
    periods = yield from values_in(run.program, spans, end)
    if is_kept_in(tier, periods):
        basis = run.basis(tier, spans)
        following = run.calendar.period_from(end)
        run.change(
            run.reason, tier, valid_until=following, grace_until=None, basis=basis, reached=run.stand(tier, basis)
        )
