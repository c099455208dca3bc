"""Replays the sample through Kafka: real purchases, and the made-up part beside them.

Every id is the same in each replay of the same seed, so events that Wafa has handled have no effect again; an
interrupted replay is simply repeated.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from aiokafka.errors import KafkaError
from rich.console import Console

from deploy.sample import grocer, latency, referral_codes
from deploy.sample.cloudevent import PURCHASE_COMPLETED, CloudEvent
from deploy.sample.grocer import Sample, SampleMissingError, Year
from deploy.sample.latency import Latency
from deploy.sample.made_up import SEED, MadeUp, referrals
from deploy.sample.progress import progress
from deploy.sample.publisher import connect
from deploy.sample.referral_codes import ReferralCodeError
from deploy.sample.settings import SettingMissingError, flag, setting

Drained = Callable[[], Awaitable[object]]
"""Returns when all published events are handled and every outbox is empty."""


@dataclass(frozen=True, slots=True)
class Options:
    """The extent of a replay: a number of `baskets`, or the whole year of a number of `households` (None: all).

    `today` is the day after the last basket. `seed` draws the made-up part, which `only_purchases` leaves out.
    """

    today: date
    baskets: int | None = None
    households: int | None = grocer.HOUSEHOLDS
    only_purchases: bool = False
    seed: int = SEED


@dataclass(frozen=True, slots=True)
class Bulk:
    """The part published at full speed: number of events; seconds until published, and until handled."""

    events: int
    published: float
    handled: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a replay: published events by type, the bulk part, and the measured latency of the rest.

    Without a `drained` function everything is in bulk, and no latency is measured.
    """

    households: int
    baskets: int
    events: Mapping[str, int]
    bulk: Bulk
    latency: Latency | None


def options(argv: Sequence[str], today: date | None = None) -> Options:
    """The options of a command line; ends the program with a message if they make no sense."""
    parser = argparse.ArgumentParser(prog="replay", description="Publishes the sample: a real grocer's year.")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--baskets", type=_extent, metavar="N|all", help="number of baskets: whole households, the last one cut short"
    )
    extent.add_argument(
        "--households",
        type=_count,
        default=grocer.HOUSEHOLDS,
        metavar="N",
        help=f"number of households, with their whole year (default: {grocer.HOUSEHOLDS})",
    )
    parser.add_argument("--only", choices=("purchases",), help="leave the made-up part out")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the made-up part (default: {SEED})")
    parser.add_argument(
        "--today",
        type=date.fromisoformat,
        default=today or datetime.now(UTC).date(),
        metavar="DATE",
        help="the day after the last basket (default: today in UTC)",
    )
    given = parser.parse_args(argv)
    everything = given.baskets == "all"
    return Options(
        today=given.today,
        baskets=None if everything else given.baskets,
        households=None if everything else given.households,
        only_purchases=given.only == "purchases",
        seed=given.seed,
    )


async def replay(wanted: Options, env: Mapping[str, str], console: Console, drained: Drained | None = None) -> Summary:
    """Publish the sample. With `drained`, the last purchases are sent separately to measure the latency.

    Raises:
        SampleMissingError: the grocer's data is not installed.
        SettingMissingError: `env` lacks a variable of `.local/wafa.env`.
        ReferralCodeError: the API gave no referral codes.
        KafkaError: the broker refused.
    """
    bootstrap = setting(env, "WAFA_KAFKA_BOOTSTRAP")
    idempotent = flag(env, "WAFA_KAFKA_IDEMPOTENCE", default=True)
    sample = _choose(Year.read(wanted.today), wanted)
    console.print(_introduction(sample, wanted), highlight=False)
    events = await _events(sample, wanted, env)
    held = min(latency.PURCHASES, sample.size // 2) if drained else 0
    counts: Counter[str] = Counter()
    async with connect(bootstrap, idempotent=idempotent) as publisher:
        started = time.monotonic()
        with progress(console, "Baskets published", sample.size - held) as advance:

            def acknowledged(chunk: list[CloudEvent]) -> None:
                types = Counter(event.type for event in chunk)
                counts.update(types)
                advance(types[PURCHASE_COMPLETED])

            await publisher.publish(_all_but(held, events, sample.size), acknowledged)
        bulk = Bulk(counts.total(), time.monotonic() - started)
        if drained is None:
            return Summary(len(sample.households), sample.size, counts, bulk, None)
        await drained()
        bulk = replace(bulk, handled=time.monotonic() - started)
        rest = list(events)
        console.print(f"Sending {held} more at {latency.RATE} a second, to measure the latency.", highlight=False)
        measured = await latency.measure(bootstrap, publisher, rest, drained)
        counts.update(event.type for event in rest)
        return Summary(len(sample.households), sample.size, counts, bulk, measured)


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Replay as the command line says; returns the exit code."""
    console = Console(stderr=False)
    try:
        summary = asyncio.run(replay(options(argv), env, console))
    except (SampleMissingError, SettingMissingError, ReferralCodeError, KafkaError, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    for type_, count in sorted(summary.events.items()):
        console.print(f"{count:>9,}  {type_}", highlight=False)
    seconds = summary.bulk.published
    console.print(f"Published in {seconds:.1f} s ({summary.bulk.events / seconds:,.0f} events/s).", highlight=False)
    return 0


def _choose(year: Year, wanted: Options) -> Sample:
    if wanted.baskets is not None:
        return year.of_baskets(wanted.baskets)
    return year.everything() if wanted.households is None else year.of_households(wanted.households)


def _introduction(sample: Sample, wanted: Options) -> str:
    text = f"Replaying {sample.size:,} real baskets of {len(sample.households):,} households of a grocer"
    if wanted.only_purchases:
        return f"{text}."
    return f"{text}; registrations, reviews, referrals and refunds are made up (seed {wanted.seed})."


async def _events(sample: Sample, wanted: Options, env: Mapping[str, str]) -> Iterator[CloudEvent]:
    """The events in the order of time. The codes of the advocates are fetched first."""
    if wanted.only_purchases:
        return map(grocer.purchase, sample.baskets())
    pairs = referrals(sample.households)
    url, token = setting(env, "WAFA_URL"), setting(env, "WAFA_ADMIN_TOKEN")
    advocates = sorted({pair.advocate for pair in pairs})
    codes = await asyncio.to_thread(referral_codes.fetch, url, token, advocates)
    made_up = MadeUp(wanted.seed, grocer.end_of_sample(wanted.today))
    visits = sample.first_visits()
    prepared = [made_up.registration(household, visits[household]) for household in sample.households]
    prepared += [made_up.sign_up(pair, codes[pair.advocate], visits[pair.friend]) for pair in pairs]
    return made_up.along(sample.baskets(), prepared)


def _all_but(held: int, events: Iterator[CloudEvent], size: int) -> Iterator[CloudEvent]:
    """The events before the last `held` purchases, which stay in `events`; all events if `held` is 0."""
    if not held:
        yield from events
        return
    left = size - held
    for event in events:
        yield event
        left -= event.type == PURCHASE_COMPLETED
        if not left:
            return


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def _extent(text: str) -> int | str:
    return text if text == "all" else _count(text)
