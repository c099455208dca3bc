"""The table at the end of a replay: totals of the databases, what was new, and how fast it was."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from deploy.sample import books
from deploy.sample.books import Books
from deploy.sample.cloudevent import PURCHASE_COMPLETED
from deploy.sample.latency import Figures
from deploy.sample.replay import Drained, Options, Summary, replay

_CAPTION = (
    "Counts are of committed rows in the four databases, over all that was ever replayed here. "
    "Handled: from the first event published until all four services had handled everything and every outbox was "
    "empty. Latency: {purchases} further purchases at {rate} events a second on the idle system, each from the "
    "instant when it was due to be sent until a client read Wafa's event of it from Kafka; those without effect "
    "(known already, or below 1.00) are left out."
)


async def replay_and_report(wanted: Options, env: Mapping[str, str], console: Console, drained: Drained) -> None:
    """Replay the sample, wait until it is handled, measure the latency, and print the table.

    Raises: what `replay` and `books.read` raise.
    """
    before = await books.read(env)
    summary = await replay(wanted, env, console, drained)
    console.print(table(before, await books.read(env), summary))


def table(before: Books, after: Books, summary: Summary) -> Table:
    """The results of a replay, from the totals before and after it."""
    grid = Table(title="What came of it", show_header=False, title_justify="left", caption_justify="left")
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    new = after.points.orders - before.points.orders
    grid.add_row("Baskets", f"{summary.baskets:,} replayed: {new:,} new, {summary.baskets - new:,} known already")
    made_up = sum(summary.events.values()) - summary.events.get(PURCHASE_COMPLETED, 0)
    grid.add_row("Made-up events", f"{made_up:,}")
    grid.add_row("Customers", f"{after.points.customers:,} with {after.points.orders:,} orders")
    owed = f", {after.points.debt:,} owed" if after.points.debt else ""
    grid.add_row("Points", f"{after.points.earned:,} earned, {after.points.available:,} available{owed}")
    grid.add_row("Tiers", _counted(after.tiers))
    grid.add_row("Referrals", _counted(after.referrals))
    grid.add_row("Messages", _counted({" ".join(key): count for key, count in after.messages.items()}))
    grid.add_row("Dead letters", f"{after.dead_letters:,}")
    grid.add_row("Published", _rate(summary.bulk.events, summary.bulk.published))
    if summary.bulk.handled is not None:
        grid.add_row("Handled", _rate(summary.bulk.events, summary.bulk.handled))
    if summary.latency is not None:
        grid.add_row("Purchase → points", _latency(summary.latency.points))
        grid.add_row("Purchase → message", _latency(summary.latency.message))
        grid.caption = _CAPTION.format(purchases=summary.latency.purchases, rate=summary.latency.rate)
    return grid


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=_most)) or "none"


def _most(item: tuple[str, int]) -> tuple[int, str]:
    name, count = item
    return -count, name


def _rate(events: int, seconds: float) -> str:
    return f"{events:,} events in {seconds:.1f} s: {events / seconds:,.0f} events/s"


def _latency(figures: Figures) -> str:
    if not figures.seconds:
        return "not measured: nothing that was sent had an effect (known already)"
    median, slow = (f"{figures.percentile(percent) * 1000:,.0f} ms" for percent in (50, 99))
    return f"p50 {median}, p99 {slow}, of {len(figures.seconds):,} purchases"
