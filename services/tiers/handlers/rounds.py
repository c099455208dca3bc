"""Runs the computations of many customers: what they ask for is read together, with one statement per round."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

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
        answers = {customer_id: [next(found) for _ in own] for customer_id, own in asked}
    return results
