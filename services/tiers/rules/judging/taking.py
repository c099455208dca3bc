"""What is taken back, and days that leave the window: a tier that is revoked, or falls at once."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from services.tiers.rules.judging.conditions import highest_kept, is_kept, is_kept_in, values_of
from services.tiers.rules.judging.ending import one_period_more
from services.tiers.rules.judging.run import Run, values_in
from services.tiers.rules.judging.state import Basis, Foothold, Standing, Values
from services.tiers.rules.metrics import Change, Metric, Reading
from services.tiers.rules.program.compiled import Tier

_REASONS: Final[Sequence[tuple[Metric, str]]] = (
    ("spend", "refund"),
    ("orders", "refund"),
    ("reviews", "withdrawal"),
    ("referrals", "referrals"),
    ("points", "points"),
)


def reason_of(changes: Iterable[Change]) -> str:
    """The reason of a loss by what was taken back; `window` where nothing was (answers.md T32)."""
    taken = {change.metric for change in changes if change.is_taking}
    return next((reason for metric, reason in _REASONS if metric in taken), "window")


def revoke(run: Run) -> Reading[None]:
    """Judge the tier again by what it stands on, net of everything that was taken back up to now (answers.md T16)."""
    if run.program.downgrade.on_refund != "revoke":
        return
    if run.program.downgrade.to == "never":
        yield from _revoke_floors(run)
    standing, tier = run.standing, run.tier
    basis = standing.basis
    if not tier.rank or tier.permanent or standing.assigned or basis is None:
        return
    periods = yield from _values_on(run, basis)
    then = run.versions.version(basis.version)
    if not is_kept_in(then.tier(basis.tier), periods):
        yield from _lose(run, basis, periods)


def fall_at_once(run: Run, reason: str) -> None:
    """Fall to the highest lower tier that is kept now, where the tier falls at once and is not kept any more."""
    if run.falls_at_once() and not is_kept(run.tier, run.values):
        lower = run.at_least_floor(highest_kept(run.program, run.tier.rank, [run.values]))
        if is_kept(lower, run.values):
            run.hold(reason, lower, None, run.window())
        else:
            run.fall(reason, lower, None)


def _revoke_floors(run: Run) -> Reading[None]:
    """Forget other tiers that were reached and do not stand on their own basis any more."""
    standing = run.standing
    current = None if standing.assigned else standing.tier
    kept: list[Foothold] = []
    for foothold in standing.reached:
        tier, basis = run.program.tier(foothold.tier), foothold.basis
        if foothold.tier != current and basis is not None and not tier.permanent:
            periods = yield from _values_on(run, basis)
            if not is_kept_in(run.versions.version(basis.version).tier(basis.tier), periods):
                continue
        kept.append(foothold)
    if len(kept) < len(standing.reached):
        run.standing = _without(standing, [own for own in standing.reached if own not in kept])


def _without(standing: Standing, revoked: Sequence[Foothold]) -> Standing:
    """The standing without tiers that were revoked; what they stood on last stays known."""
    names = {own.tier for own in revoked}
    lost = (*(own for own in standing.lost if own.tier not in names), *revoked)
    return replace(standing, reached=tuple(own for own in standing.reached if own.tier not in names), lost=lost)


def _values_on(run: Run, basis: Basis) -> Reading[list[Values]]:
    """The values in the periods of a basis, by the version of then, net of everything taken back up to now."""
    then = run.versions.version(basis.version)
    return [values_of(then, sums) for sums in (yield from run.net(basis.periods))]


def _lose(run: Run, basis: Basis, periods: Sequence[Values]) -> Reading[None]:
    """Put the customer into the highest lower tier that holds on the basis; it keeps the `valid_until` that was."""
    standing, reason = run.standing, reason_of(run.applied)
    run.standing = _without(standing, [Foothold(standing.tier, basis)])
    lower, lower_then = _lower(run, basis, periods)
    tier = run.at_least_floor(lower)
    end = standing.valid_until if run.ends(tier) else None
    is_floor = run.program.downgrade.to == "never" and any(own.tier == tier.id for own in run.standing.reached)
    if tier is not lower or lower_then is None or is_floor:
        run.fall(reason, tier, end)
    else:
        run.settle(reason, tier, end, replace(basis, tier=lower_then.id))
    if standing.grace_until and end:
        yield from _judge_in_grace(run, standing.grace_until)


def _lower(run: Run, basis: Basis, periods: Sequence[Values]) -> tuple[Tier, Tier | None]:
    """The highest lower tier that holds on a basis, as it is called today and then; the first if none does."""
    then = run.versions.version(basis.version)
    for lower_then in reversed(then.tiers[: then.tier(basis.tier).rank]):
        lower = run.renamed(lower_then.id, basis.version)
        if lower.rank < run.tier.rank and is_kept_in(lower_then, periods):
            return lower, lower_then if lower.rank else None
    return run.program.first, None


def _judge_in_grace(run: Run, grace_until: object) -> Reading[None]:
    """Judge the lower tier of a customer in grace by the period that ended; the grace goes on if it is not kept."""
    end, tier = run.standing.valid_until, run.tier
    assert end is not None, "a grace follows a valid_until"
    spans = run.ended(end)
    periods = yield from values_in(run.program, spans, end)
    if is_kept_in(tier, periods):
        run.hold(run.reason, tier, one_period_more(run, tier, end), spans)
    else:
        run.change(run.reason, tier, grace_until=grace_until)
