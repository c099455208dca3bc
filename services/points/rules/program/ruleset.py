"""A version of the earning rules, compiled once: conditions become functions, amounts become whole numbers."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from services.points.rules.program import dates
from services.points.rules.program import document as written
from services.points.rules.program.document import (
    WEEKDAYS,
    Condition,
    Document,
    Fixed,
    Limit,
    On,
    PerAmount,
    Rule,
)
from shared.contracts.kept import UNITS, units

TIER: Final = "tier:extra"
"""What the tier's extra is booked under: no rule's id has a colon.

Where it lives by the dates of another rule than the first per amount, that rule's id stands behind it.
"""


def is_extra(name: str) -> bool:
    """Whether something is booked under this name as the extra of a tier, not as what a rule gave."""
    return name.startswith(TIER)


class Facts(NamedTuple):
    """What conditions look at, beside an order's money; what an event does not have is None."""

    time: datetime
    local: datetime
    """The same instant in the program's zone."""
    tier: str | None = None
    """The tier in force before the event; of a promotion the new one."""
    channel: str | None = None
    store_id: str | None = None
    currency: str | None = None
    ordinal: int | None = None
    """The nth completed order of the customer, from 1."""
    sku: str | None = None
    rating: int | None = None
    verified: bool = False
    text_length: int | None = None
    photo_count: int | None = None
    activity: str | None = None
    survey: str | None = None
    score: int | None = None


class BasketLine(NamedTuple):
    """A line of which something is kept."""

    sku: str
    category: str | None
    amount: int


class Basket(NamedTuple):
    """The money of an order in the program's currency: amounts are `amount / scale`, exactly."""

    total: int
    lines: Sequence[BasketLine]
    scale: int


EMPTY: Final = Basket(0, (), 1)

Test = Callable[[Facts, Basket], bool]


class CompiledRule(NamedTuple):
    """A rule, ready to be judged; of `per_amount`, `fixed` and `factor` one is set."""

    id: str
    tests: tuple[tuple[str, Test], ...]
    line_values: tuple[tuple[str, frozenset[str]], ...]
    """The conditions that name lines, with the skus or categories of each."""
    skus: frozenset[str] | None
    """The skus that meet all of these conditions; None where none of them is about skus."""
    categories: frozenset[str] | None
    per_amount: tuple[int, int] | None
    """Points, and the amount in ten-thousandths that they are given for."""
    fixed: int | None
    factor: int | None
    """(factor - 1) in ten-thousandths."""
    group: str | None
    limits: tuple[Limit, ...]
    written: Rule
    extra: str = TIER
    """What the tier's extra is booked under where it goes by this rule: the first per amount that matches."""

    @property
    def is_free(self) -> bool:
        """Whether it always matches, gives by the order's total, and is cut by nothing."""
        return self.per_amount is not None and not (self.tests or self.line_values or self.group or self.limits)

    @property
    def counts_skus(self) -> bool:
        """Whether a limit counts each sku of an order by itself."""
        return any(limit.scope == "customer_sku" and limit.per != "order" for limit in self.limits)

    def chosen(self, lines: Sequence[BasketLine]) -> list[int]:
        """The places of the lines that meet all conditions that name lines."""
        skus, categories = self.skus, self.categories
        if skus is None and categories is None:
            return list(range(len(lines)))
        if categories is None:
            return [place for place, line in enumerate(lines) if line.sku in (skus or ())]
        if skus is None:
            return [place for place, line in enumerate(lines) if line.category in categories]
        return [place for place, line in enumerate(lines) if line.sku in skus and line.category in categories]

    @property
    def looks_at_tier(self) -> bool:
        """Whether a condition looks at the customer's tier."""
        return any(kind == "tier_in" for kind, _ in self.tests)


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """A published version of the earning rules."""

    version: int
    document: Document
    zone: ZoneInfo
    week_start: int
    rates: dict[str, int]
    """What 1.00 of a currency is worth in the program's, over `rate_scale`."""
    rate_scale: int
    rules: dict[On, tuple[CompiledRule, ...]]
    looks_at_lines: bool
    looks_at_clock: bool
    """Whether anything depends on the program's zone."""
    looks_at_tier: frozenset[On]
    limits_purchases: bool
    by_total: tuple[tuple[int, int], ...] | None
    """Where an order's total alone decides: points, and the amount in ten-thousandths, of each rule."""
    gives_at_once: bool
    """Whether all points of purchases are available at once, and for ever."""
    granting: dict[str, CompiledRule]
    """The rules of purchases by what they book under: their ids, and the extras of tiers that go with them."""

    @classmethod
    def of(cls, version: int, document: Document) -> Self:
        """The version, compiled."""
        zone = ZoneInfo(document.time_zone)
        by_event: dict[On, list[CompiledRule]] = {}
        for rule in document.rules:
            by_event.setdefault(rule.on, []).append(_compile(rule, document, zone))
        rules: dict[On, tuple[CompiledRule, ...]] = {on: tuple(found) for on, found in by_event.items()}
        purchase = rules["purchase"] = _with_extras(rules.get("purchase", ()))
        scale = _rate_scale(document.rates.values())
        free = all(rule.is_free for rule in purchase)
        return cls(
            version=version,
            document=document,
            zone=zone,
            week_start=WEEKDAYS.index(document.week_start),
            rates={document.currency: scale, **{name: int(Decimal(it) * scale) for name, it in document.rates.items()}},
            rate_scale=scale,
            rules=rules,
            looks_at_lines=any(rule.line_values or rule.counts_skus for rule in purchase),
            looks_at_clock=any(map(_looks_at_clock, document.rules)),
            looks_at_tier=frozenset[On](on for on, found in rules.items() if any(one.looks_at_tier for one in found)),
            limits_purchases=any(rule.limits for rule in purchase),
            by_total=tuple(rule.per_amount for rule in purchase if rule.per_amount) if free else None,
            gives_at_once=all(
                rule.written.activate.kind == "now" and rule.written.expire.kind == "never" for rule in purchase
            ),
            granting={rule.extra: rule for rule in reversed(purchase) if rule.per_amount is not None}
            | {rule.id: rule for rule in purchase},
        )

    def local(self, moment: datetime) -> datetime:
        """An instant in the program's zone, where anything depends on it (the change costs a microsecond)."""
        return dates.local(moment, self.zone) if self.looks_at_clock else moment

    def on(self, event: On) -> tuple[CompiledRule, ...]:
        """The rules for an event, in the document's order."""
        return self.rules.get(event, ())


