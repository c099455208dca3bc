"""A connection that counts statements and returned rows."""

from collections.abc import Sequence
from typing import Any, Final

from shared.postgres.pool import Connection

_WRITES: Final = {"execute", "executemany", "copy_records_to_table"}


class Counting:
    """Stands in for a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.statements = self.rows = 0

    async def fetch(self, *arguments: Any) -> Sequence[Any]:
        """Count, and call the connection."""
        result = await self.connection.fetch(*arguments)
        self.statements += 1
        self.rows += len(result)
        return result

    async def fetchrow(self, *arguments: Any) -> Any:
        """Count, and call the connection."""
        result = await self.connection.fetchrow(*arguments)
        self.statements += 1
        self.rows += result is not None
        return result

    def __getattr__(self, name: str) -> Any:
        self.statements += name in _WRITES
        return getattr(self.connection, name)
