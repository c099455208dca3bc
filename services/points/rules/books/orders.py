"""What an order is due, as a pure function of everything recorded about it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from services.points.rules.books.tiers import Standing
from services.points.rules.ledger.lots import Grant
from services.points.rules.program import dates, limits
from services.points.rules.program.compiled_rule import CompiledRule
from services.points.rules.program.facts import Basket, BasketLine, Facts
from services.points.rules.program.judgement import (
    ENGINE,
    NO_RATE,
    REFUNDED,
    Judgement,
    Later,
    LimitCuts,
    cuts_again,
    judge_again,
    judge_first,
    nothing,
)
from services.points.rules.program.limits import Cut, Use, UseKey
from services.points.rules.program.requested import USED_UP, Requests, request
from services.points.rules.program.ruleset import RuleSet
from shared.contracts.refunds import Kept, Taken
from shared.contracts.shop import PurchaseCompleted
from shared.contracts.values import UNITS, units


class OrderCase(msgspec.Struct, frozen=True, gc=False):
    """An order as it is judged: by a version of the rules, as the nth of its customer, at a tier."""

    rules: RuleSet
    bought: PurchaseCompleted
    occurred_at: datetime
    ordinal: int
    standing: Standing

    @property
    def facts(self) -> Facts:
        """What conditions look at, beside its money."""
        bought = self.bought
        return Facts(
            self.occurred_at,
            self.rules.local(self.occurred_at),
            self.standing.tier,
            bought.channel,
            bought.store_id,
            bought.currency,
            self.ordinal,
        )


class FirstJudgement(NamedTuple):
    """What an order is due as bought, what its limits left, and the uses that count it from now on."""

    judgement: Judgement
    cuts: dict[str, Cut]
    used: dict[UseKey, Use]


def judge_bought(case: OrderCase, uses: Mapping[UseKey, Use]) -> FirstJudgement:
    """The first judgement: of the order as bought, whatever refunds wait; it fixes the use of limits."""
    if case.rules.by_total is not None and (rate := case.rules.rates.get(case.bought.currency)) is not None:
        total = units(case.bought.total) * rate
        scale = case.rules.rate_scale
        points = tuple([total // (amount * scale) * each for each, amount in case.rules.by_total])
        return _judge_points(case.rules, points, case.standing.multiplier)
    rules = case.rules.on("purchase")
    basket = basket_of(case.bought, case.rules)
    if basket is None:
        return FirstJudgement(nothing(rules, NO_RATE, case.standing.multiplier), {}, {})
    facts = case.facts
    used_up = _used_up(case, facts, basket, uses)
    asked = request(rules, facts, basket, {name: cut.without for name, cut in used_up.items()})
    cuts = {
        rule.id: used_up[rule.id]
        for rule, why in zip(rules, asked.whys, strict=True)
        if rule.id in used_up and why in {None, USED_UP}
    }
    used: dict[UseKey, Use] = {}
    for rule, points in zip(rules, asked.points, strict=True):
        if points and rule.limits:
            without = cuts.get(rule.id)
            skus = limits.skus_of(rule, basket).difference(without.without if without else ())
            cut, counted = limits.apply(rule, points, _keys(rule, case, facts, skus), uses)
            if without is not None:
                cut = Cut(cut.awarded, without.limit if cut.limit is None else cut.limit, without.without)
            cuts[rule.id] = cut
            used |= counted
    return FirstJudgement(judge_first(rules, asked, cuts, case.standing.multiplier), cuts, used)


def _used_up(case: OrderCase, facts: Facts, basket: Basket, uses: Mapping[UseKey, Use]) -> dict[str, Cut]:
    """By rule: the skus of the order for which its limits leave no use."""
    cuts: dict[str, Cut] = {}
    for rule in case.rules.on("purchase"):
        if rule.counts_skus:
            skus = limits.skus_of(rule, basket)
            cut = limits.used_up(rule, skus, _keys(rule, case, facts, skus), uses)
            if cut is not None:
                cuts[rule.id] = cut
    return cuts


def _keys(rule: CompiledRule, case: OrderCase, facts: Facts, skus: Collection[str]) -> list[list[UseKey]]:
    return list(limits.keys(rule, case.rules, case.bought.customer_id, facts.local.date(), skus))


@lru_cache(maxsize=8192)
def _judge_points(rules: RuleSet, points: tuple[int, ...], multiplier: str) -> FirstJudgement:
    """The judgement of an order of which only the total counts. Cached, since most come to the same few hundred."""
    asked = Requests((None,) * len(points), points, sum(points))
    return FirstJudgement(judge_first(rules.on("purchase"), asked, {}, multiplier), {}, {})


def judge_kept(
    case: OrderCase, kept: Kept | None, cuts: LimitCuts, undelivered: frozenset[str], engine: int = ENGINE
) -> Judgement:
    """What an order is due on what is kept of it (None: all), by what limits left at its first judgement."""
    rules = case.rules.on("purchase")
    basket = basket_of(case.bought, case.rules)
    if basket is None:
        return nothing(rules, NO_RATE, case.standing.multiplier)
    facts = case.facts
    without = {name: cut.without for name, cut in cuts.items() if cut.without}
    asked = request(rules, facts, basket, without)
    bought = judge_first(rules, asked, cuts_again(rules, asked, cuts), case.standing.multiplier)
    if kept is None and not undelivered:
        return bought
    if kept is not None:
        if kept.gone:
            return nothing(rules, REFUNDED, case.standing.multiplier)
        asked = request(rules, facts, _basket_kept(kept, case), without)
    return judge_again(rules, asked, Later(bought, cuts, undelivered, engine))


def use_keys(rules: RuleSet, bought: PurchaseCompleted, occurred_at: datetime) -> Iterator[UseKey]:
    """The keys of every use that the first judgement of an order may read."""
    limited = [rule for rule in rules.on("purchase") if rule.limits]
    if limited and (basket := basket_of(bought, rules)) is not None:
        day = dates.day_of(occurred_at, rules.zone)
        for rule in limited:
            for keys in limits.keys(rule, rules, bought.customer_id, day, limits.skus_of(rule, basket)):
                yield from keys


def inputs_of(
    standing: Standing, refunds: int = 0, refund: Taken | None = None, undelivered: Iterable[str] = ()
) -> dict[str, Any]:
    """What a receipt is rebuilt from, beside the stored order; `refunds` is the number that had arrived by then."""
    inputs: dict[str, Any] = {"multiplier": standing.multiplier}
    if standing.tier is not None:
        inputs["tier"] = standing.tier
    if refunds:
        inputs["refunds"] = refunds
    if refund is not None:
        inputs["refund"] = refund.refund_id
    if given_up := sorted(undelivered):
        inputs["undelivered"] = given_up
    return inputs


@lru_cache(maxsize=1024)
def first_inputs(standing: Standing) -> Mapping[str, Any]:
    """The inputs of an order's first judgement. Cached, since there are few tiers."""
    return inputs_of(standing)


