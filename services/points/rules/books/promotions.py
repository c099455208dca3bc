"""Awards of promotions, settled against the timeline: given for each rise that it has, taken back for each it lost.

A rise is judged by the rules in force at the first instant that it was known at, and stays so wherever its instant
moves. What is taken back frees its use of limits; what comes back uses them again, by what they leave then.
"""

from collections.abc import Mapping
from datetime import datetime

from services.points.rules.books import accruals
from services.points.rules.books.accruals import AccrualCase, case_of
from services.points.rules.books.accruing import Happening, Occasions, reason_of
from services.points.rules.books.books import Books, Trigger, after, differences, lost_of, rules_context
from services.points.rules.books.rises import Rise
from services.points.rules.books.state import Accrual, Key
from services.points.rules.ledger.receipts import of_rules

REASON = reason_of("tier_promotion", "")


def settle_promotions(
    books: Books,
    customer: str,
    had: Mapping[Rise, datetime],
    has: Mapping[Rise, datetime],
    trigger: Trigger,
) -> None:
    """Settle a customer's awards after the timeline changed: rises that it `had` from there on, and those it `has`."""
    occasions = Occasions(books)
    # First what is gone: its use of limits is free for what comes.
    for rise in [one for one in had if one not in has]:
        _take_back(books, occasions, (customer, rise.origin), trigger)
    for rise, at in has.items():
        known = books.state.accruals.get((customer, rise.origin))
        if known is None:
            told = {"tier": rise.tier}
            occasions.judge(Happening(customer, "tier_promotion", rise.origin, told, at), trigger)
        elif known.withdrawn:
            _give_again(books, occasions, (customer, rise.origin), at, trigger)


def _take_back(books: Books, occasions: Occasions, key: Key, trigger: Trigger) -> None:
    known = books.state.accruals.get(key)
    if known is None or known.withdrawn:
        return
    occasions.take_all(key, known, REASON, trigger)
    occasions.count(accruals.freed(_case(books, key, known), known.cuts, books.state.uses))


def _give_again(books: Books, occasions: Occasions, key: Key, at: datetime, trigger: Trigger) -> None:
    known = books.state.accruals[key]
    case = _case(books, key, known)
    judgement, found, used = accruals.judge(case, books.state.uses)
    occasions.count(used)
    more, _ = differences(judgement.due, known.given, lost_of(books.own_lots(key)))
    occasions.keep(key, known._replace(withdrawn=False, cuts=found, given=after(known.given, more, {})))
    if more:
        receipt = of_rules(known.rules_version, judgement.rules)
        inputs = accruals.inputs_of(key[1], known.tier, found)
        why = rules_context(trigger, key[1], REASON, receipt, inputs)
        grants = accruals.grants(case._replace(occurred_at=at), more, books.now)
        books.earn(key[0], grants, why, trigger.cause)


def _case(books: Books, key: Key, known: Accrual) -> AccrualCase:
    return case_of(known, books.rules.version(known.rules_version), key[0], known.tier)
