"""Writes the changes of batches, requests and the daily pipeline, and puts their events into the outbox."""

import asyncio

from services.points.rules.books.state import Changes, State
from services.points.store import commands, publications, redemptions, saving
from services.points.store.commands import Beside
from shared.messaging import outbox
from shared.postgres.pool import Connection
from shared.turns import map_in_turns


async def save_and_announce(connection: Connection, state: State, changes: Changes) -> None:
    """Write the changes, and put their events into the outbox."""
    # The events are made while the database writes.
    events = asyncio.create_task(map_in_turns(publications.of_transaction, changes.announced))
    await saving.save(connection, state, changes)
    await outbox.announce(connection, await events)


async def write_command(connection: Connection, state: State, changes: Changes, beside: Beside) -> bool:
    """Write the changes of a request, mostly one transaction, and what is written beside them.

    False: nothing is written, since the redemption's reference is used, or since `beside.version` does not allow it.
    `beside.answer.is_stored` has whether the response is stored.
    """
    if commands.is_plain(state, changes):
        (account,) = state.accounts.values()
        event = publications.of_transaction(changes.announced[0]) if changes.announced else None
        return await commands.write(connection, account, changes, event, beside)
    assert beside.version is None, "several statements need the lock of the account"
    if beside.redemption is not None and not await redemptions.insert(connection, beside.redemption):
        return False
    await save_and_announce(connection, state, changes)
    return True
