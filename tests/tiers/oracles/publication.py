"""A new version at its `effective_at` (programs.md, 6; answers.md T13, T14, T18, T19, T31)."""

from datetime import datetime

from tests.tiers.oracles.customer import Customer
from tests.tiers.oracles.programs import Program
from tests.tiers.oracles.promotion import promote, retain_in_grace


def apply_version(customer: Customer, instant: datetime, version: Program) -> None:
    """Put a version in force: moves, promotion, then `full` or `promote_only`."""
    before, customer.program = customer.program, version
    if not customer.is_known(instant):
        customer.state.tier = version.tiers[0].id
        return
    _move(customer, before)
    _end_anew(customer, instant)
    if customer.state.locked or promote(customer, instant, instant, "program"):
        return
    if version.full and not version.never and not customer.is_permanent and not customer.is_first:
        _judge_all(customer, instant)
    else:
        retain_in_grace(customer, instant, instant, "program")


def name_now(customer: Customer, version: Program, tier: str) -> str:
    """What a tier of a former version is called in the one in force, by the `moves` of all that came since."""
    for later in customer.programs[version.number : customer.program.number]:
        if not later.has(tier):
            tier = later.moves[tier]
    return tier


def _move(customer: Customer, before: Program) -> None:
    """Who is in a tier that the version lacks goes where `moves` says, with all that is held."""
    state, version = customer.state, customer.program
    was = state.tier
    now = name_now(customer, before, was)
    if now != was:
        customer.steps.append((version.place(now) - before.place(was), "program"))
        state.tier = now
    # Of two tiers that become one, the customer's own counts, then the one that had the name before.
    order = sorted(state.stands, key=lambda t: (t == was, t == name_now(customer, before, t)))
    state.stands = {name_now(customer, before, t): state.stands[t] for t in order}
    order = sorted(state.last_basis, key=lambda t: (t == was, t == name_now(customer, before, t)))
    state.last_basis = {name_now(customer, before, t): state.last_basis[t] for t in order}
    if state.until is None:
        customer.lose_above(now)
    if not state.by_hand:  # in it by right, even if it was the first tier before, or moved from that
        state.stands.setdefault(now, state.last_basis.get(now))


def _end_anew(customer: Customer, instant: datetime) -> None:
    """`valid_until` and grace stay as instants, except where the version gives none (T13); who needs one gets one."""
    state = customer.state
    if state.until is not None:
        state.valid_until = None if customer.is_first else state.until
    elif not customer.program.has_end(state.tier):
        state.valid_until = state.grace_until = None
    elif state.valid_until is None:
        state.valid_until = customer.periods(instant, instant).one_period_from(instant)
        state.held_at = instant


def _judge_all(customer: Customer, instant: datetime) -> None:
    """`full`: kept for one period from E, or a fall to the highest tier that is kept (T5, T14), not below the floor."""
    state = customer.state
    spans = customer.periods(instant, instant).judged_at(instant)
    tier = state.tier
    if not customer.is_kept(tier, spans, instant):
        tier = customer.highest_kept_below(spans, instant).id
    tier = customer.at_least_floor(tier)
    valid_until = customer.end(tier, customer.periods(instant, instant).one_period_from(instant))
    customer.step(tier, "program")
    if customer.is_kept(tier, spans, instant):
        customer.hold(instant, tier, valid_until, spans)
    else:
        customer.fall(instant, tier, valid_until)
