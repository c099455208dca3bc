"""Simulations: the job that judges all customers by a draft, beside live traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from services.tiers.handlers.judging import load_pasts
from services.tiers.handlers.rounds import run
from services.tiers.rules.judging.state import State, read_state
from services.tiers.rules.metrics import Reading
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import ProgramDocument
from services.tiers.rules.program.kind import KIND
from services.tiers.rules.simulating import (
    NOTHING_HAPPENED,
    Before,
    Prediction,
    Tally,
    WhatIf,
    answered,
    predict,
    predict_again,
    result_of,
)
from services.tiers.store import customers, programs, simulations, sums
from services.tiers.store.simulations import Group, Simulation, Wanted
from services.tiers.store.sums import Known
from shared import telemetry
from shared.postgres import slices
from shared.postgres.pool import Connection, Pool, is_transient
from shared.postgres.slices import Run, Slice
from shared.programs import store as documents
from shared.programs.drafting import Author
from shared.programs.kind import Key
from shared.programs.store import Version

_log = structlog.stdlib.get_logger(__name__)

SLICE: Final = 1000
"""Customers of a slice."""

CHANGED: Final = "the draft was changed after the simulation began: start another one"
PUBLISHED: Final = "the version was published before the simulation ended"
OVERTAKEN: Final = "another version was published before the simulation ended: start another one"
_BROKEN: Final = "an error of the program, which the log of the worker tells"


async def start(connection: Connection, draft: Version, at: datetime, author: Author) -> Simulation:
    """Store a simulation of a locked draft for the job to run."""
    last = await programs.load_last(connection, None)
    wanted = Wanted(draft.version, draft.revision, last.program.version, at)
    return await simulations.add(connection, wanted, author.now, author.principal)


async def find(pool: Pool, simulation_id: UUID) -> Simulation | None:
    """A simulation; one of a draft that was changed since is void, whether or not it was done."""
    simulation = await simulations.find(pool, simulation_id)
    if simulation is None or simulation.state == "failed":
        return simulation
    draft = await documents.find(pool, Key(KIND.name), simulation.wanted.version)
    if draft is not None and draft.revision == simulation.wanted.revision:
        return simulation
    return replace(simulation, state="failed", result=None, failure=CHANGED)


async def simulate(pool: Pool, _now: datetime) -> None:
    """Job: run the simulations that are to be run, the oldest first."""
    done: set[UUID] = set()
    while (simulation := await simulations.next_running(pool, done)) is not None:
        done.add(simulation.id)
        try:
            await _run(pool, simulation)
        except Exception as error:
            if is_transient(error):
                raise
            # A version that was published in this moment may have been the cause.
            _, void = await _look_up(pool, simulation)
            if void is None:
                _log.error("simulation_failed", simulation_id=str(simulation.id), **telemetry.trace(error))
            await _fail(pool, simulation, void or _BROKEN)


async def _run(pool: Pool, simulation: Simulation) -> None:
    draft, void = await _look_up(pool, simulation)
    if draft is None or void is not None:
        await _fail(pool, simulation, void or CHANGED)
        return
    if await customers.is_upgrading(pool):
        # What refunds took before the upgrade is not known yet: the next run of the job looks again.
        return
    async with pool.acquire() as connection, connection.transaction():
        if await simulations.lock(connection, simulation.id) and not await slices.is_cut(connection, simulation.id):
            await customers.cut_slices(connection, simulation.id, SLICE)
        versions = await programs.load_versions(connection, documents.SINCE_EVER, simulation.wanted.at)
    program = Program.of(draft.version, ProgramDocument.model_validate(draft.document))
    what_if = WhatIf(versions, program, simulation.wanted.at)

    async def goes_on() -> bool:
        _, void = await _look_up(pool, simulation)
        return void is None

    work = partial(predict_slice, simulation.id, what_if)
    await slices.work_off(pool, Run(simulation.id, work, goes_on, "repeatable_read"))
    await _finish(pool, simulation, what_if)


async def _finish(pool: Pool, simulation: Simulation, what_if: WhatIf) -> None:
    """Store the result if all slices are done, unless the simulation is void by now."""
    _, void = await _look_up(pool, simulation)
    if void is not None:
        await _fail(pool, simulation, void)
        return
    async with pool.acquire() as connection, connection.transaction():
        if await simulations.lock(connection, simulation.id):
            outcomes = await slices.outcomes(connection, simulation.id)
            if outcomes is not None:
                await simulations.end(connection, simulation.id, result_of(what_if, map(Tally.from_json, outcomes)))


async def _look_up(pool: Pool, simulation: Simulation) -> tuple[Version | None, str | None]:
    """The draft of a simulation, and why the simulation is void, if it is."""
    draft = await documents.find(pool, Key(KIND.name), simulation.wanted.version)
    if draft is None or draft.revision != simulation.wanted.revision:
        return draft, CHANGED
    if draft.effective_at is not None:
        return draft, PUBLISHED
    async with pool.acquire() as connection:
        last = await programs.load_last(connection, None)
    return draft, None if last.program.version == simulation.wanted.base else OVERTAKEN


async def _fail(pool: Pool, simulation: Simulation, failure: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await simulations.end(connection, simulation.id, failure)
        await simulations.forget_customers(connection, [simulation.id])


async def predict_slice(simulation_id: UUID, what_if: WhatIf, connection: Connection, part: Slice) -> Mapping[str, Any]:
    """Judge the customers of a slice; returns their tally."""
    known = await sums.known_in(connection, part)
    readings, points = await _readings(connection, what_if, known)
    predictions = await run(connection, readings)
    tally = Tally()
    groups: dict[tuple[str, str], Group] = {}
    for customer in known:
        prediction = predictions[customer.customer_id]
        if prediction is None:
            continue
        tally.add(what_if, prediction, points[customer.customer_id])
        pair = prediction.before, prediction.after
        group = groups.get(pair)
        if group is None:
            group = groups[pair] = Group(*pair, [], [])
        group.customer_ids.append(customer.customer_id)
        group.whys.append(prediction.why)
    await simulations.save(connection, simulation_id, part.number, list(groups.values()))
    return tally.to_json()


async def _readings(
    connection: Connection, what_if: WhatIf, known: Sequence[Known]
) -> tuple[dict[str, Reading[Prediction | None]], Mapping[str, int]]:
    """The predictions of customers, to be computed, and their qualifying points."""
    prompt: dict[str, State] = {}
    late: dict[str, tuple[datetime, State | None]] = {}
    for customer in known:
        state = None if customer.state is None else read_state(customer.state)
        since = what_if.judged_until(state, customer.rejudge_from)
        if state is None or since is not None:
            late[customer.customer_id] = since or what_if.at, state
        else:
            prompt[customer.customer_id] = state
    readings = await _prompt(connection, what_if, prompt)
    readings.update(await _late(connection, what_if, late))
    names = [customer.customer_id for customer in known]
    points = await sums.load_points(connection, names, what_if.points)
    return readings, dict(zip(names, points, strict=True))


async def _prompt(
    connection: Connection, what_if: WhatIf, states: Mapping[str, State]
) -> dict[str, Reading[Prediction | None]]:
    """The predictions of customers of whom nothing is known from `at` on."""
    if what_if.window is None:
        return {name: predict(what_if, state, NOTHING_HAPPENED) for name, state in states.items()}
    # Nearly all customers need the same sums first: one statement that asks for nothing else is the fastest.
    answers = await sums.load_sums(connection, list(states), what_if.window)
    return {
        name: answered(predict(what_if, state, NOTHING_HAPPENED), what_if.window, answer)
        for (name, state), answer in zip(states.items(), answers, strict=True)
    }


async def _late(
    connection: Connection, what_if: WhatIf, wanted: Mapping[str, tuple[datetime, State | None]]
) -> dict[str, Reading[Prediction | None]]:
    """The predictions of customers whose stored state is not that before `at`: it is restored first."""
    if not wanted:
        return {}
    pasts = await load_pasts(connection, {name: since for name, (since, _) in wanted.items()})
    readings: dict[str, Reading[Prediction | None]] = {}
    for name, (since, state) in wanted.items():
        past = pasts[name]
        before = Before(since, past.standing, state and state.anchor)
        readings[name] = predict_again(what_if, before, past.happenings)
    return readings
