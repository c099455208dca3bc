"""Verifies the stored state against itself."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from services.referrals.rules.explaining import is_explained, wrongly_paid
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.referral import Referral
from services.referrals.store import auditing, auditing_time, programs, purchases, referrals
from services.referrals.store.purchases import Window, least_totals
from shared.contracts.orders import Order
from shared.postgres import checks
from shared.postgres.checks import Check
from shared.postgres.orders import with_refunds
from shared.postgres.pool import Connection, Pool
from shared.programs.kind import Book


async def verify(pool: Pool, sample: int, now: datetime | None = None) -> AsyncIterator[Check]:
    """Check the database in one snapshot; `sample` referrals are judged again from their facts."""
    async with checks.snapshot(pool) as connection:
        book = await programs.load_published(connection)
        versions = [program for _, program in book]
        async for check in checks.ask(connection, auditing.queries(versions)):
            yield check
        async for check in checks.ask(connection, auditing_time.queries(versions, now or datetime.now(UTC))):
            yield check
        chosen = await auditing_time.sample(connection, sample)
        for name, offending in (
            ("states = those that orders and signals explain", _odd),
            ("rewards = those that caps and milestones leave", _unpaid),
        ):
            yield await checks.judge(name, chosen, partial(offending, connection, book))


async def _odd(connection: Connection, book: Book[Program], ids: Sequence[UUID]) -> list[str]:
    """Those of the referrals whose state the stored orders and signals do not explain."""
    found = [own for own in (await referrals.read(connection, ids)).values() if own.program_version in book]
    block_at = min(program.block_at for _, program in book)
    orders = await _orders(connection, found, book)
    standing = await auditing_time.standing(connection, {own.friend_id for own in found})
    odd: list[str] = []
    for own in found:
        program, is_alone = book.version(own.program_version), standing.get(own.friend_id) in {None, own.referral_id}
        if not _is_explained(own, program, orders[own.friend_id], block_at, is_alone=is_alone):
            odd.append(str(own.referral_id))
    return odd


def _is_explained(
    referral: Referral, program: Program, orders: Collection[Order], block_at: int, *, is_alone: bool
) -> bool:
    try:
        return is_explained(referral, program, orders, block_at, is_alone=is_alone)
    except LookupError:
        return False  # a refund of a line that its order does not have, or a currency without a rate


async def _orders(
    connection: Connection, found: Sequence[Referral], book: Book[Program]
) -> defaultdict[str, list[Order]]:
    """The orders that decide about referrals, with their refunds, by friend."""
    windows: list[Window] = []
    for own in found:
        program = book.version(own.program_version)
        deadline = program.deadline(own.signed_up_at)
        windows.append(Window(own.friend_id, own.signed_up_at, deadline, program.nth, least_totals(program)))
    keys = {(own.friend_id, own.order_id) for own in found if own.order_id is not None}
    stored = await purchases.load_history(connection, windows) | await purchases.load_orders(connection, keys)
    orders: defaultdict[str, list[Order]] = defaultdict(list)
    for (friend_id, _), order in (await with_refunds(connection, stored)).items():
        orders[friend_id].append(order)
    return orders


async def _unpaid(connection: Connection, book: Book[Program], ids: Sequence[UUID]) -> list[str]:
    """Approvals whose rewards are wrong, of the advocates of referrals."""
    advocates = {own.advocate_id for own in (await referrals.read(connection, ids)).values()}
    paid = await auditing_time.paid_to(connection, advocates)
    return [
        str(referral_id)
        for advocate_id, own in paid.items()
        if all(rewarded.program_version in book for rewarded in own)
        for referral_id in wrongly_paid(advocate_id, own, book)
    ]
