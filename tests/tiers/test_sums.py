"""The sums of a slice are those that single customers' requests get."""

from datetime import datetime, timedelta
from typing import cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from services.tiers.rules.metrics import Request, Sums
from services.tiers.store import customers, metrics, sums
from shared.postgres import slices
from shared.postgres.pool import Pool
from tests.support import postgres
from tests.support.depth import examples
from tests.tiers.applied import apply
from tests.tiers.histories import BEGIN, Happening, histories

NOW = BEGIN + timedelta(days=800)
CUSTOMERS = ("ann", "bob", "cid")

_INSTANTS = st.sampled_from([BEGIN + timedelta(days=days) for days in (0, 1, 100, 365, 465, 731, 800)])


@pytest.mark.timeout(300)
@examples(8, deep=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    own=st.fixed_dictionaries(dict.fromkeys(CUSTOMERS, histories())),
    since=st.none() | _INSTANTS,
    known=_INSTANTS,
)
async def test_they_are_the_answers_of_requests(
    postgres_url: str, own: dict[str, list[Happening]], since: datetime | None, known: datetime
):
    request = Request(since, None, known)
    async with postgres.database(postgres_url, "tiers", max_size=1) as pool:
        for customer_id, happenings in own.items():
            await apply(pool, *(happening.event(customer_id) for happening in happenings), now=NOW)
        async with pool.acquire() as connection:
            expected = await metrics.load_answers(connection, [(customer_id, request) for customer_id in CUSTOMERS])
            assert await sums.load_sums(connection, CUSTOMERS, request) == expected
            points = [cast("Sums", answer).get(("points", ""), 0) for answer in expected]
            assert await sums.load_points(connection, CUSTOMERS, request) == points


async def test_slices_are_all_customers_once_however_they_are_cut(tiers_pool: Pool):
    names = [f"c{number:02}" for number in range(10)]
    await tiers_pool.executemany(
        "INSERT INTO customer (customer_id, state) VALUES ($1, '{}')", [(name,) for name in names]
    )
    for size in (1, 3, 5, 10, 11):
        async with tiers_pool.acquire() as connection, connection.transaction():
            run_id = await connection.fetchval("SELECT uuidv7()")
            await customers.cut_slices(connection, run_id, size)
            parts = [
                slices.Slice(*row)
                for row in await connection.fetch(
                    "SELECT number, after_id, until_id FROM slice WHERE run_id = $1 ORDER BY number", run_id
                )
            ]
            assert [part.number for part in parts] == list(range(1, 10 // size + 2))
            listed = [customer.customer_id for part in parts for customer in await sums.known_in(connection, part)]
            assert listed == names
            # Newcomers are in one of them too.
            assert (parts[0].after_id, parts[-1].until_id) == ("", None)
