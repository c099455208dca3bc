"""Bugs of handlers, of locks, and of the API."""

import asyncio
import random
from collections.abc import Collection
from typing import Any, Final

from services.points.rules.ledger.accounts import Account
from services.points.store import accounts
from shared.contracts.envelope import Event
from shared.contracts.outcomes import Refusal
from shared.messaging.application import Application
from shared.postgres import answers
from tests.prove.plan import Fault
from tests.prove.plants.consuming import LINES
from tests.prove.plants.plant import Plant

_EVERY: Final = 5


def swallow() -> None:
    """Swallow the handler's errors; it fails periodically, as when a connection is lost."""
    count = 0

    async def handle(self: Application, connection: Any, events: list[Event]) -> list[Refusal]:
        nonlocal count
        count += 1
        try:
            if count % _EVERY == 0:
                raise TimeoutError("periodic failure")  # noqa: TRY301 - the error to swallow
            return await self.handle(connection, events, self.now)
        except Exception:  # noqa: BLE001 - the bug
            return []

    Application._handle = handle


_ONE_SQL: Final = accounts.LOCK_SQL


def unsorted_locks() -> None:
    """Lock customers one by one, in random order."""

    async def lock(connection: Any, customers: Collection[str]) -> dict[str, Account]:
        wanted = list(customers)
        random.shuffle(wanted)
        locked: dict[str, Account] = {}
        for item in wanted:
            await connection.execute(accounts.OPEN_SQL, item)
            [row] = await connection.fetch(_ONE_SQL, item)
            locked[item] = Account(*row)
            await asyncio.sleep(0)
        return locked

    accounts.lock = lock


def no_idempotency() -> None:
    """Do not store the answer of a write with its effect, so a retried write has its effect again."""

    async def forgetful(*_arguments: object) -> None:
        return

    answers.store = forgetful


PLANTS: Final = (
    Plant("a handler's error is swallowed", swallow, (LINES,)),
    Plant("unsorted locks", unsorted_locks, ("no transaction deadlocked",), workers=3),
    Plant(
        "a write's answer is not stored with its effect",
        no_idempotency,
        (LINES,),
        (Fault.RESET_AT_COMMIT,) * 3,
        of_api=True,
    ),
)
