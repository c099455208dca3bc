"""The events of one instant together: what is taken back, what is earned, and tiers given by hand."""

from collections.abc import Sequence
from datetime import datetime

from tests.tiers.oracles.calendars import TICK
from tests.tiers.oracles.customer import Basis, Customer
from tests.tiers.oracles.dues import apply_ends, fall_at_once
from tests.tiers.oracles.facts import Assignment, Changed
from tests.tiers.oracles.promotion import promote, retain_in_grace, taking_reason
from tests.tiers.oracles.publication import name_now


def happen(
    customer: Customer, instant: datetime, changes: Sequence[Changed], assignments: Sequence[Assignment]
) -> None:
    """Apply what happens at an instant; what is given by hand stands at its instant (T11)."""
    known_before = instant + TICK
    taken = [change.metric for change in changes if change.is_taking]
    if taken:
        _revoke(customer, instant, known_before, taking_reason(taken))
    if changes and not assignments:
        fall_at_once(customer, instant, known_before, taking_reason(taken) if taken else "window")
        promote(customer, instant, known_before, None)
        retain_in_grace(customer, instant, known_before)
    for assignment in assignments:
        _assign(customer, instant, assignment)


def _assign(customer: Customer, instant: datetime, given: Assignment) -> None:
    """A tier by hand replaces whatever was (T8, T38); without `until` it sets the floor anew (T10)."""
    state, program = customer.state, customer.program
    if not program.has(given.tier):
        raise ValueError(f"the program in force at {instant} has no tier {given.tier}")
    customer.step(given.tier, "assigned")
    state.tier, state.held_at, state.grace_until, state.by_hand = given.tier, instant, None, True
    state.locked = given.locked
    state.until = None if customer.is_first and not given.locked else given.until
    if state.until is not None:
        state.valid_until = None if customer.is_first else state.until
        return
    # `at_once` by days holds it as if reached then, too (T8).
    ends = program.has_end(given.tier) or (program.at_once and not customer.is_first and not customer.is_permanent)
    state.valid_until = customer.periods(instant + TICK, instant).end_if_reached(instant) if ends else None
    customer.lose_above(given.tier)
    state.stands[given.tier] = None


def _revoke(customer: Customer, instant: datetime, known_before: datetime, reason: str) -> None:
    """`on_refund: revoke` (T16): judge the tier again by what it stands on, net of all that was taken back by now."""
    state, program = customer.state, customer.program
    if not program.revokes:
        return
    if program.never:
        _revoke_floors(customer, known_before)
    if state.locked or state.by_hand or customer.is_first or customer.is_permanent:
        return
    basis = state.stands.get(state.tier)
    if basis is None or _stands(customer, basis, basis.tier, known_before):
        return
    del state.stands[state.tier]
    lower, held = _highest_that_stands(customer, basis, known_before)
    tier = customer.at_least_floor(lower)
    valid_until, grace_until = customer.end(tier, state.valid_until), state.grace_until
    customer.step(tier, reason)
    if tier != lower or held is None or (program.never and tier in state.stands):
        customer.fall(instant, tier, valid_until)
    else:
        customer.hold(instant, tier, valid_until, basis.spans)
        state.stands[tier] = state.last_basis[tier] = held
    if grace_until is not None and valid_until is not None:
        state.grace_until = grace_until
        _judge_lower_in_grace(customer, instant, valid_until)
        apply_ends(customer, instant)


def _revoke_floors(customer: Customer, known_before: datetime) -> None:
    """Under `never` each other tier that was reached stands on its own basis as a floor."""
    state, program = customer.state, customer.program
    current = None if state.by_hand else state.tier
    for tier, basis in list(state.stands.items()):
        if tier == current or basis is None or program.tier(tier).permanent:
            continue
        if not _stands(customer, basis, basis.tier, known_before):
            del state.stands[tier]


def _stands(customer: Customer, basis: Basis, tier: str, known_before: datetime) -> bool:
    return customer.program_keeps(basis.program, tier, basis.spans, known_before)


def _highest_that_stands(customer: Customer, basis: Basis, known_before: datetime) -> tuple[str, Basis | None]:
    """The highest tier below the present one that holds on a basis, by the names of now; the first, if none."""
    program = customer.program
    for lower in basis.program.below(basis.tier):
        name = name_now(customer, basis.program, lower.id)
        if program.place(name) < program.place(customer.state.tier) and _stands(
            customer, basis, lower.id, known_before
        ):
            return name, Basis(basis.program, lower.id, basis.spans)
    return program.tiers[0].id, None


def _judge_lower_in_grace(customer: Customer, instant: datetime, end: datetime) -> None:
    """In grace the lower tier is judged by the period that ended with V (T16), as it stood at V (T15)."""
    tier, ended = customer.state.tier, customer.ended_with(end)
    if customer.is_kept(tier, ended, end):
        valid_until = customer.end(tier, customer.periods(instant + TICK, end).one_period_from(end))
        customer.hold(instant, tier, valid_until, ended)
