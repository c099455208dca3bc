"""Tiers given by hand."""

from dataclasses import dataclass
from datetime import datetime

from services.tiers.handlers.announcing import SOURCE
from services.tiers.handlers.arrivals import Arrival
from services.tiers.handlers.judging import assignment_of, judge
from services.tiers.handlers.opening import Call, open_customer
from services.tiers.handlers.standing import Seen, see
from services.tiers.rules.program.versions import Versions
from services.tiers.store import assignments
from services.tiers.store.assignments import Assignment
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection


class UnknownTierError(Exception):
    """The program in force has no such tier; `tiers` are those that it has."""

    def __init__(self, tiers: tuple[str, ...]) -> None:
        super().__init__("the program in force has no such tier")
        self.tiers = tiers


@dataclass(frozen=True, slots=True)
class Given:
    """A tier to give: for good, or until an instant, before which nothing else moves a locked one."""

    tier: str
    until: datetime | None
    locked: bool
    note: str


async def assign(connection: Connection, versions: Versions, call: Call, given: Given) -> Seen:
    """Give a customer a tier now, and announce it; returns what the customer has then.

    Raises:
        UnknownTierError: the program in force lacks the tier.
    """
    program = versions.in_force(call.now)
    if given.tier not in program:
        raise UnknownTierError(tuple(tier.id for tier in program.tiers))
    customer = await open_customer(connection, versions, call)
    stored = Assignment(
        new_id(),
        call.customer_id,
        call.now,
        given.tier,
        given.until,
        given.locked,
        call.principal,
        given.note,
    )
    await assignments.add(connection, stored)
    arrival = Arrival(
        call.cause,
        SOURCE,
        call.request_id,
        call.now,
        assignments=(assignment_of(stored),),
        actor=call.principal,
        note=given.note,
    )
    await judge(connection, versions, {call.customer_id: customer}, {call.customer_id: [arrival]}, call.now)
    return await see(connection, versions, call.customer_id, call.now)
