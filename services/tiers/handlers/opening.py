"""Opening a customer for a request: the row is locked, and what has fallen due is applied, recorded and announced."""

from dataclasses import dataclass
from datetime import datetime

from services.tiers.handlers.announcing import announce
from services.tiers.handlers.judging import judged_in_order
from services.tiers.handlers.rejudging import rejudge_marked
from services.tiers.handlers.rounds import run
from services.tiers.rules.program.versions import Versions
from services.tiers.store import customers
from services.tiers.store.customers import Customer
from shared.contracts.envelope import Cause
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class Call:
    """A request that writes something about a customer; its id is the cause of what is published."""

    customer_id: str
    request_id: str
    principal: str
    now: datetime

    @property
    def cause(self) -> Cause:
        """The request is the root of what follows from it."""
        return Cause.of_request(self.request_id)


async def open_customer(connection: Connection, versions: Versions, call: Call) -> Customer:
    """Lock the customer of a request, judge again what is late, and apply what has fallen due; returns the row."""
    name = call.customer_id
    customer = (await customers.lock(connection, [name]))[name]
    if customer.rejudge_from is not None:
        await rejudge_marked(connection, versions, {name: customer}, call.now)
    elif _is_due(versions, customer, call.now):
        judged = await run(connection, {name: judged_in_order(versions, customer, (), call.now)})
        await announce(connection, versions, judged, call.now)
    else:
        return customer
    return (await customers.read(connection, [name]))[name]


def _is_due(versions: Versions, customer: Customer, now: datetime) -> bool:
    """Whether something fell due by now, or a version came into force, since the customer was judged."""
    if customer.judged_at is None:
        return False
    following = versions.after(customer.judged_at)
    ends = (customer.due_at, following and following[0])
    return any(end is not None and end <= now for end in ends)
