"""What becomes of the runs of older versions of journeys, as the publisher of a version chose."""

from shared.postgres.pool import Connection

LOAD_SQL = """
SELECT journey, version, inside FROM journey_publication
"""


async def load(connection: Connection) -> dict[tuple[str, int], str]:
    """The choices by journey and version; for others, runs go on."""
    rows = await connection.fetch(LOAD_SQL)
    return {(journey, version): inside for journey, version, inside in rows}


ADD_SQL = """
INSERT INTO journey_publication (journey, version, inside) VALUES ($1, $2, $3)
"""


async def add(connection: Connection, journey: str, version: int, inside: str) -> None:
    """Store the choice of the publisher of a version."""
    await connection.execute(ADD_SQL, journey, version, inside)
