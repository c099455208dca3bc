"""A review queue: referrals that signals flagged, under a program with a hold."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.referrals.conftest import ADA, apply_to
from tests.referrals.programs import DEFAULT, parse
from tests.referrals.shop import START, bought, signed_up
from tests.support.documents import put_into_force
from tests.tiers.programs import changed

HELD: Final[dict[str, Any]] = changed(
    DEFAULT,
    ("/hold_days", 14),
    ("/signals", [{"id": "already_bought", "action": "flag", "weight": 20}, {"id": "already_referred"}]),
)
"""Who bought before is flagged, and approved after 14 days in which nobody decided."""

Enact = Callable[..., Awaitable[int]]


@pytest.fixture
def enact(pool: Pool) -> Enact:
    """Put a referral program into force, the one with a hold with changes at some pointers, from START on."""

    async def put(*changes: tuple[str, Any]) -> int:
        document = dump(parse(changed(HELD, *changes)))
        return await put_into_force(pool, "referral_program", document, START)

    return put


def flagged(friend: str, code: str = ADA) -> list[Event]:
    """A friend who bought before, signs up, and buys again 5 hours later."""
    return [bought(friend, "o0", -1), signed_up(friend, code), bought(friend, "o1", 5)]


@pytest.fixture
async def queue(pool: Pool, enact: Enact) -> Pool:
    """Three flagged referrals, of fay, gil and hal, and one that waits for its hold, of ivy."""
    await enact()
    for friend in ("fay", "gil", "hal"):
        await apply_to(pool, flagged(friend))
    await apply_to(pool, [signed_up("ivy", ADA), bought("ivy", "o1", 6)])
    return pool


async def id_of(pool: Pool, friend: str) -> str:
    """The id of a friend's only referral."""
    return str(await pool.fetchval("SELECT referral_id FROM referral WHERE friend_id = $1", friend))
