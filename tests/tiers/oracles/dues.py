"""What falls due: the end of a period, of grace and of an assignment, and falls `at_once` (programs.md, 2, 3 and 5)."""

from datetime import datetime, timedelta

from tests.tiers.oracles.calendars import day_start
from tests.tiers.oracles.customer import Customer
from tests.tiers.oracles.promotion import promote, retain_in_grace


def next_due(customer: Customer) -> datetime | None:
    """The instant at which something falls due, as things stand."""
    state = customer.state
    return state.until or state.grace_until or state.valid_until


def fall_due(customer: Customer, instant: datetime) -> None:
    """Apply all that is due at an instant, before what happens at it."""
    reason = apply_ends(customer, instant)
    fell = fall_at_once(customer, instant, instant, reason or "window")
    if reason or fell:
        promote(customer, instant, instant, reason or "window")
    retain_in_grace(customer, instant, instant, reason)


def apply_ends(customer: Customer, instant: datetime) -> str | None:
    """Apply the ends that are due, one after the other; the reason of the last one."""
    reason = None
    while (due := next_due(customer)) is not None and due <= instant:
        state = customer.state
        if state.until is not None:
            reason = "assignment_ended"
            _end_assignment(customer, instant, due)
        elif state.grace_until is not None:
            reason = "grace_end"
            _fall_by_period(customer, instant, state.valid_until or due, reason)
        else:
            reason = "period_end"
            _end_period(customer, instant, due)
    return reason


def fall_at_once(customer: Customer, instant: datetime, known_before: datetime, reason: str) -> bool:
    """`when: at_once`: fall to the highest lower tier that is kept now (T7), unless given by hand (T8)."""
    state = customer.state
    if not customer.program.at_once or state.by_hand or state.locked or customer.is_first or customer.is_permanent:
        return False
    window = customer.window(instant, known_before)
    if customer.is_kept(state.tier, window, known_before):
        return False
    tier = customer.at_least_floor(customer.highest_kept_below(window, known_before).id)
    customer.step(tier, reason)
    if customer.is_kept(tier, window, known_before):
        customer.hold(instant, tier, None, window)
    else:
        customer.fall(instant, tier, None)
    return True


def _end_period(customer: Customer, instant: datetime, end: datetime) -> None:
    """`valid_until`: kept for one period more, else grace begins, or the tier falls."""
    state, ended = customer.state, customer.ended_with(end)
    if customer.program.at_once:  # given by hand without `until`: from here on like any other (T8)
        state.by_hand, state.valid_until = False, None
        customer.step(state.tier, "period_end")
    elif customer.is_kept(state.tier, ended, end):
        customer.step(state.tier, "period_end")
        customer.hold(instant, state.tier, _one_period_more(customer, instant, state.tier, end), ended)
    else:
        _begin_grace(customer, instant, end, "period_end")


def _end_assignment(customer: Customer, instant: datetime, end: datetime) -> None:
    """`until` (T9): back to the floor, kept, or fall as `to` says; without periods there and then."""
    state, program, ended = customer.state, customer.program, customer.ended_with(end)
    floor = customer.floor()
    if program.place(floor) > program.place(state.tier):
        customer.step(floor, "assignment_ended")
        customer.fall(instant, floor, None)
    elif customer.is_first:
        customer.fall(instant, state.tier, None)
    elif customer.is_kept(state.tier, ended, end):
        customer.step(state.tier, "assignment_ended")
        customer.hold(instant, state.tier, _one_period_more(customer, instant, state.tier, end), ended)
    elif program.never or program.at_once or program.kind == "lifetime":
        tier = customer.at_least_floor(customer.highest_kept_below(ended, end).id)
        customer.step(tier, "assignment_ended")
        if customer.is_kept(tier, ended, end) and not (program.never and tier in state.stands):
            customer.hold(instant, tier, None, ended)
        else:
            customer.fall(instant, tier, None)
    else:
        _begin_grace(customer, instant, end, "assignment_ended")


def _begin_grace(customer: Customer, instant: datetime, end: datetime, reason: str) -> None:
    """Grace to 00:00 of the `grace_days`th day after the end's day (T21); without any the tier falls."""
    state, program = customer.state, customer.program
    state.until, state.locked, state.valid_until = None, False, end
    if program.grace_days == 0:
        _fall_by_period(customer, instant, end, reason)
    else:
        state.grace_until = day_start(program.day(end) + timedelta(days=program.grace_days), program.zone)


def _fall_by_period(customer: Customer, instant: datetime, end: datetime, reason: str) -> None:
    """Fall as `to` says, by the period that ended, as it stood then (T15); the lower tier gets one period from it."""
    program, ended = customer.program, customer.ended_with(end)
    if program.to == "one_step":
        lower = program.below(customer.state.tier)[0]
    else:
        lower = customer.highest_kept_below(ended, end)
    tier = customer.at_least_floor(lower.id)
    customer.step(tier, reason)
    valid_until = _one_period_more(customer, instant, tier, end)
    if customer.is_kept(tier, ended, end):
        customer.hold(instant, tier, valid_until, ended)
    else:
        customer.fall(instant, tier, valid_until)


def _one_period_more(customer: Customer, instant: datetime, tier: str, end: datetime) -> datetime | None:
    return customer.end(tier, customer.periods(instant, end).one_period_from(end))
