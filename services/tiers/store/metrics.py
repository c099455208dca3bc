"""Sums of what counts over periods, and the changes from an instant on, from the recorded rows."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple, cast

from services.tiers.rules.counting import METRICS, Kind
from services.tiers.rules.days import days_around
from services.tiers.rules.metrics import Amount, Answer, Change, Metric, Request
from services.tiers.store.fractions import from_columns
from shared.postgres.pool import Connection

Asked = tuple[str, Request]
"""A customer's id and a request about that customer."""

_PURCHASE: Final = "purchase"
"""The kind of rows that are purchases: money in the currency that is their name, and a number of orders."""


async def load_answers(connection: Connection, asked: Sequence[Asked]) -> list[Answer]:
    """The answers of requests, in their order, by one statement; two for each time zone of requests by day."""
    answers: list[Answer] = [{}] * len(asked)
    zones = list(dict.fromkeys(request.by_day_of for _, request in asked if request.by_day_of is not None))
    for number, zone in enumerate(zones or [None]):
        places = [
            place
            for place, (_, request) in enumerate(asked)
            if request.by_day_of == zone or (request.by_day_of is None and number == 0)
        ]
        for place, answer in zip(
            places, await _load_of_zone(connection, zone, [asked[place] for place in places]), strict=True
        ):
            answers[place] = answer
    return answers


async def _load_of_zone(connection: Connection, zone: str | None, asked: Sequence[Asked]) -> list[Answer]:
    """The answers of requests, those by day in a single time zone."""
    requests = [request for _, request in asked]
    by_day = [own for own in asked if own[1].by_day_of is not None]
    days = [] if zone is None else days_around(zone, await _load_dates(connection, by_day))
    rows = await _sum(connection, asked, [start for _, start in days])
    answers: list[Answer] = []
    for request, own in zip(requests, rows, strict=True):
        if request.by_day_of is None:
            answers.append(own.get(0, {}))
        else:
            answers.append({days[bucket - 1][0]: sums for bucket, sums in own.items()})
    return answers


# The days that are asked about can be millions, those on which something was earned are few.
DATES_SQL = """
SELECT DISTINCT (earned_at AT TIME ZONE 'UTC')::date
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS asked (customer_id, since, before)
CROSS JOIN LATERAL (
    SELECT purchased_at AS earned_at
    FROM purchase
    WHERE customer_id || '' = asked.customer_id AND purchased_at >= coalesce(since, '-infinity')
      AND purchased_at < coalesce(before, 'infinity') AND total > 0
    UNION ALL
    SELECT earned_at
    FROM counted
    WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce(since, '-infinity')
      AND earned_at < coalesce(before, 'infinity') AND kind <> 'reversal'
) AS earned
"""


async def _load_dates(connection: Connection, asked: Sequence[Asked]) -> list[date]:
    """The days of UTC on which anything was earned that requests ask for; what was taken was earned before."""
    columns = zip(*((customer_id, request.since, request.before) for customer_id, request in asked), strict=True)
    return [row[0] for row in await connection.fetch(DATES_SQL, *columns)]


# Whatever was earned by itself happened when it was earned. Buckets are days, by their first instants.
SUMS_SQL = """
SELECT place, bucket, kind, sums.name, amount, divisor, orders
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::boolean[]) WITH ORDINALITY
    AS asked (customer_id, since, before, known, by_day, place)
CROSS JOIN LATERAL (
    SELECT CASE WHEN by_day THEN greatest(width_bucket(purchased_at, $6), 1) ELSE 0 END AS bucket, 'purchase' AS kind,
           currency AS name, sum(total) AS amount, 1::numeric AS divisor, count(*) AS orders
    FROM purchase
    WHERE customer_id || '' = asked.customer_id AND purchased_at >= coalesce(since, '-infinity')
      AND purchased_at < coalesce(least(before, known), 'infinity') AND total > 0
    GROUP BY 1, currency
    UNION ALL
    SELECT CASE WHEN by_day THEN greatest(width_bucket(earned_at, $6), 1) ELSE 0 END, kind, name, sum(amount), 1, 0
    FROM counted
    WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce(since, '-infinity')
      AND earned_at < coalesce(least(before, known), 'infinity') AND kind <> 'reversal'
    GROUP BY 1, kind, name
    UNION ALL
    SELECT CASE WHEN by_day THEN greatest(width_bucket(earned_at, $6), 1) ELSE 0 END, metric, name, sum(amount),
           divisor, 0
    FROM taken
    WHERE customer_id || '' = asked.customer_id AND earned_at >= coalesce(since, '-infinity')
      AND earned_at < coalesce(before, 'infinity') AND at < coalesce(known, 'infinity')
    GROUP BY 1, metric, name, divisor
) AS sums
"""


