"""Runs the computations of many customers: what they ask for is read together, with one statement per round."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from services.tiers.rules.metrics import Answer, Reading, Request
from services.tiers.store import metrics
from shared.postgres.pool import Connection

T = TypeVar("T")


async def run(connection: Connection, readings: Mapping[str, Reading[T]]) -> dict[str, T]:
    """The results of computations by customer."""
    results: dict[str, T] = {}
    answers: dict[str, Sequence[Answer] | None] = dict.fromkeys(readings)
    while answers:
        asked: list[tuple[str, Sequence[Request]]] = []
        for customer_id, own in answers.items():
            reading = readings[customer_id]
            try:
                asked.append((customer_id, next(reading) if own is None else reading.send(own)))
            except StopIteration as end:
                results[customer_id] = end.value
        requests = [(customer_id, request) for customer_id, own in asked for request in own]
        found = iter(await metrics.load_answers(connection, requests))
        if asked and not requests:
            await metrics.pause(connection)
        answers = {customer_id: [next(found) for _ in own] for customer_id, own in asked}
    return results


async def run_apart(connection: Connection, customer_id: str, reading: Reading[T]) -> T:
    """The result of a computation that may take long: its steps run in a thread, so that the event loop goes on."""
    answers: Sequence[Answer] | None = None
    while True:
        requests, result = await asyncio.to_thread(_step, reading, answers)
        if requests is None:
            return cast("T", result)
        answers = await metrics.load_answers(connection, [(customer_id, request) for request in requests])


def _step(reading: Reading[T], answers: Sequence[Answer] | None) -> tuple[Sequence[Request] | None, T | None]:
    """What a computation asks for next; None once it has its result, which comes with it."""
    try:
        return (next(reading) if answers is None else reading.send(answers)), None
    except StopIteration as end:
        return None, end.value
