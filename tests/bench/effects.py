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
        WrongEffectError: an effect or a row is missing, or there are too many.
    """
    counts = await pool.fetchrow(COUNTS_SQL)
    assert counts is not None, "it has a row"
    announced = 0 if relayed else counts["moved"]
    if counts["inbox"] != total or counts["dead"] or counts["outbox"] != announced or counts["moved"] == 0:
        raise WrongEffectError(f"of {total} events came: {dict(counts)}")


COUNTED_SQL = """
SELECT (SELECT count(*) FROM inbox) AS inbox, (SELECT count(*) FROM purchase) AS purchases,
       (SELECT count(*) FROM counted) AS counted, (SELECT count(*) FROM tier_change) AS changes,
       (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM dead_letter) AS dead,
       (SELECT count(*) FROM customer WHERE rejudge_from IS NOT NULL) AS marked
"""


async def check_tiers(pool: Pool, total: int) -> None:
    """Check that each of `total` events was recorded, and each change of a tier has its outbox row.

    Raises:
        WrongEffectError: an effect or a row is missing, or there are too many.
    """
    counts = await pool.fetchrow(COUNTED_SQL)
    assert counts is not None, "it has a row"
    is_whole = counts["inbox"] == total and not counts["dead"] and not counts["marked"]
    if not is_whole or counts["outbox"] != counts["changes"] or not counts["changes"] or not counts["counted"]:
        raise WrongEffectError(f"of {total} events came: {dict(counts)}")


RECORDED_SQL = """
SELECT (SELECT count(*) FROM inbox) AS inbox, (SELECT count(*) FROM purchase) AS purchases,
       (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM dead_letter) AS dead
"""


async def check_referrals(pool: Pool, total: int) -> None:
    """Check that each of `total` purchases was recorded, and that none concerned a referral.

    Raises:
        WrongEffectError: purchases are missing, or something was published.
    """
    counts = await pool.fetchrow(RECORDED_SQL)
    assert counts is not None, "it has a row"
    if tuple(counts.values()) != (total, total, 0, 0):
        raise WrongEffectError(f"of {total} purchases came: {dict(counts)}")


async def check_peer(pool: Pool, least: int) -> int:
    """Check that each purchase of a peer has all its rows; returns the number of purchases.

    Raises:
        WrongEffectError: rows are missing, or there are fewer than `least` purchases.
    """
    counts = await pool.fetchrow(COUNTS_SQL)
    assert counts is not None, "it has a row"
    events = {counts[name] for name in ("inbox", "purchase", "transaction", "sequence")}
    if (
        len(events) != 1
        or min(events) < least
        or counts["outbox"] != counts["moved"]
        or counts["issued"] != counts["earned"]
    ):
        raise WrongEffectError(f"of at least {least} purchases came: {dict(counts)}")
    return counts["inbox"]


COPIED_SQL = """
SELECT (SELECT count(*) FROM transaction) + (SELECT count(*) FROM posting) + (SELECT count(*) FROM lot)
     + (SELECT count(*) FROM purchase) + (SELECT count(*) FROM outbox)
"""


async def check_copied(pool: Pool, rows: int) -> None:
    """Check the number of rows in the tables that are copied into.

    Raises:
        WrongEffectError: the number differs.
    """
    if (copied := await pool.fetchval(COPIED_SQL)) != rows:
        raise WrongEffectError(f"of {rows} rows came {copied}")
