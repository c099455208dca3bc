"""The faults: each is injected once, and reports its effect and the recovery time."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from shared.postgres.pool import Pool
from tests.prove.patience import LOOK, until
from tests.prove.plan import Fault
from tests.prove.scene import Scene
from tests.support.fleet import SESSION_MS, Member

ASSIGNED: Final = frozenset({"partitions_assigned"})
FOUND_OUT: Final = frozenset({"batch_was_handled_elsewhere", "partitions_revoked", "partitions_assigned"})
"""Log events of a worker that lost its partitions: its write was refused, or it joins again."""

_PAST_SESSION: Final = SESSION_MS / 1000 + 2.5
_STARTS: Final = 60.0
_LOOKS: Final = 60
_LULL: Final = 10.0
"""Seconds to wait for a backlog: few records are published while faults lag behind."""


@dataclass(frozen=True, slots=True)
class Strike:
    """The result of a fault: its victim, its observed effect, and the seconds until processing resumed.

    `seen` is None where no effect was observed: the fault does not count. `recovery` is None where it took too long.
    """

    victim: str
    seen: str | None
    recovery: float | None = None


async def kill_worker(scene: Scene, member: Member) -> Strike:
    """Kill a worker, in a transaction if possible."""
    link = await scene.catch_in_transaction(scene.links_of(member))
    process, since = member.process, member.log_size()
    assert process is not None
    process.kill()
    struck_at = time.monotonic()
    code = await asyncio.to_thread(process.wait)
    left = await scene.progress.left(member.service)
    if code != -signal.SIGKILL or (link is None and left == 0):
        return Strike(member.name, None)
    recovery = await scene.progress.gone_on([member.service], struck_at)
    await scene.logged(member, since, ASSIGNED, _STARTS)
    return Strike(member.name, "in a transaction" if link is not None else f"{left} records to handle", recovery)


async def stop_worker(scene: Scene, member: Member) -> Strike:
    """Pause a worker past its session: others take over, and it must not repeat their writes."""
    link = await scene.catch_in_transaction(scene.links_of(member))
    since, struck_at = member.log_size(), time.monotonic()
    member.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(_PAST_SESSION)
    finally:
        member.signal(signal.SIGCONT)
    seen = await scene.logged(member, since, FOUND_OUT, 30.0)
    if seen is None:
        return Strike(member.name, None)
    where = "in a transaction; " if link is not None else ""
    return Strike(member.name, f"{where}then {seen}", await scene.progress.gone_on([member.service], struck_at))


async def rebalance(scene: Scene, service: str, name: str) -> Strike:
    """Let a worker join under load, work and leave."""
    guest = scene.stage.fleet.add_worker(service, name)
    joined = await scene.logged(guest, 0, ASSIGNED, _STARTS)
    if joined is None:
        await scene.stage.fleet.end(guest)
        return Strike(name, None)
    with_guest = await scene.progress.gone_on([service], time.monotonic())
    struck_at = time.monotonic()
    code = (await scene.stage.fleet.end(guest))[name]
    without = await scene.progress.gone_on([service], struck_at)
    if code != 0:
        return Strike(name, None)
    # Only leaving is timed: the start of a join is not observable, since its process is still starting.
    recovery = None if with_guest is None else without
    return Strike(name, f"{joined}, left with 0", recovery)


async def kill_api(scene: Scene) -> Strike:
    """Kill the process of the APIs, with writes in flight."""
    [api] = scene.stage.fleet.of("api") or [None]
    if api is None:
        return Strike("api", None)
    on_their_way = await scene.catch_writing()
    at = asyncio.get_running_loop().time()
    assert api.process is not None
    process = api.process
    process.kill()
    code = await asyncio.to_thread(process.wait)
    if code != -signal.SIGKILL or on_their_way == 0:
        return Strike("api", None)
    return Strike("api", f"{on_their_way} writes in flight", await scene.api_answers(at))


BACKENDS_SQL: Final = """
SELECT pid, application_name, state FROM pg_stat_activity
WHERE application_name ~ '^wafa-(points|tiers|referrals|notifications)-worker$' AND state <> 'idle'
ORDER BY random() LIMIT 1
"""
TERMINATE_SQL: Final = "SELECT pg_terminate_backend($1)"
IS_THERE_SQL: Final = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"


async def _busy(pool: Pool) -> Any:
    """An active session of a worker; None if there is none for a while."""
    for _ in range(_LOOKS):
        if (row := await pool.fetchrow(BACKENDS_SQL)) is not None:
            return row
        await asyncio.sleep(LOOK)
    return None


async def terminate(scene: Scene) -> Strike:
    """Terminate an active session of a worker (`pg_terminate_backend`)."""
    pool = scene.stage.pools["points"]
    try:
        row = await _busy(pool)
        if row is None:
            return Strike("", None)
        service = row["application_name"].split("-")[1]
        struck_at = time.monotonic()
        was_there = await pool.fetchval(TERMINATE_SQL, row["pid"])

        async def gone() -> bool:
            return not await pool.fetchval(IS_THERE_SQL, row["pid"])

        seen = was_there and await until(gone, 5.0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return Strike("", None)
    if not seen:
        return Strike(row["application_name"], None)
    return Strike(row["application_name"], f"it was {row['state']}", await scene.progress.gone_on([service], struck_at))


async def reset(scene: Scene) -> Strike:
    """Reset a worker's connection within a transaction."""
    service = scene.random.choice(scene.stage.cast.services)
    link = await scene.catch_in_transaction(lambda item: item.application == f"wafa-{service}-worker", 5.0)
    if link is None:
        return Strike(service, None)
    link.reset()
    return Strike(link.application, "in a transaction", await scene.progress.gone_on([service], time.monotonic()))