def undelivered(case: OrderCase, delivered_at: datetime | None, now: datetime) -> frozenset[str]:
    """The rules whose points are given up by now, since no delivery came in time."""
    given_up: set[str] = set()
    for rule in case.rules.on("purchase"):
        ends = dates.cancels_at(rule.written.activate, case.occurred_at, case.rules.zone)
        if ends is not None and (ends <= now if delivered_at is None else ends <= delivered_at):
            given_up.add(rule.id)
    return frozenset(given_up)


def grants(case: OrderCase, points: Mapping[str, int], delivered_at: datetime | None, now: datetime) -> list[Grant]:
    """Points (by rule) as they are given: when they become available, and until when they stay."""
    if case.rules.gives_at_once:
        return [Grant(name, count) for name, count in points.items()]
    rules = case.rules.granting
    return [_grant(case, rules[name], Grant(name, count), delivered_at, now) for name, count in points.items()]


def _grant(case: OrderCase, rule: CompiledRule, grant: Grant, delivered_at: datetime | None, now: datetime) -> Grant:
    activate, expire, zone = rule.written.activate, rule.written.expire, case.rules.zone
    if activate.kind == "now" and expire.kind == "never":
        return grant
    if activate.kind == "on_delivery":
        if delivered_at is None:
            return replace(grant, pending=True, cancels_at=dates.cancels_at(activate, case.occurred_at, zone))
        starts = max(case.occurred_at, delivered_at)
    else:
        starts = dates.activates_at(activate, case.occurred_at, zone) or case.occurred_at
    pending = starts > now and activate.kind == "after_days"
    return replace(
        grant,
        pending=pending,
        activates_at=starts if pending else None,
        expires_at=dates.expires_at(expire, starts, zone),
    )


def expiry_after_delivery(case: OrderCase, name: str, delivered_at: datetime) -> datetime | None:
    """When a rule's points of an order end that became available with its delivery."""
    rule = case.rules.granting[name]
    return dates.expires_at(rule.written.expire, max(case.occurred_at, delivered_at), case.rules.zone)


def basket_of(bought: PurchaseCompleted, rules: RuleSet) -> Basket | None:
    """An order as bought in the program's currency; None where its own has no rate."""
    rate = rules.rates.get(bought.currency)
    if rate is None:
        return None
    lines = (
        tuple(BasketLine(line.sku, line.category, units(line.amount) * rate) for line in bought.lines)
        if rules.looks_at_lines
        else ()
    )
    return Basket(units(bought.total) * rate, lines, UNITS * rules.rate_scale)


def _basket_kept(kept: Kept, case: OrderCase) -> Basket:
    """What is kept, in the program's currency."""
    rate = case.rules.rates[case.bought.currency]
    lines = (
        tuple([BasketLine(line.line.sku, line.line.category, line.numerator * rate) for line in kept.lines])
        if case.rules.looks_at_lines
        else ()
    )
    return Basket(kept.numerator * rate, lines, kept.scale * case.rules.rate_scale)
