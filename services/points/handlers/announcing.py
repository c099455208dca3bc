"""What is written in the end, and told: the same for batches, requests and the daily pipeline."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from services.points.rules.books.state import Announced, Changes, State
from services.points.store import commands, redemptions, saving
from services.points.store.redemptions import Redemption
from shared.contracts.envelope import Publication, publication
from shared.contracts.values import format_instant
from shared.messaging import outbox
from shared.postgres.ids import new_id
from shared.postgres.pool import Connection
from shared.turns import map_in_turns

SOURCE: Final = "/wafa/points"


async def save_and_announce(connection: Connection, state: State, changes: Changes) -> None:
    """Write the changes, and put the events that tell of them into the outbox."""
    # The events are made while the database writes.
    publications = asyncio.create_task(map_in_turns(_publication, changes.announced))
    await saving.save(connection, state, changes)
    await outbox.announce(connection, await publications)


async def write_command(
    connection: Connection, state: State, changes: Changes, redemption: Redemption | None = None
) -> bool:
    """The same for a request, which is mostly one transaction; `redemption` is what it is for.

    False: nothing was written, since the redemption's reference is used.
    """
    if commands.is_plain(state, changes):
        (account,) = state.accounts.values()
        told = _publication(changes.announced[0]) if changes.announced else None
        return await commands.write(connection, account, changes, told, redemption)
    if redemption is not None and not await redemptions.insert(connection, redemption):
        return False
    await save_and_announce(connection, state, changes)
    return True


def _publication(announced: Announced) -> Publication:
    """`PointsMoved` as plain data: a model would double the cost, which every event bears."""
    transaction = announced.transaction
    account = transaction.account
    data: dict[str, Any] = {
        "customer_id": account.customer_id,
        "transaction_id": str(transaction.id),
        "points": abs(transaction.points),
        "reason": transaction.context.reason,
        "qualifying_points": announced.qualifying,
    }
    if transaction.pending:
        data["pending_points"] = transaction.pending
    if transaction.activates_at is not None:
        data["activates_at"] = format_instant(transaction.activates_at)
        data["activating_points"] = transaction.activating
    if transaction.expires_at is not None:
        data["expires_at"] = format_instant(transaction.expires_at)
        data["expiring_points"] = transaction.expiring
    if transaction.repaid:
        data["repaid_points"] = transaction.repaid
    if transaction.context.rules_version is not None:
        data["rules_version"] = transaction.context.rules_version
    data["balance"] = {
        "available": account.available,
        "pending": account.pending,
        "held": account.held,
        "debt": account.debt,
    }
    return publication(f"loyalty.points.{transaction.kind}.v1", announced.time, data, announced.cause, SOURCE)


def new_ids() -> Iterator[UUID]:
    """As many new ids as are needed."""
    while True:
        yield new_id()
