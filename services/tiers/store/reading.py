"""What a customer's tier is read from, by one statement: a transaction with a snapshot takes three round trips more."""

from typing import NamedTuple

from services.tiers.rules.program.versions import Versions
from services.tiers.store.customers import Customer
from services.tiers.store.programs import Programs
from shared.postgres.pool import Connection
from shared.programs.in_force import Stamp


class Read(NamedTuple):
    """A customer, who may be unknown, and all published versions; `xmin` is that of the row, None without one."""

    customer: Customer
    versions: Versions
    xmin: int | None


READ_SQL = """
SELECT number, last, transaction, customer.xmin, customer_id, judged_at, tier, since, valid_until, grace_until,
       program_version, state, due_at, rejudge_from, carried, rejudge_for, warn_at
FROM published_programs LEFT JOIN customer ON customer_id = $1
"""


async def read(connection: Connection, programs: Programs, customer_id: str) -> Read | None:
    """A customer and the versions at one instant; None if the versions have to be loaded."""
    row = await connection.fetchrow(READ_SQL, customer_id)
    assert row is not None, "an aggregate has a row"
    number, last, transaction, xmin, *columns = row
    versions = programs.known(Stamp(number, last, transaction))
    if versions is None:
        return None
    return Read(Customer(customer_id) if xmin is None else Customer(*columns), versions, xmin)


XMIN_SQL = """
SELECT xmin FROM customer WHERE customer_id = $1
"""


async def is_unchanged(connection: Connection, found: Read) -> bool:
    """Whether nothing was judged or marked since: each event that counts writes its customer's row."""
    return await connection.fetchval(XMIN_SQL, found.customer.customer_id) == found.xmin