async def _sum(
    connection: Connection, asked: Sequence[Asked], starts: Sequence[datetime]
) -> list[dict[int, dict[tuple[Metric, str], Amount]]]:
    """By request: its sums by bucket."""
    by_request: list[dict[int, dict[tuple[Metric, str], Amount]]] = [{} for _ in asked]
    if not asked:
        return by_request
    columns = zip(
        *(
            (customer_id, request.since, request.before, request.known, request.by_day_of is not None)
            for customer_id, request in asked
        ),
        strict=True,
    )
    rows: Sequence[Any] = await connection.fetch(SUMS_SQL, *columns, starts)
    for place, bucket, kind, name, amount, divisor, orders in rows:
        sums = by_request[place - 1].setdefault(bucket, {})
        key = _key_of(kind, name)
        sums[key] = sums.get(key, 0) + from_columns(key[0], amount, divisor)
        if orders:
            sums["orders", ""] = sums.get(("orders", ""), 0) + orders
    return by_request


PAUSE_SQL = "SELECT"


async def pause(connection: Connection) -> None:
    """Let other tasks have a turn during a long computation, without leaving the transaction idle."""
    await connection.execute(PAUSE_SQL)


class Loaded(NamedTuple):
    """Changes in the order of `at`; there may be more of them from `until` on (None: these are all)."""

    changes: list[Change]
    until: datetime | None


# Each branch is an index scan in the order of time, which ends at the limit.
CHANGES_SQL = """
SELECT wanted.customer_id, branch, own.at, own.earned_at, kind, own.name, amount, divisor
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (customer_id, since)
CROSS JOIN LATERAL (
    (SELECT 0 AS branch, purchased_at AS at, purchased_at AS earned_at, 'purchase' AS kind, currency AS name,
            total AS amount, 1::numeric AS divisor
     FROM purchase
     WHERE customer_id || '' = wanted.customer_id AND purchased_at >= coalesce(wanted.since, '-infinity') AND total > 0
     ORDER BY purchased_at LIMIT $3)
    UNION ALL
    (SELECT 1, counted.earned_at, counted.earned_at, counted.kind, counted.name, counted.amount, 1
     FROM counted
     WHERE customer_id || '' = wanted.customer_id AND counted.earned_at >= coalesce(wanted.since, '-infinity')
       AND counted.kind <> 'reversal'
     ORDER BY counted.earned_at LIMIT $3)
    UNION ALL
    (SELECT 2, taken.at, taken.earned_at, metric, taken.name, taken.amount, taken.divisor
     FROM taken
     WHERE customer_id = wanted.customer_id AND taken.at >= coalesce(wanted.since, '-infinity')
     ORDER BY taken.at LIMIT $3)
) AS own
"""


async def _rows(connection: Connection, since: Mapping[str, datetime | None], most: int | None) -> AsyncIterator[Any]:
    """The rows; without a limit they can be very many, so they come in portions, and others have a turn."""
    if most is None:
        async for row in connection.cursor(CHANGES_SQL, list(since), list(since.values()), None, prefetch=_PORTION):
            yield row
    else:
        for row in await connection.fetch(CHANGES_SQL, list(since), list(since.values()), most):
            yield row


async def load_changes(
    connection: Connection, since: Mapping[str, datetime | None], limit: int | None = None
) -> dict[str, Loaded]:
    """The changes of customers from an instant on (None: all), at most about `limit` of each of three kinds of rows."""
    if not since:
        return {}
    if limit is None:
        changes: dict[str, list[Change]] = {customer_id: [] for customer_id in since}
        async for row in _rows(connection, since, None):
            changes[row["customer_id"]] += _changes_of(row)
        return {customer_id: Loaded(sorted(own, key=_instant), None) for customer_id, own in changes.items()}
    by_customer: dict[str, list[Any]] = {customer_id: [] for customer_id in since}
    async for row in _rows(connection, since, limit + 1):
        by_customer[row["customer_id"]].append(row)
    return {customer_id: _loaded(rows, limit + 1) for customer_id, rows in by_customer.items()}


def _loaded(rows: Iterable[Any], most: int) -> Loaded:
    by_branch: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        by_branch[row["branch"]].append(row)
    cut = [max(row["at"] for row in own) for own in by_branch.values() if len(own) == most]
    changes = [change for own in by_branch.values() for row in own for change in _changes_of(row)]
    return Loaded(sorted(changes, key=_instant), min(cut, default=None))


def _changes_of(row: Any) -> list[Change]:  # noqa: ANN401 asyncpg's Record has no types
    metric, name = _key_of(row["kind"], row["name"])
    amount = from_columns(metric, row["amount"], row["divisor"])
    change = Change(row["at"], row["earned_at"], metric, name, amount, row["branch"] == _TAKEN)
    return [change, change._replace(metric="orders", name="", amount=1)] if row["kind"] == _PURCHASE else [change]


_TAKEN: Final = 2

_PORTION: Final = 250
"""Rows that are read at once."""


def _instant(change: Change) -> datetime:
    return change.at


def _key_of(kind: str, name: str) -> tuple[Metric, str]:
    """The metric and name of rows of a kind."""
    if kind == _PURCHASE:
        return "spend", name
    return METRICS.get(cast("Kind", kind), cast("Metric", kind)), name
