"""The API's rate: balances, against a bare route that runs `SELECT 1` on the same pool."""

from collections.abc import Callable
from typing import Final

from deploy.keys import create_key
from deploy.sample.grocer import Sample
from tests.bench import draining, http_load, stream
from tests.bench.figures import Figure, ratio
from tests.bench.pace import watch
from tests.bench.processes import points_worker, serving
from tests.bench.testbed import Testbed

EVENTS: Final = 20_000

CUSTOMERS_SQL = "SELECT customer_id FROM account ORDER BY customer_id"


async def measure(bed: Testbed, year: Sample, rounds: int, say: Callable[[str], None]) -> list[Figure]:
    """Both servers in every round, each alone with the client, in an order that turns around."""
    await bed.fill(stream.purchases(year, EVENTS))
    keys = bed.folder / "keys.json"
    token = create_key(keys, ["read"], "bench")
    rates: dict[str, list[float]] = {"points": [], "bare": []}
    async with bed.database() as (url, pool):
        async with points_worker(bed, url):
            await watch(EVENTS, lambda: draining.handled(bed, pool))
        paths = [f"/v1/customers/{row['customer_id']}/points" for row in await pool.fetch(CUSTOMERS_SQL)]
        env = {"WAFA_DATABASE_URL_POINTS": url, "WAFA_API_KEYS_FILE": str(keys), "WAFA_LOG_LEVEL": "WARNING"}
        sides = {"points": (("services.points", "api"), paths), "bare": (("tests.bench.bare_route",), ["/"])}
        for number in range(rounds):
            for name in sorted(sides, reverse=number % 2 == 0):
                arguments, asked = sides[name]
                async with serving(name, arguments, env, bed.folder) as port:
                    rates[name].append(await http_load.load(port, http_load.requests(asked, token)))
                say(f"round {number + 1}: {name} {rates[name][-1]:,.0f} requests/s")
    return [
        ratio("GET /v1/customers/{id}/points / bare SELECT 1", rates["points"], rates["bare"], 0.4),
        Figure("GET /v1/customers/{id}/points", rates["points"], "requests/s"),
        Figure("a bare route that runs SELECT 1", rates["bare"], "requests/s"),
    ]
