"""A run: publish a history, inject faults, drain, and check the results."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import httpx

from deploy.local.drain import DrainTimeoutError
from tests.prove import findings, history, log, quiet, referring, sweeps, tiered, tiering
from tests.prove.checks import applied, published, recovered, refused, replayed, verified
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence, consult
from tests.prove.earning import DOCUMENT, REWARD
from tests.prove.history import History
from tests.prove.jobs import FARTHEST
from tests.prove.lives import code_of
from tests.prove.nemesis import Nemesis, Struck
from tests.prove.plan import Plan
from tests.prove.progress import Progress
from tests.prove.publishing import Publisher, connected
from tests.prove.replay.points import SETTLED_AT_ONCE
from tests.prove.stage import Cast, Ground, Stage, staged
from tests.prove.tiered import Quiet
from tests.prove.writes import Writer

_AHEAD: Final = 0.08
"""How far publishing may be ahead of the faults, as a share of the remaining ones."""

_QUIET_DAYS: Final = 3
"""Days ahead of the end, to which tiers are swept while nothing else happens."""
_BEYOND_DAYS: Final = FARTHEST + 1
"""The same where the faults have swept most customers farther than that."""
_AHEAD_DAYS: Final = 45
"""Days ahead of the end, to which referrals and tiers are swept: by then windows and short periods are over."""
_SWEEPS: Final = 3
"""Most sweeps up to an instant: what they let happen may arrive at tiers again."""

_CODES_SQL: Final = "INSERT INTO referral_code (customer_id, code, created_at) VALUES ($1, $2, now())"


@dataclass(slots=True)
class Outcome:
    """The result of a run."""

    seed: int
    began: datetime
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    figures: dict[str, int | float] = field(default_factory=dict)

    @property
    def violated(self) -> list[Check]:
        """The checks with offenders."""
        return [item for item in self.checks if item.count]


def say(words: str) -> None:
    """Print progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {words}", file=sys.stderr, flush=True)  # noqa: T201 a command line prints


async def run(seed: int, plan: Plan, ground: Ground, cast: Cast | None = None) -> Outcome:
    """Run a plan on the history of a seed."""
    started = time.monotonic()
    say(f"seed {seed}: making {plan.size.records:,} records of {plan.size.customers:,} customers")
    shop_history = await asyncio.to_thread(history.make, seed, plan.size)
    async with staged(ground, cast or Cast(settles_soon=plan.settles_soon)) as stage:
        headers = {"Authorization": f"Bearer {stage.token}"}
        async with httpx.AsyncClient(base_url=stage.api_url, headers=headers) as client:
            await _prepare(stage, client, shop_history)
            outcome = Outcome(seed, datetime.now(UTC))
            load = _Load(stage, client, shop_history, plan, outcome)
            await load.run()
            outcome.checks += await _judge(stage, client, shop_history, load)
    outcome.seconds = time.monotonic() - started
    return outcome


async def _prepare(stage: Stage, client: httpx.AsyncClient, shop_history: History) -> None:
    """Create the advocates' codes (the same in every run), the earning rules and the reward."""
    os.environ.update(stage.direct_env())
    await stage.pools["referrals"].executemany(
        _CODES_SQL, [(advocate, code_of(advocate)) for advocate in shop_history.advocates]
    )
    draft = (await client.post("/v1/earning-rules", json=DOCUMENT)).raise_for_status().json()
    (await client.post(f"/v1/earning-rules/{draft['version']}/publish")).raise_for_status()
    (await client.post("/v1/rewards", json=REWARD)).raise_for_status()
    if "referrals" in stage.cast.services:
        draft = (await client.post("/v1/referral-programs", json=referring.PROGRAM)).raise_for_status().json()
        (await client.post(f"/v1/referral-programs/{draft['version']}/publish")).raise_for_status()
    if "tiers" in stage.cast.services:
        draft = (await client.post("/v1/tier-programs", json=tiering.STEPWISE)).raise_for_status().json()
        how = {"without_simulation": True, "note": "nobody is there yet"}
        (await client.post(f"/v1/tier-programs/{draft['version']}/publish", json=how)).raise_for_status()


def keeps_up(struck: float, published: float) -> bool:
    """Whether the faults keep up with the history, by the progress of both, so that the last one still hits load."""
    return struck >= 1 or published <= struck + _AHEAD * (1 - struck)


