"""The sides that share topics and rounds: limits, the worker, its peers, mixed streams and the relay."""

from collections.abc import Iterable

from tests.bench import comparing, draining, limit, mixture, relaying, stream, tape
from tests.bench.figures import Figure
from tests.bench.plan import Plan
from tests.bench.rounds import Reels, Side, between, play
from tests.bench.tape import Take

PARTS = ("limit", "ours", "peers", "mixed", "tiers", "relay")


async def measure(plan: Plan, parts: Iterable[str]) -> list[Figure]:
    """Measure the sides of the selected parts, and always one worker on purchases and its SQL as the reference."""
    asked = set(parts)
    if plan.bed.embedded and "relay" in asked:
        plan.say("the embedded broker does not tell where topics end: the relay is not measured")
        asked.remove("relay")
    reels = _reels(plan)
    await plan.bed.reel("purchases", reels["purchases"])
    plan.say("recording the statements of a worker")
    async with plan.bed.database() as (_, pool):
        takes = await tape.record(plan.bed, pool, draining.count(plan))
    results = await play(plan, await _sides(plan, asked, takes), reels)
    figures: list[Figure] = []
    if "limit" in asked:
        figures += limit.figures(results)
    figures += draining.figures(results)
    if "ours" in asked:
        figures += draining.more_figures(results)
    if "peers" in asked:
        figures += limit.round_trips(results) + comparing.figures(results)
    if "mixed" in asked:
        figures += draining.mixed_figures(results)
    if "tiers" in asked:
        figures += draining.tier_figures(results)
    if "relay" in asked:
        figures += relaying.figures(results)
    return figures


async def _sides(plan: Plan, asked: set[str], takes: list[Take]) -> list[Side]:
    # Sides with a target relative to the worker are measured next to it: the machine's speed drifts within a round.
    worker = draining.side(plan, takes)
    sides = draining.mixed_sides(plan) if "mixed" in asked else []
    sides.append(between(worker, comparing.textbook(plan)) if "peers" in asked else worker)
    if "limit" in asked:
        sides += limit.sides(plan, takes)
    if asked & {"limit", "peers"}:
        sides += limit.small_sides(plan)
    if "ours" in asked:
        sides += draining.more_sides(plan)
    if "peers" in asked:
        sides += comparing.sides(plan)
    if "tiers" in asked:
        sides += draining.tier_sides(plan)
    if "relay" in asked:
        sides += relaying.sides(plan, await relaying.outbox(plan))
    return sides


def _reels(plan: Plan) -> Reels:
    year, events = plan.year, draining.count(plan)
    return {
        "purchases": lambda: stream.purchases(year, events),
        "mixed": lambda: mixture.mixed(year, events, mixture.SIMPLE),
        "everything": lambda: mixture.mixed(year, events, mixture.EVERYTHING),
        "counted": lambda: mixture.mixed(year, events, mixture.COUNTED),
    }
