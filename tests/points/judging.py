"""Judgements in one call: of an order with a total, of a review."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.points.rules.books import accruals, orders
from services.points.rules.books.accruals import AccrualCase
from services.points.rules.books.orders import OrderCase
from services.points.rules.books.tiers import Standing
from services.points.rules.program.judgement import Judgement
from services.points.rules.program.limits import Use, UseKey
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.shop import PurchaseCompleted
from tests.points.shop import NOON
from tests.points.states import ruleset


def case(
    total: str,
    rules: RuleSet | None = None,
    standing: Standing | None = None,
    *,
    at: datetime = NOON,
    ordinal: int = 1,
    **fields: Any,
) -> OrderCase:
    """An order of ann's to be judged; `fields` are those of the purchase."""
    bought = PurchaseCompleted.model_validate(
        {"customer_id": "ann", "order_id": "1", "currency": "USD", "total": total} | fields
    )
    return OrderCase(rules or ruleset(), bought, at, ordinal, standing or Standing())


def judged(total: str, multiplier: str = "1", rules: RuleSet | None = None, **fields: Any) -> Judgement:
    """The first judgement of an order, with unused limits."""
    return orders.judge_bought(case(total, rules, Standing(None, multiplier), **fields), {}).judgement


def awarded(total: str, rules: RuleSet, standing: Standing | None = None, **fields: Any) -> dict[str, int]:
    """What the first judgement gives an order, by rule; `fields` as in `case`."""
    return orders.judge_bought(case(total, rules, standing, **fields), {}).judgement.due


def lines(*parts: tuple[str, str, str]) -> Sequence[Mapping[str, Any]]:
    """Order lines, each as (SKU, category, amount)."""
    return [
        {"line_id": str(number), "sku": sku, "category": category, "quantity": 1, "amount": amount}
        for number, (sku, category, amount) in enumerate(parts, start=1)
    ]


def judged_review(*, verified: bool, rewarded: bool = False) -> Judgement:
    """The first judgement of a review by the default rules; its SKU may have been rewarded before."""
    case = AccrualCase(ruleset(), "ann", "review", NOON, {"sku": "s", "verified": verified}, None)
    uses = {UseKey("ann", "review", "customer_sku/ever/s"): Use(1, 50)} if rewarded else {}
    return accruals.judge(case, uses)[0]
