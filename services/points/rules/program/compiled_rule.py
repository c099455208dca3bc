"""A rule compiled once for each version: its conditions become functions, its amounts whole numbers."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from services.points.rules.program.awards import Fixed, Multiplier, PerAmount
from services.points.rules.program.conditions.condition import LineFilter, Terms, Test
from services.points.rules.program.document import Limit, Rule
from services.points.rules.program.facts import Basket, BasketLine, Facts
from shared.contracts.values import UNITS, units

TIER: Final = "tier:extra"
"""The name under which a tier's extra points are booked: no rule's id has a colon.

If they activate and expire by another rule than the first per amount, the id of that rule follows.
"""


def is_extra(name: str) -> bool:
    """Whether points booked under this name are a tier's extra, rather than the award of a rule."""
    return name.startswith(TIER)


class CompiledRule(NamedTuple):
    """A rule as it is judged. Exactly one of `per_amount`, `fixed` and `factor` is set."""

    id: str
    tests: tuple[tuple[str, Test], ...]
    """The conditions on the event, by kind."""
    line_filters: tuple[tuple[str, LineFilter], ...]
    """The conditions on order lines, by kind."""
    per_amount: tuple[int, int] | None
    """Points, and the amount in ten-thousandths that earns them."""
    fixed: int | None
    factor: int | None
    """(factor - 1) in ten-thousandths."""
    group: str | None
    limits: tuple[Limit, ...]
    written: Rule
    extra: str = TIER
    """The name of the tier's extra where this is the first rule per amount that matches."""

    @property
    def is_free(self) -> bool:
        """Whether the order's total alone decides what it gives."""
        return self.per_amount is not None and not (self.tests or self.line_filters or self.group or self.limits)

    @property
    def counts_skus(self) -> bool:
        """Whether a limit counts each SKU of an order separately."""
        return any(limit.scope == "customer_sku" and limit.per != "order" for limit in self.limits)

    @property
    def looks_at_tier(self) -> bool:
        """Whether a condition depends on the customer's tier."""
        return any(condition.looks_at == "tier" for condition in self.written.when)

    @property
    def looks_at_clock(self) -> bool:
        """Whether a condition or a limit depends on the program's time zone."""
        by_day = any(condition.looks_at == "local time" for condition in self.written.when)
        return by_day or any(limit.per not in {"order", "ever"} for limit in self.limits)

    def matching(self, lines: Sequence[BasketLine]) -> Sequence[int]:
        """The indexes of the lines that satisfy all conditions on lines."""
        indexes: Sequence[int] = range(len(lines))
        for _, line_filter in self.line_filters:
            indexes = line_filter(lines, indexes)
        return indexes


def compile_rules(rules: Sequence[Rule], terms: Terms) -> Iterator[CompiledRule]:
    """Some rules of a document, with the names of the tier's extra.

    Rules whose points activate and expire alike share a name: nothing moves when the extra goes from one to another.
    """
    names: dict[tuple[object, object], str] = {}
    for rule in rules:
        compiled = _compile(rule, terms)
        if compiled.per_amount is not None:
            name = f"{TIER}:{rule.id}" if names else TIER
            compiled = compiled._replace(extra=names.setdefault((rule.activate, rule.expire), name))
        yield compiled


def _compile(rule: Rule, terms: Terms) -> CompiledRule:
    tests: list[tuple[str, Test]] = []
    line_filters: list[tuple[str, LineFilter]] = []
    for condition in rule.when:
        line_filter = condition.line_filter() if rule.on == "purchase" else None
        if line_filter is not None:
            line_filters.append((condition.kind, line_filter))
        else:
            tests.append((condition.kind, condition.test(terms) if condition.suits(rule.on) else _never))
    award = rule.award
    return CompiledRule(
        id=rule.id,
        tests=tuple(tests),
        line_filters=tuple(line_filters),
        per_amount=(award.points, units(award.amount)) if isinstance(award, PerAmount) else None,
        fixed=award.points if isinstance(award, Fixed) else None,
        factor=units(award.factor) - UNITS if isinstance(award, Multiplier) else None,
        group=rule.exclusive_group,
        limits=rule.limits,
        written=rule,
    )


def _never(_facts: Facts, _basket: Basket) -> bool:
    """The test of a condition on an event that lacks what it looks at."""
    return False
