"""Checks the effects of a measurement in the database, after its end."""

from shared.postgres.pool import Pool
from tests.bench.rounds import WrongEffectError

COUNTS_SQL = """
SELECT (SELECT count(*) FROM inbox) AS inbox, (SELECT count(*) FROM purchase) AS purchase,
       (SELECT count(*) FROM transaction) AS transaction, (SELECT coalesce(sum(sequence), 0) FROM account) AS sequence,
       (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM transaction WHERE points <> 0) AS moved,
       (SELECT sum(points) FROM posting WHERE source = 'issued') AS issued, (SELECT sum(earned) FROM account) AS earned,
       (SELECT count(*) FROM dead_letter) AS dead
"""


async def check(pool: Pool, total: int, *, relayed: bool = False) -> None:
    """Check that each of `total` events had its effect, and each change of a balance its outbox row.

    Raises:
        WrongEffectError: not so.
    """
    found = await pool.fetchrow(COUNTS_SQL)
    assert found is not None, "it has a row"
    announced = 0 if relayed else found["moved"]
    if found["inbox"] != total or found["dead"] or found["outbox"] != announced or found["moved"] == 0:
        raise WrongEffectError(f"of {total} events came: {dict(found)}")


async def check_peer(pool: Pool, least: int) -> int:
    """Check that each purchase of a peer has all its rows; returns the number, which is at least `least`.

    Raises:
        WrongEffectError: not so.
    """
    found = await pool.fetchrow(COUNTS_SQL)
    assert found is not None, "it has a row"
    events = {found[name] for name in ("inbox", "purchase", "transaction", "sequence")}
    if (
        len(events) != 1
        or min(events) < least
        or found["outbox"] != found["moved"]
        or found["issued"] != found["earned"]
    ):
        raise WrongEffectError(f"of at least {least} purchases came: {dict(found)}")
    return found["inbox"]


COPIED_SQL = """
SELECT (SELECT count(*) FROM transaction) + (SELECT count(*) FROM posting) + (SELECT count(*) FROM lot)
     + (SELECT count(*) FROM purchase) + (SELECT count(*) FROM outbox)
"""


async def check_copied(pool: Pool, rows: int) -> None:
    """Check the number of rows in the tables that are copied into.

    Raises:
        WrongEffectError: not so.
    """
    if (found := await pool.fetchval(COPIED_SQL)) != rows:
        raise WrongEffectError(f"of {rows} rows came {found}")