async def reset_at_commit(scene: Scene, process: str) -> Strike:
    """Reset a connection after its COMMIT, before the answer: the client cannot know the outcome."""
    application = f"wafa-{process}"
    service = application.split("-")[1]
    links = scene.stage.proxy.find(lambda item: item.application == application)
    is_api = application.endswith("-api")
    cuts = {link: scene.stage.proxy.cut_at_commit(link, only_batches=not is_api) for link in links}
    done: set[asyncio.Future[None]] = set()
    if cuts:
        done, _ = await asyncio.wait(cuts.values(), timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
    for link in cuts:
        link.doomed = None
    if not done:
        return Strike(application, None)
    if is_api:
        recovery = await scene.api_answers(asyncio.get_running_loop().time())
    else:
        recovery = await scene.progress.gone_on([service], time.monotonic())
    return Strike(application, "committed, answer held back", recovery)


async def restart_server(scene: Scene) -> Strike:
    """Crash PostgreSQL, and restart it."""
    busy = await scene.catch_in_transaction(lambda link: link.application.startswith("wafa-"))
    struck_at = time.monotonic()
    await scene.stage.restart_server()
    recovery = await scene.progress.gone_on(scene.stage.cast.services, struck_at)
    return Strike("PostgreSQL", None if busy is None else "in a transaction", recovery)


async def kill_broker(scene: Scene) -> Strike:
    """Kill Kafka while there are records to handle, and restart it."""
    services = scene.stage.cast.services
    left = 0

    async def are_left() -> bool:
        nonlocal left
        left = sum([await scene.progress.left(service) for service in services])
        return left > 0

    await until(are_left, _LULL)
    struck_at = time.monotonic()
    await scene.stage.restart_broker()
    recovery = await scene.progress.gone_on(services, struck_at)
    return Strike("Kafka", f"{left} records to handle" if left else None, recovery)


ALONE: Final[dict[Fault, Callable[[Scene], Awaitable[Strike]]]] = {
    Fault.RESTART_SERVER: restart_server,
    Fault.KILL_BROKER: kill_broker,
}
SESSIONS: Final[dict[Fault, Callable[[Scene], Awaitable[Strike]]]] = {
    Fault.TERMINATE: terminate,
    Fault.RESET: reset,
}
WORKERS: Final[dict[Fault, Callable[[Scene, Member], Awaitable[Strike]]]] = {
    Fault.KILL_WORKER: kill_worker,
    Fault.STOP_WORKER: stop_worker,
}
