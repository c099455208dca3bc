"""Handles the records of dead letters again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from msgspec import structs

from shared.contracts.envelope import Event, decode
from shared.contracts.reasons import Malformed
from shared.contracts.values import format_instant
from shared.messaging import dead_letters
from shared.messaging.batch import Malformation
from shared.messaging.dead_letters import DeadLetter
from shared.messaging.delivery import Delivery
from shared.messaging.positions import Group
from shared.messaging.worker import WorkerSpec
from shared.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay: numbers of letters, and the letters that cannot be replayed since they were erased."""

    handled: int = 0
    refused: int = 0
    erased: tuple[DeadLetter, ...] = ()


async def replay(pool: Pool, connection: Connection, spec: WorkerSpec, ids: Sequence[int]) -> Replayed:
    """Handle dead letters again, together, in the caller's transaction.

    A record that is refused again becomes a new dead letter. An erased letter stays. Letters that another replay has
    locked, or that are gone, are not counted.

    Raises:
        HandlerFailedError: the handler raised for several of them together.
    """
    letters = await dead_letters.claim(connection, ids)
    whole = [letter for letter in letters if letter.erased_at is None]
    again = await _handle_again(pool, connection, spec, whole)
    await dead_letters.write(connection, again)
    await dead_letters.delete(connection, [letter.id for letter in whole])
    erased = tuple(letter for letter in letters if letter.erased_at is not None)
    return Replayed(len(whole) - len(again), len(again), erased)


def why_not(letter: DeadLetter) -> str:
    """Why an erased letter cannot be replayed."""
    assert letter.erased_at is not None
    return (
        f"dead letter {letter.id} cannot be replayed: its content was erased with its customer "
        f"at {format_instant(letter.erased_at)}"
    )


async def _handle_again(
    pool: Pool, connection: Connection, spec: WorkerSpec, letters: Sequence[DeadLetter]
) -> list[Malformation]:
    again: list[Malformation] = []
    events: list[Event] = []
    now = datetime.now(UTC)
    for letter in letters:
        try:
            # Its timestamp is now: an event time that was too far in the future may be valid today.
            event = decode(structs.replace(letter.record, timestamp=now), spec.wanted)
        except Malformed as error:
            again.append(Malformation(letter.record, error.reason, error.detail, error.type))
        else:
            events += () if event is None else (event,)
    if events:
        refusals = await Delivery(pool, Group("", spec.group), spec.handle).replay(events, connection)
        places = {(letter.record.topic, letter.record.partition, letter.record.offset): letter for letter in letters}
        again += [_with_own_timestamp(dead_letters.from_refusal(refusal), places) for refusal in refusals]
    return again


def _with_own_timestamp(refused: Malformation, letters: dict[tuple[str, int, int], DeadLetter]) -> Malformation:
    """A letter that is refused again keeps its record's timestamp."""
    record = refused.record
    letter = letters.get((record.topic, record.partition, record.offset))
    return refused if letter is None else replace(refused, record=letter.record)