class RuleBook:
    """The versions that a batch is judged by."""

    def __init__(self, versions: Iterable[tuple[datetime, RuleSet]]) -> None:
        """`versions` with the instants from which they are in force, all that may be needed."""
        self._versions = sorted(versions, key=lambda one: (one[0], one[1].version))
        self._starts = [start for start, _ in self._versions]
        self._by_number = {rules.version: rules for _, rules in self._versions}

    def in_force(self, moment: datetime) -> RuleSet:
        """The version in force at an instant: of those effective by then the one that came into force last."""
        return self._versions[bisect_right(self._starts, moment) - 1][1]

    def version(self, number: int) -> RuleSet:
        """A version by its number.

        Raises:
            KeyError: it was not loaded.
        """
        return self._by_number[number]

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __len__(self) -> int:
        return len(self._versions)


@lru_cache(maxsize=256)
def compiled(version: int, text: str) -> RuleSet:
    """The version whose document is this JSON: compiled once, since a published version never changes."""
    return RuleSet.of(version, Document.model_validate_json(text))


def _compile(rule: Rule, document: Document, zone: ZoneInfo) -> CompiledRule:
    tests: list[tuple[str, Test]] = []
    line_values: list[tuple[str, frozenset[str]]] = []
    for condition in rule.when:
        if (
            isinstance(condition, written.IsIn)
            and rule.on == "purchase"
            and condition.kind in {"category_in", "sku_in"}
        ):
            line_values.append((condition.kind, frozenset(condition.values)))
        else:
            tests.append((condition.kind, _test(condition, document, zone)))
    award = rule.award
    return CompiledRule(
        id=rule.id,
        tests=tuple(tests),
        line_values=tuple(line_values),
        skus=_common(values for kind, values in line_values if kind == "sku_in"),
        categories=_common(values for kind, values in line_values if kind == "category_in"),
        per_amount=(award.points, units(award.amount)) if isinstance(award, PerAmount) else None,
        fixed=award.points if isinstance(award, Fixed) else None,
        factor=units(award.factor) - UNITS if isinstance(award, written.Multiplier) else None,
        group=rule.exclusive_group,
        limits=rule.limits,
        written=rule,
    )


def _looks_at_clock(rule: Rule) -> bool:
    by_day = any(condition.kind in {"weekday_in", "hours"} for condition in rule.when)
    return by_day or any(limit.per not in {"order", "ever"} for limit in rule.limits)


