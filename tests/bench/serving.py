"""The API's rates for balances, quotes and redemptions, relative to a route that runs `SELECT 1`."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import httpx

from deploy.keys import create_key
from shared.contracts import fields
from shared.postgres.pool import Pool
from tests.bench import draining, http_load, requests, stream
from tests.bench.cpu import Meter
from tests.bench.draining import Drain
from tests.bench.figures import Figure, Measured, rate, ratio
from tests.bench.http_load import Wanted
from tests.bench.plan import Plan
from tests.bench.processes import serving
from tests.bench.rounds import Results, Side, WrongEffectError, play
from tests.support.fleet import Member

EVENTS: Final = 20_000

_CARTS: Final = 500
_ENOUGH: Final = 50
_GRANT: Final = 10_000_000

CUSTOMERS_SQL = "SELECT customer_id FROM account WHERE available >= $1 ORDER BY customer_id"

BUSIEST_SQL = "SELECT customer_id FROM lot WHERE remaining > 0 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"

SPENT_SQL = """
SELECT (SELECT count(*) FROM redemption) AS redemptions, (SELECT sum(redeemed) FROM account)::bigint AS points,
       (SELECT count(*) FROM outbox
        WHERE convert_from(value, 'UTF8') LIKE '%loyalty.points.redeemed.v1%') AS announced
"""

AVAILABLE_SQL = "SELECT customer_id, available FROM account"


@dataclass(frozen=True, slots=True)
class _Served:
    """Both servers, their database, and the callers."""

    plan: Plan
    pool: Pool
    points: tuple[int, Member]
    bare: tuple[int, Member]
    token: str
    customers: Sequence[str]
    hot: str


async def measure(plan: Plan) -> list[Figure]:
    """Measure each kind of request alone in every round, in an alternating order."""
    bed, events = plan.bed, plan.events(EVENTS)
    await bed.fill(stream.purchases(plan.year, events))
    keys = bed.folder / "keys.json"
    token = create_key(keys, ["read", "redeem", "support"], "bench")
    async with AsyncExitStack() as stack:
        url, pool = await stack.enter_async_context(bed.database())
        await draining.drain_into(bed, (url, pool), Drain(events))
        customers = [row["customer_id"] for row in await pool.fetch(CUSTOMERS_SQL, _ENOUGH)]
        env = {"WAFA_DATABASE_URL_POINTS": url, "WAFA_API_KEYS_FILE": str(keys), "WAFA_LOG_LEVEL": "WARNING"}
        points = await stack.enter_async_context(serving("points", ("services.points", "api"), env, bed.folder))
        bare = await stack.enter_async_context(serving("bare", ("tests.bench.bare_route",), env, bed.folder))
        hot = await pool.fetchval(BUSIEST_SQL)
        served = _Served(plan, pool, points, bare, token, customers, hot)
        await _prepare(served)
        sides = [Side("any", partial(_ask, served, kind)) for kind in _KINDS]
        return _figures(await play(plan, sides, {"any": lambda: ()}))


_KINDS: Final = ("bare", "balance", "quote", "uniform", "hot")


def _figures(results: Results) -> list[Figure]:
    names = {
        "bare": "API: a bare route that runs SELECT 1",
        "balance": "API: balance of each customer in turn",
        "quote": "API: quote of a basket",
        "uniform": "API: redemption, of many customers",
        "hot": "API: redemption, all of one customer",
    }
    figures: list[Figure] = []
    for kind, name in names.items():
        figures.append(rate(name, results[kind], "requests/s"))
        figures.append(Figure(f"{name}: p99", [item.rate for item in results[f"{kind} p99"]], "ms"))
    figures += [
        ratio("API: balance / bare route", results["balance"], results["bare"], 0.4),
        ratio("API: quote / bare route", results["quote"], results["bare"]),
        ratio("API: redemption / bare route", results["uniform"], results["bare"]),
        ratio("API: redemption of one customer / of many", results["hot"], results["uniform"], 0.5),
    ]
    return figures


async def _prepare(served: _Served) -> None:
    """Grant the hot customer enough points, and check the answers against the database."""
    headers = {"Authorization": f"Bearer {served.token}", "Idempotency-Key": "bench-grant"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.points[0]}", headers=headers) as client:
        grant = {"points": _GRANT, "reason": "to be redeemed"}
        answer = await client.post(f"/v1/customers/{served.hot}/adjustments", json=grant)
        answer.raise_for_status()
        available = {row["customer_id"]: row["available"] for row in await served.pool.fetch(AVAILABLE_SQL)}
        for customer in [served.hot, *served.customers[:20]]:
            answered = (await client.get(f"/v1/customers/{customer}/points")).json()
            if answered["available"] != available[customer]:
                raise WrongEffectError(f"{customer} has {available[customer]} points, but the API answers {answered}")
        for cart in _carts(served.plan)[:20]:
            answered = (await client.post("/v1/points/quotes", json=cart)).json()
            if answered["points"] != int(float(cart["total"])):
                raise WrongEffectError(f"{json.dumps(cart)} is quoted {answered}")


async def _ask(served: _Served, kind: str) -> Mapping[str, Measured]:
    port, process = served.bare if kind == "bare" else served.points
    meter = Meter(served.plan.bed, served.pool, {"server": [process.pid]})
    wanted, before = _wanted(served, kind), await served.pool.fetchrow(SPENT_SQL)
    answers = await http_load.load(port, wanted, served.plan.seconds(http_load.SECONDS), meter)
    after = await served.pool.fetchrow(SPENT_SQL)
    assert before is not None, "it has a row"
    assert after is not None, "it has a row"
    redeemed = answers.count if kind in {"uniform", "hot"} else 0
    if any(after[name] - before[name] != redeemed for name in ("redemptions", "points", "announced")):
        raise WrongEffectError(f"{redeemed} redemptions made of {dict(before)} {dict(after)}")
    return {kind: answers.measured, f"{kind} p99": Measured(answers.p99 * 1000)}


def _wanted(served: _Served, kind: str) -> Wanted:
    match kind:
        case "bare":
            return Wanted(requests.reads(["/"], served.token))
        case "balance":
            return Wanted(
                requests.reads([f"/v1/customers/{customer}/points" for customer in served.customers], served.token)
            )
        case "quote":
            return Wanted(requests.quotes(_carts(served.plan), served.token))
        case "uniform":
            return Wanted(requests.redemptions(served.customers, served.token), 201)
        case _:
            return Wanted(requests.redemptions([served.hot], served.token), 201)


def _carts(plan: Plan) -> list[dict[str, Any]]:
    """Carts of a new customer."""
    return [{name: basket.purchase[name] for name in fields.STORED} for basket in islice(plan.year.baskets(), _CARTS)]
