"""Measures the judging of orders: `python -m tests.bench.judging [ORDERS]`.

The orders have three lines in two currencies, times over two years, and customers of three tiers. The 20 rules have
every kind of award, condition, exclusive group and limit of purchases. The measured part is the first judgement, from
the case to the due points, with the uses of limits, in CPU seconds (other processes may use the machine). Orders are
created in chunks outside of the measurement.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from time import process_time
from typing import Any, Final

from rich.console import Console

from services.points.rules.books.orders import OrderCase, judge_bought
from services.points.rules.books.tiers import NEWCOMER, Standing
from services.points.rules.program.earning_rules import EARNING_RULES
from services.points.rules.program.limits import Use, UseKey
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.shop import Line, PurchaseCompleted
from shared.programs.kind import compiled

ORDERS: Final = 1_000_000
MOST_SECONDS: Final = 60.0
"""Number of orders of the target; for fewer it scales."""

_CHUNK: Final = 20_000
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MINUTES: Final = 2 * 365 * 24 * 60
_CATEGORIES: Final = ("coffee", "tea", "dairy", "bakery", "fruit", "household", None)
_STANDINGS: Final = (NEWCOMER, NEWCOMER, Standing("silver", "1.25"), Standing("gold", "1.5"))

Json = dict[str, Any]


def main() -> None:
    """Judge, print the seconds, and exit with 1 above the target."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    seconds, points = measure(orders)
    Console().print(
        f"{orders:,} orders of three lines against {len(_rules().on('purchase'))} rules: {seconds:.1f} s, "
        f"{seconds / orders * 1e6:.1f} µs each ({points:,} points)"
    )
    sys.exit(1 if seconds > MOST_SECONDS * orders / ORDERS else 0)


def measure(orders: int) -> tuple[float, int]:
    """The seconds of judging, and the points of all orders."""
    random = Random(4)
    rules = _rules()
    seconds = 0.0
    points = 0
    for first in range(0, orders, _CHUNK):
        cases = [_case(rules, number, random) for number in range(first, min(orders, first + _CHUNK))]
        uses: dict[UseKey, Use] = {}
        started = process_time()
        for case in cases:
            judgement, _, used = judge_bought(case, uses)
            uses |= used
            points += sum(judgement.due.values())
        seconds += process_time() - started
    return seconds, points


def _case(rules: RuleSet, number: int, random: Random) -> OrderCase:
    amounts = [random.randrange(50, 9_000) for _ in range(3)]
    lines = tuple(
        Line(str(at), f"sku-{random.randrange(500)}", 1, _money(cents), random.choice(_CATEGORIES))
        for at, cents in enumerate(amounts)
    )
    bought = PurchaseCompleted(
        customer_id=f"c-{random.randrange(10_000)}",
        order_id=str(number),
        currency=random.choice(("SAR", "SAR", "SAR", "USD")),
        total=_money(sum(amounts)),
        lines=lines,
        channel=random.choice(("web", "app", "pos", None)),
        store_id=random.choice(("riyadh", "jeddah", None)),
    )
    time = _START + timedelta(minutes=random.randrange(_MINUTES))
    return OrderCase(rules, bought, time, random.randrange(1, 40), random.choice(_STANDINGS))


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _rules() -> RuleSet:
    """The rules, compiled from their JSON."""
    document = {
        "currency": "USD",
        "rates": {"SAR": "0.2667"},
        "time_zone": "Asia/Riyadh",
        "rules": [{"id": f"rule-{at}", "on": "purchase"} | rule for at, rule in enumerate(_WRITTEN)],
    }
    return compiled(EARNING_RULES, 1, json.dumps(document))


def _is_in(kind: str, *values: str) -> Json:
    return {"kind": f"{kind}_in", "values": values}


def _fixed(points: int, *when: Json, **fields: Any) -> Json:
    return {"when": when, "award": {"kind": "fixed", "points": points}} | fields


def _per_amount(amount: str, *when: Json, **fields: Any) -> Json:
    return {"when": when, "award": {"kind": "per_amount", "points": 1, "amount": amount}} | fields


def _times(factor: str, *when: Json, **fields: Any) -> Json:
    return {"when": when, "award": {"kind": "multiplier", "factor": factor}} | fields


def _limit(per: str, scope: str = "customer", **most: int) -> Json:
    return {"per": per, "scope": scope} | most


_FRIDAY: Final[Json] = {"kind": "weekday_in", "days": ["fri"]}
_NIGHT: Final[Json] = {"kind": "hours", "from": "22:00", "to": "02:00"}
_MORNING: Final[Json] = {"kind": "hours", "from": "07:00", "to": "10:30"}
_SPRING: Final[Json] = {"kind": "window", "from": "2026-03-01", "to": "2026-06-01"}
_COFFEE: Final = _is_in("category", "coffee", "tea")
_SKUS: Final = _is_in("sku", *(f"sku-{number}" for number in range(0, 500, 10)))

_WRITTEN: Final[Sequence[Json]] = (
    _per_amount("1.00"),
    _per_amount("0.50", _is_in("category", "household"), _is_in("channel", "app")),
    _per_amount("2.00", _SKUS, limits=[_limit("month", points=500)]),
    _times("2", _COFFEE, _FRIDAY),
    _times("1.5", _SPRING, _is_in("channel", "app", "web")),
    _times("3", _is_in("tier", "gold"), _is_in("category", "dairy", "bakery")),
    _times("1.25", _NIGHT, limits=[_limit("day", points=50)]),
    _fixed(300, {"kind": "every_nth_purchase", "n": 10}),
    _fixed(100, {"kind": "first_purchase"}, limits=[_limit("ever", count=1)]),
    _fixed(25, {"kind": "amount_at_least", "amount": "50.00"}, exclusive_group="basket"),
    _fixed(10, {"kind": "amount_at_least", "amount": "25.00"}, exclusive_group="basket"),
    _fixed(5, {"kind": "amount_at_least", "amount": "10.00"}, exclusive_group="basket"),
    _fixed(15, _is_in("sku", "sku-1", "sku-2", "sku-3"), limits=[_limit("week", "customer_sku", count=1)]),
    _fixed(20, _is_in("store", "riyadh"), _MORNING, limits=[_limit("week", count=3)]),
    _fixed(20, _is_in("store", "jeddah"), _FRIDAY, limits=[_limit("month", "program", points=1_000_000)]),
    _fixed(5, _is_in("currency", "USD"), _is_in("channel", "pos")),
    _fixed(50, _is_in("tier", "silver"), {"kind": "every_nth_purchase", "n": 5}, _SPRING),
    _fixed(7, _is_in("category", "fruit"), _MORNING, exclusive_group="morning"),
    _fixed(3, _is_in("category", "bakery"), _MORNING, exclusive_group="morning"),
    _fixed(1, _is_in("channel", "web"), limits=[_limit("year", count=100), _limit("order", points=1)]),
)

if __name__ == "__main__":
    main()
