"""What is written in the end, and told: the same for batches, requests and the daily pipeline."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

from services.points.rules.books.state import Changes, State
from services.points.store import commands, publications, redemptions, saving
from services.points.store.redemptions import Redemption
from shared.messaging import outbox
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection
from shared.turns import map_in_turns


async def save_and_announce(connection: Connection, state: State, changes: Changes) -> None:
    """Write the changes, and put the events that tell of them into the outbox."""
    # The events are made while the database writes.
    events = asyncio.create_task(map_in_turns(publications.of_transaction, changes.announced))
    await saving.save(connection, state, changes)
    await outbox.announce(connection, await events)


async def write_command(
    connection: Connection, state: State, changes: Changes, redemption: Redemption | None = None
) -> bool:
    """The same for a request, which is mostly one transaction; `redemption` is what it is for.

    False: nothing was written, since the redemption's reference is used.
    """
    if commands.is_plain(state, changes):
        (account,) = state.accounts.values()
        told = publications.of_transaction(changes.announced[0]) if changes.announced else None
        return await commands.write(connection, account, changes, told, redemption)
    if redemption is not None and not await redemptions.insert(connection, redemption):
        return False
    await save_and_announce(connection, state, changes)
    return True


def new_ids() -> Iterator[UUID]:
    """As many new ids as are needed."""
    while True:
        yield new_id()
