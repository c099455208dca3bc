"""Whether a rule with some conditions matches an order, or another event; and examples of conditions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.tiers import Standing
from services.points.rules.program.judgement import RuleLine
from services.points.rules.program.ruleset import RuleSet
from services.points.rules.program.values import On
from shared.contracts.kept import keep
from shared.contracts.refunds import Purchase, Refund
from shared.contracts.shop import RefundLine
from tests.points.judging import case
from tests.points.shop import NOON
from tests.points.states import ruleset
from tests.points.written import Json, fixed, rule


class Example(NamedTuple):
    """A condition, with an event that satisfies it and one that does not.

    The fields are those of a purchase (and `ordinal`, `at`, `standing`), or of `Facts` for other events.
    """

    condition: Json
    on: On
    satisfied_by: Json
    failed_by: Json


def only(*when: Json, on: str = "purchase", **fields: Any) -> RuleSet:
    """A ruleset with one rule, which gives 10 points under some conditions."""
    return ruleset(rule("only", fixed(10), *when, on=on), **fields)


def why(rules: RuleSet, total: str = "10.00", standing: Standing | None = None, **fields: Any) -> str | None:
    """Why the rule does not match an order; None if it does."""
    return _why(orders.judge_bought(case(total, rules, standing, **fields), {}).judgement.rules)


def why_kept(rules: RuleSet, total: str, *refunds: Refund, **fields: Any) -> str | None:
    """The same of an order after refunds."""
    bought = case(total, rules, **fields)
    kept = keep(Purchase.of(bought.bought), refunds)
    return _why(orders.judge_kept(bought, kept, {}, frozenset()).rules)


def why_not(
    rules: RuleSet, on: On, facts: Mapping[str, Any], at: datetime = NOON, tier: str | None = None
) -> str | None:
    """The same of an event that is not an order, with the given facts."""
    return _why(accruals.judge(AccrualCase(rules, "ann", on, at, facts, tier), {})[0].rules)


def _why(lines: tuple[RuleLine, ...]) -> str | None:
    [line] = lines
    points = 10 if line.why is None else 0
    assert line == RuleLine("only", line.why is None, points, points, line.why)
    return line.why


def refund(amount: str, *parts: tuple[str, str], currency: str = "USD") -> Refund:
    """A refund of some lines, or of a share of all."""
    return Refund(amount, NOON, currency, amount, tuple(RefundLine(line, 1, part) for line, part in parts))
