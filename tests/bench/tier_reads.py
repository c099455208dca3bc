"""The rate at which the tiers API answers with a customer's tier, relative to a route that runs `SELECT 1`."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from deploy.keys import create_key
from shared.postgres.pool import Pool
from tests.bench import draining, http_load, requests, stream
from tests.bench.cpu import Meter
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.http_load import Wanted
from tests.bench.plan import Plan
from tests.bench.processes import serving
from tests.bench.rounds import Side, WrongEffectError, play
from tests.bench.serving import EVENTS
from tests.support.fleet import Member

CUSTOMERS_SQL = "SELECT customer_id, tier FROM customer ORDER BY customer_id"

_CHECKED: Final = 50


@dataclass(frozen=True, slots=True)
class _Served:
    """Both servers by what is asked of them, their database, and the requests."""

    plan: Plan
    pool: Pool
    servers: Mapping[str, tuple[int, Member]]
    paths: Mapping[str, Sequence[str]]
    token: str


async def measure(plan: Plan) -> list[Figure]:
    """Measure both in every round, in an alternating order."""
    bed, events = plan.bed, plan.events(EVENTS)
    await bed.fill(stream.purchases(plan.year, events))
    keys = bed.folder / "keys.json"
    token = create_key(keys, ["read"], "bench-tiers")
    async with AsyncExitStack() as stack:
        url, pool = await stack.enter_async_context(bed.database("tiers"))
        await draining.drain_into(bed, (url, pool), Drain(events, service="tiers", with_jobs=True))
        env = {"WAFA_API_KEYS_FILE": str(keys), "WAFA_LOG_LEVEL": "WARNING"}
        env |= {"WAFA_DATABASE_URL_TIERS": url, "WAFA_DATABASE_URL_POINTS": url}
        servers = {
            "tier": await stack.enter_async_context(serving("tiers", ("services.tiers", "api"), env, bed.folder)),
            "bare": await stack.enter_async_context(serving("bare", ("tests.bench.bare_route",), env, bed.folder)),
        }
        tiers = {row["customer_id"]: row["tier"] for row in await pool.fetch(CUSTOMERS_SQL)}
        paths = {"tier": [f"/v1/customers/{name}/tier" for name in tiers], "bare": ["/"]}
        served = _Served(plan, pool, servers, paths, token)
        await _check(served, tiers)
        sides = [Side("any", partial(_ask, served, kind)) for kind in ("bare", "tier")]
        results = await play(plan, sides, {"any": lambda: ()})
    return [
        rate("API: tier of each customer in turn", results["tier"], "requests/s"),
        Figure("API: tier of each customer in turn: p99", [item.rate for item in results["tier p99"]], "ms"),
        ratio("API: tier / bare route", results["tier"], results["bare"], 0.4),
    ]


async def _check(served: _Served, tiers: Mapping[str, str]) -> None:
    """Check answers against the database: under version 1 nobody falls."""
    headers = {"Authorization": f"Bearer {served.token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.servers['tier'][0]}", headers=headers) as client:
        for customer in [*tiers][:_CHECKED]:
            answered = (await client.get(f"/v1/customers/{customer}/tier")).json()
            if answered["tier"] != tiers[customer]:
                raise WrongEffectError(f"{customer} is {tiers[customer]}, but the API answers {answered}")


async def _ask(served: _Served, kind: str) -> Mapping[str, Measured]:
    port, process = served.servers[kind]
    meter = Meter(served.plan.bed, served.pool, {"server": [process.pid]})
    wanted = Wanted(requests.reads(served.paths[kind], served.token))
    answers = await http_load.load(port, wanted, served.plan.seconds(http_load.SECONDS), meter)
    return {kind: answers.measured, f"{kind} p99": Measured(answers.p99 * 1000)}
