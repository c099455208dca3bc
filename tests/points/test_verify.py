"""`verify` finds each way in which books can be broken."""

import pytest

from shared.postgres.pool import Pool
from tests.points import books
from tests.points.asking import enact
from tests.points.books import deliver
from tests.points.shop import hour, purchase, refund, review, tier
from tests.points.states import DEFAULT

BROKEN = {
    "UPDATE program_account SET balance = balance + 1 WHERE kind = 'issued'": {
        "trial balance 0",
        "program accounts = postings",
    },
    "UPDATE account SET available = available + 1": {
        "trial balance 0",
        "balances = postings",
        "lots conserve and add up to the balances",
        "the last statement line = the balance",
    },
    "UPDATE lot SET remaining = remaining - 1, spent = spent + 1 WHERE rule = 'review'": {
        "lots conserve and add up to the balances"
    },
    "UPDATE account SET held = held + 1, available = available - 1": {
        "balances = postings",
        "lots conserve and add up to the balances",
        "open holds add up to what is held",
        "the last statement line = the balance",
    },
    "DELETE FROM lot": {"lots conserve and add up to the balances"},
    "UPDATE transaction SET sequence = 5 WHERE sequence = 3": {"sequences are gapless"},
    "UPDATE account SET earned = earned + 1": {"the last statement line = the balance"},
    "DELETE FROM posting WHERE target = 'reversed'": {"program accounts = postings", "balances = postings"},
    "UPDATE purchase SET given = '{\"base\": 91}'": {"given = due"},
    "DELETE FROM refund": {"given = due", "receipts rebuild to their digest"},
    "DELETE FROM accrual": {"receipts rebuild to their digest"},
    "UPDATE accrual SET given = '{\"review\": 51}' WHERE event = 'review'": {"given = due"},
    "UPDATE accrual SET given = '{}' WHERE event = 'review'": {"given = due"},
    "UPDATE accrual SET withdrawn = true WHERE event = 'review'": {"given = due"},
    "UPDATE accrual SET given = '{}' WHERE event = 'tier_promotion'": {"given = due"},
    "UPDATE tier_entry SET rise = null": {"given = due"},
    "DELETE FROM tier_entry": {"given = due"},
    "UPDATE transaction SET receipt_digest = '\\x00' WHERE kind = 'earned'": {"receipts rebuild to their digest"},
}


@pytest.mark.parametrize("statement", BROKEN)
async def test_broken_books_are_found(points_pool: Pool, statement: str):
    climbed = {"id": "climbed", "on": "tier_promotion", "award": {"kind": "fixed", "points": 500}}
    await enact(points_pool, *DEFAULT["rules"], climbed)
    await deliver(points_pool, purchase("1", "100.00"), refund("1", "r", "10.00"), review("v", "s"))
    await deliver(points_pool, tier([(hour(1), "1.25")]))
    assert await books.offenders(points_pool) == {}
    await points_pool.execute(statement)
    assert set(await books.offenders(points_pool)) == BROKEN[statement]