def _common(sets: Iterable[frozenset[str]]) -> frozenset[str] | None:
    """What is in all of some sets; None where there are none."""
    first, *others = [*sets] or [None]
    return None if first is None else first.intersection(*(one for one in others if one is not None))


def _with_extras(purchase: Sequence[CompiledRule]) -> tuple[CompiledRule, ...]:
    """The rules of purchases with what the tier's extra is booked under where it goes by them.

    Rules whose points live alike share it, so that nothing has to move where the extra goes from one to another.
    """
    names: dict[tuple[object, object], str] = {}
    found: list[CompiledRule] = []
    for rule in purchase:
        if rule.per_amount is None:
            found.append(rule)
        else:
            name = f"{TIER}:{rule.id}" if names else TIER
            name = names.setdefault((rule.written.activate, rule.written.expire), name)
            found.append(rule._replace(extra=name))
    return tuple(found)


def _rate_scale(rates: Iterable[str]) -> int:
    """A power of ten, over which all rates are whole numbers; ten-thousandths unless one has more decimals."""
    return 10 ** max([4, *(len(rate.partition(".")[2]) for rate in rates)])


def _test(condition: Condition, document: Document, zone: ZoneInfo) -> Test:  # noqa: PLR0911 one return for each kind
    match condition:
        case written.AmountAtLeast():
            least = units(condition.amount)
            return lambda _, basket: basket.total * UNITS >= least * basket.scale
        case written.IsIn():
            return _is_in(condition, document)
        case written.Window():
            start, end = written.instant(condition.from_, zone), written.instant(condition.to, zone)
            return lambda facts, _: start <= facts.time < end
        case written.WeekdayIn():
            days = frozenset(WEEKDAYS.index(day) for day in condition.days)
            return lambda facts, _: facts.local.weekday() in days
        case written.Hours():
            return _hours(condition)
        case written.EveryNthPurchase():
            every = condition.n
            return lambda facts, _: facts.ordinal is not None and facts.ordinal % every == 0
        case written.ActivityIs():
            activity = condition.activity
            return lambda facts, _: facts.activity == activity
        case written.SurveyIs():
            survey = condition.survey
            return lambda facts, _: facts.survey == survey
        case written.Flag():
            return _FLAGS[condition.kind]
        case _:
            return _at_least(condition)


def _is_in(condition: written.IsIn, document: Document) -> Test:
    values = frozenset(condition.values)
    if condition.kind == "tier_in":
        lowest = document.tiers[0]
        return lambda facts, _: (facts.tier or lowest) in values
    field = {"sku_in": "sku", "channel_in": "channel", "store_in": "store_id", "currency_in": "currency"}.get(
        condition.kind
    )
    if field is None:  # `category_in` outside a purchase: nothing else has a category
        return lambda _facts, _basket: False
    index = Facts._fields.index(field)
    return lambda facts, _: facts[index] in values


def _hours(condition: written.Hours) -> Test:
    start, end = time.fromisoformat(condition.from_), time.fromisoformat(condition.to)
    if start < end:
        return lambda facts, _: start <= facts.local.time() < end
    return lambda facts, _: not end <= facts.local.time() < start


def _at_least(
    condition: written.RatingAtLeast | written.TextLengthAtLeast | written.ScoreAtLeast,
) -> Test:
    match condition:
        case written.RatingAtLeast():
            field, least = "rating", condition.rating
        case written.TextLengthAtLeast():
            field, least = "text_length", condition.length
        case written.ScoreAtLeast():
            field, least = "score", condition.score
    index = Facts._fields.index(field)

    def holds(facts: Facts, _: Basket) -> bool:
        value: Any = facts[index]
        return value is not None and value >= least

    return holds


_FLAGS: Final[dict[str, Test]] = {
    "first_purchase": lambda facts, _: facts.ordinal == 1,
    "verified_purchase": lambda facts, _: facts.verified,
    "has_photo": lambda facts, _: bool(facts.photo_count),
}


ONE: Final = "1"
"""The multiplier that adds no extra."""


@lru_cache(maxsize=1024)
def extra_of(multiplier: str) -> tuple[int, int]:
    """(multiplier - 1) as a numerator and a denominator; never below 0."""
    numerator, denominator = Decimal(multiplier).as_integer_ratio()
    return max(0, numerator - denominator), denominator
