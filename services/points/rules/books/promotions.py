"""Awards of promotions, settled against the timeline: one award for each rise in it, none for a rise that it lost.

A rise is judged by the rules in force at its first recorded instant, also when its instant moves later.
An award that is taken back frees its use of limits; one that comes back uses them again, as far as they are free then.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.points.rules.books import accruals, accruing
from services.points.rules.books.accruing import Happening
from services.points.rules.books.books import Books
from services.points.rules.books.differences import after, differences, lost_of
from services.points.rules.books.rises import Rise
from services.points.rules.books.state import Key
from services.points.rules.books.trigger import Trigger
from services.points.rules.ledger import receipts
from services.points.rules.program.earning import TIER_PROMOTION

REASON: Final = TIER_PROMOTION.reason_of("")


def settle_promotions(
    books: Books,
    customer: str,
    had: Mapping[Rise, datetime],
    has: Mapping[Rise, datetime],
    trigger: Trigger,
) -> None:
    """Settle a customer's awards after the timeline changed from the rises that it `had` to those that it `has`."""
    # Lost rises first: their use of limits is free for the new ones.
    for rise in had:
        if rise not in has:
            _take_back(books, (customer, rise.origin), trigger)
    for rise, at in has.items():
        accrual = books.state.accruals.get((customer, rise.origin))
        if accrual is None:
            happening = Happening(customer, "tier_promotion", rise.origin, {"tier": rise.tier}, at)
            accruing.award(books, happening, trigger)
        elif accrual.withdrawn:
            _give_again(books, (customer, rise.origin), at, trigger)


def _take_back(books: Books, key: Key, trigger: Trigger) -> None:
    accrual = books.state.accruals.get(key)
    if accrual is not None and not accrual.withdrawn:
        accruing.take_all(books, key, REASON, trigger)
        accruing.free_uses(books, key)


def _give_again(books: Books, key: Key, at: datetime, trigger: Trigger) -> None:
    accrual = books.state.accruals[key]
    case = accruing.case_of(books, key[0], accrual)
    judgement, cuts, used = accruals.judge(case, books.state.uses)
    books.count_uses(used)
    more, _ = differences(judgement.due, accrual.given, lost_of(books.own_lots(key)))
    books.keep_accrual(key, accrual._replace(withdrawn=False, cuts=cuts, given=after(accrual.given, more, {})))
    if more:
        receipt = receipts.of_rules(accrual.rules_version, judgement.rules)
        context = trigger.context_of_rules(key[1], REASON, receipt, accruals.inputs_of(key[1], accrual.tier, cuts))
        grants = accruals.grants(case._replace(occurred_at=at), more, books.now)
        books.earn(key[0], grants, context, trigger.cause)
