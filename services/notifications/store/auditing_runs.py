"""Consistency checks of runs and timers: each statement selects violations."""

from datetime import datetime, timedelta
from typing import Final

from shared.postgres.checks import Query

_OVERDUE: Final = timedelta(minutes=10)
"""How late a run may be moved: workers look every second, and leave a customer who cannot be moved for five minutes."""

# A run without a row of its own made messages of one customer; a stored one made those that name it.
RUNS_SQL = """
SELECT message.id::text AS id
FROM message LEFT JOIN run ON run.id = message.run_id
WHERE message.run_id IS NOT NULL
  AND (run.id IS NULL OR run.customer_id <> message.customer_id OR run.journey <> message.trigger
       OR (message.occasion <> run.key AND NOT starts_with(message.occasion, run.key || '#')))
LIMIT $1
"""

STATES_SQL = """
SELECT id::text AS id
FROM run
WHERE NOT coalesce(
    (due_at IS NOT NULL) = (state = 'waiting') AND (look_at IS NOT NULL) = (state = 'waiting')
    AND (reason IS NOT NULL) = (state = 'stopped') AND json_typeof(trace) = 'array' AND json_typeof(facts) = 'object'
    AND fell_due_at >= started_at AND (due_at IS NULL OR due_at >= fell_due_at)
    AND (state <> 'joined' OR json_array_length(trace) = 0), false)
LIMIT $1
"""

OVERDUE_SQL = """
SELECT id::text AS id FROM run WHERE look_at < $2
UNION ALL
SELECT customer_id || '/' || journey FROM timer WHERE look_at < $2
LIMIT $1
"""

# A trigger starts a run or joins a digest once; a run that was stored is not also one without a row.
ONCE_SQL = """
SELECT run.id::text AS id
FROM run
JOIN message ON message.customer_id = run.customer_id AND message.trigger = run.journey
            AND (message.occasion = run.key OR starts_with(message.occasion, run.key || '#'))
WHERE message.run_id IS DISTINCT FROM run.id AND run.state <> 'joined'
LIMIT $1
"""

COUNTS_SQL = """
SELECT customer_id AS id
FROM customer
WHERE purchases < 0 OR (purchases > 0) <> (first_purchase_at IS NOT NULL)
LIMIT $1
"""

ERASED_SQL = """
WITH erased AS (
    SELECT customer_id, erased_at, seen_at FROM customer
    WHERE erased_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM erasure WHERE erasure.customer_id = customer.customer_id AND look_at IS NOT NULL -- not finished
    )
)
SELECT customer_id AS id FROM run JOIN erased USING (customer_id) WHERE started_at <= erased_at OR seen_at IS NULL
UNION ALL
SELECT customer_id FROM happened JOIN erased USING (customer_id) WHERE at <= erased_at OR seen_at IS NULL
UNION ALL
SELECT customer_id FROM timer JOIN erased USING (customer_id) WHERE seen_at IS NULL
LIMIT $1
"""


def queries(now: datetime) -> tuple[Query, ...]:
    """The checks of all rows, as of an instant."""
    return (
        Query("messages of stored runs belong to them", RUNS_SQL),
        Query("runs are in valid states", STATES_SQL),
        Query("no wait and no timer is overdue", OVERDUE_SQL, (now - _OVERDUE,)),
        Query("each trigger started at most one run", ONCE_SQL),
        Query("purchases are counted", COUNTS_SQL),
        Query("no runs are left of erased customers", ERASED_SQL),
    )
