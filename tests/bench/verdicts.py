"""The row of `python -m tests.bench.judging`."""

import asyncio

from tests.bench import judging
from tests.bench.figures import Figure
from tests.bench.plan import Plan


async def measure(plan: Plan) -> list[Figure]:
    """Seconds of one core for judging a million orders against 20 rules, measured once."""
    orders = plan.events(judging.ORDERS)
    plan.say(f"judging {orders:,} orders")
    seconds, _ = await asyncio.to_thread(judging.measure, orders)
    most = judging.MOST_SECONDS * orders / judging.ORDERS
    return [Figure(f"judging {orders:,} orders against 20 rules", [seconds], "s", at_most=most)]