@dataclass(slots=True)
class _Load:
    """The load: the history, API writes, and the nemesis."""

    stage: Stage
    client: httpx.AsyncClient
    shop_history: History
    plan: Plan
    outcome: Outcome
    poisoned: frozenset[tuple[str, int, int]] = frozenset()
    swept: Quiet | None = None
    until: datetime | None = None
    ahead: datetime | None = None
    able: Sequence[str] = field(init=False)
    """The customers who write by API."""
    writer: Writer = field(init=False)
    publisher: Publisher = field(init=False)

    async def run(self) -> None:
        """Run until everything is published and drained."""
        keeping = asyncio.create_task(self.stage.fleet.keep())
        self.able = self.shop_history.with_orders(SETTLED_AT_ONCE)
        try:
            async with connected(self.stage.broker.bootstrap) as producer:
                self.publisher = Publisher(producer, self.shop_history.items, self.outcome.began, self.plan.pace)
                await self._publish(keeping)
            await self._quiet()
        finally:
            await _end(keeping)

    async def _publish(self, keeping: asyncio.Task[None]) -> None:
        """Publish, write and inject faults until all three are done."""
        self.writer = Writer(self.client, Random(self.shop_history.seed), self._customers, self.plan.mix)
        progress = Progress(self.stage.pools, self.publisher.acknowledged)
        nemesis = Nemesis(self.stage, progress, self.writer, Random(self.shop_history.seed + 1), self.plan, say)
        stopped = asyncio.Event()
        writing = asyncio.create_task(self.writer.run(self.plan.writes, stopped))
        striking = asyncio.create_task(nemesis.run())

        def may_go_on(count: int) -> bool:
            """Whether the faults have kept up with the history."""
            for task in (keeping, writing, striking):
                if task.done():
                    task.result()  # a failed task ends the run
            return keeps_up(nemesis.share_done, count / len(self.shop_history.items))

        try:
            await self.publisher.run(may_go_on)
            await striking
            self.outcome.struck = nemesis.struck
            self.poisoned = frozenset(nemesis.poisoned)
            stopped.set()
            with suppress(TimeoutError):  # a check reports writes without an answer
                await asyncio.wait_for(writing, self.plan.quiet_seconds)
        finally:
            await _end(striking)
            await _end(writing)

    def _customers(self) -> Sequence[str]:
        """Customers with events that were published a while ago.

        For customers with more orders, the replay compares sums only, which do not say what a write found.
        """
        return self.able[: self.publisher.published // 4]

    async def _quiet(self) -> None:
        say("everything is published; draining")
        began = time.monotonic()
        try:
            await self._settle()
            self.until = datetime.now(UTC)
            self.ahead = self.until + timedelta(days=_AHEAD_DAYS)
            if "referrals" in self.stage.cast.services:
                await sweeps.sweep(self.stage, self.ahead, "referrals")
                await self._settle()
            if "tiers" in self.stage.cast.services:
                await self._sweep()
        except DrainTimeoutError as error:
            self.outcome.checks.append(check(6, "everything is drained in the end", 1, [error]))
        else:
            self.outcome.checks.append(check(6, "everything is drained in the end", 1, []))
        # Jobs run by the clock (mails are retried after a while), so the workers end before the state is read.
        codes = await self.stage.fleet.end_workers()
        disorderly = [f"{name} ended with {code}" for name, code in codes.items() if code != 0]
        self.outcome.checks.append(check(6, "workers end in order on SIGTERM", len(codes), disorderly))
        self.outcome.figures["seconds to drain"] = round(time.monotonic() - began, 1)

    async def _settle(self) -> None:
        await quiet.settle(self.stage, self.plan.quiet_seconds, self.stage.cast.services)

    async def _sweep(self) -> None:
        """Let all versions be applied and all that falls due in the next weeks happen, once nothing else happens."""
        pool = self.stage.pools["tiers"]
        await quiet.applied(pool, self.plan.quiet_seconds)
        await self._settle()
        now = datetime.now(UTC)
        at = now + timedelta(days=_QUIET_DAYS)
        if len(await tiered.passed(pool, at)) > len(self.shop_history.customers) / 2:
            at = now + timedelta(days=_BEYOND_DAYS)
        self.swept = await tiered.watch(pool, at, self._sweep_up(at))
        assert self.ahead is not None, "the run has ended"
        await self._sweep_up(self.ahead)

    async def _sweep_up(self, at: datetime) -> None:
        """Sweep tiers until nothing is due: a sweep passes over customers whom a worker holds at that moment."""
        for _ in range(_SWEEPS):
            if not await sweeps.sweep(self.stage, at):
                break
            await self._settle()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _judge(stage: Stage, client: httpx.AsyncClient, shop_history: History, load: _Load) -> list[Check]:
    say("drained; reading the log, the ledger and the balances")
    verifying = asyncio.create_task(verified.checks(stage.direct_env(), stage.cast.services))
    read = await log.read(stage.broker.bootstrap)
    customers = sorted({event.customer_id for item in read.all() if (event := item.event) is not None})
    balances = await findings.balances(client, customers)
    standings = await findings.standings(client, customers) if "tiers" in stage.cast.services else {}
    stored = await findings.read(stage.pools, await findings.earning_rules(client))
    evidence = Evidence(
        stage.cast.services,
        read,
        load.writer.writes,
        stored,
        balances,
        customers,
        shop_history.advocates,
        standings,
        load.until,
        load.ahead,
        load.swept,
        load.poisoned,
    )
    say("replaying")
    oracle = await asyncio.to_thread(consult, evidence)
    say("checking")
    checks = [*applied.checks(evidence, oracle, shop_history.items)]
    checks += await verifying
    checks += [*replayed.checks(evidence, oracle), *published.checks(evidence)]
    checks += refused.checks(evidence, oracle, shop_history.items)
    checks += recovered.checks(load.plan.faults, load.outcome.struck, stage)
    load.outcome.figures |= _figures(evidence, load)
    return checks


def _figures(evidence: Evidence, load: _Load) -> dict[str, int | float]:
    writes = load.writer.writes
    return {
        "records published": load.publisher.published,
        "records sent again by the publisher": load.publisher.repeated,
        "records in the log": sum(1 for _ in evidence.log.all()),
        "records published again by relays": published.repeats(evidence),
        "ledger lines": sum(map(len, evidence.findings.points.statements.values())),
        "tier programs published": len(evidence.findings.tiers.versions) - 1,
        "entries of tier timelines": sum(map(len, evidence.findings.tiers.timelines.values())),
        "API writes": len(writes),
        "API writes acknowledged": sum(1 for write in writes if write.done),
        "API writes whose first answer was lost": sum(1 for write in writes if write.replayed),
        "API attempts": sum(write.attempts for write in writes),
    }
