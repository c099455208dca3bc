"""What else earns points: reviews, activities, surveys, registrations, referrals, promotions, birthdays."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.points.rules.books.rises import Rise
from services.points.rules.books.state import Accrual
from services.points.rules.books.tiers import TierEntry, standing_before
from services.points.rules.ledger.lots import Grant
from services.points.rules.program import dates, limits
from services.points.rules.program.compiled_rule import CompiledRule
from services.points.rules.program.facts import EMPTY, Facts
from services.points.rules.program.judgement import ONE, Judgement, LimitCuts, cuts_again, judge_first
from services.points.rules.program.limits import Cut, Use, UseKey
from services.points.rules.program.requested import request
from services.points.rules.program.ruleset import RuleSet
from services.points.rules.program.values import On


class AccrualCase(NamedTuple):
    """An accrual as it is judged: by a version of the rules, at the customer's tier before it (or the new tier)."""

    rules: RuleSet
    customer_id: str
    on: On
    occurred_at: datetime
    details: Mapping[str, Any]
    """By the fields of `Facts`, as JSON has them."""
    tier: str | None

    @property
    def facts(self) -> Facts:
        """What conditions look at."""
        return Facts(self.occurred_at, self.rules.local(self.occurred_at), self.tier)._replace(**self.details)


class FirstJudgement(NamedTuple):
    """What an accrual is due, what its limits left, and the uses that count it from now on."""

    judgement: Judgement
    cuts: dict[str, Cut]
    used: dict[UseKey, Use]


def case_of(accrual: Accrual, rules: RuleSet, customer_id: str, tier: str | None) -> AccrualCase:
    """An accrual as it is judged at a tier."""
    return AccrualCase(rules, customer_id, accrual.on, accrual.occurred_at, accrual.facts, tier)


def inputs_of(origin: str, tier: str | None, cuts: LimitCuts) -> dict[str, Any]:
    """What a receipt is rebuilt from, beside the stored accrual.

    `cuts` belong to a decision that may be made again: what limits leave then is kept apart from what they left now.
    """
    inputs: dict[str, Any] = {"origin": origin}
    if tier is not None:
        inputs["tier"] = tier
    if cuts:
        inputs["found"] = cuts
    return inputs


def judge(case: AccrualCase, uses: Mapping[UseKey, Use]) -> FirstJudgement:
    """The first judgement; it fixes the use of limits."""
    rules = case.rules.on(case.on)
    asked = request(rules, case.facts, EMPTY)
    cuts: dict[str, Cut] = {}
    used: dict[UseKey, Use] = {}
    for rule, points in zip(rules, asked.points, strict=True):
        if rule.limits and points:
            cuts[rule.id], counted = limits.apply(rule, points, _keys(rule, case), uses)
            used |= counted
    return FirstJudgement(judge_first(rules, asked, cuts, ONE), cuts, used)


def judge_again(case: AccrualCase, cuts: LimitCuts) -> Judgement:
    """What is due at the tier of the case, by what limits left at the first judgement."""
    rules = case.rules.on(case.on)
    asked = request(rules, case.facts, EMPTY)
    return judge_first(rules, asked, cuts_again(rules, asked, cuts), ONE)


def due_for(accrual: Accrual, customer: str, rules: RuleSet, timeline: Sequence[TierEntry]) -> Mapping[str, int] | None:
    """What an accrual is due by everything recorded about it: the ledger has to have given exactly this.

    None for a promotion that an earlier release gave for an instant that the timeline has no more: it stays.
    """
    if accrual.on == "tier_promotion":
        if not accrual.origin.rpartition("/")[2].isdecimal():
            return None
        stands = any(entry.rise and Rise(entry.tier, entry.rise).origin == accrual.origin for entry in timeline)
        tier = accrual.tier
    else:
        stands = not accrual.withdrawn
        looks = accrual.on in rules.looks_at_tier
        tier = standing_before(timeline, accrual.occurred_at).tier if looks else accrual.tier
    if not stands:
        return {}
    return judge_again(case_of(accrual, rules, customer, tier), accrual.cuts).due


def freed(case: AccrualCase, cuts: LimitCuts, uses: Mapping[UseKey, Use]) -> dict[UseKey, Use]:
    """The uses after a withdrawn accrual gave its own back: they are free for what is judged later."""
    result: dict[UseKey, Use] = {}
    for rule in case.rules.on(case.on):
        awarded = cuts[rule.id].awarded if rule.id in cuts else 0
        if awarded:
            result |= limits.moved(_keys(rule, case), uses, Use(-1, -awarded))
    return result


def use_keys(case: AccrualCase) -> Iterator[UseKey]:
    """The keys of every use that a judgement may read."""
    for rule in case.rules.on(case.on):
        if rule.limits:
            for keys in _keys(rule, case):
                yield from keys


def grants(case: AccrualCase, points: Mapping[str, int], now: datetime) -> list[Grant]:
    """Points (by rule) as they are given: when they become available, and until when they stay."""
    by_id = {rule.id: rule.written for rule in case.rules.on(case.on)}
    made: list[Grant] = []
    for name, count in points.items():
        rule = by_id[name]
        starts = dates.activates_at(rule.activate, case.occurred_at, case.rules.zone) or case.occurred_at
        pending = starts > now and rule.activate.kind == "after_days"
        made.append(
            Grant(
                name,
                count,
                pending=pending,
                activates_at=starts if pending else None,
                expires_at=dates.expires_at(rule.expire, starts, case.rules.zone),
            )
        )
    return made


def _keys(rule: CompiledRule, case: AccrualCase) -> list[list[UseKey]]:
    sku = case.details.get("sku")
    day = dates.day_of(case.occurred_at, case.rules.zone)
    return list(limits.keys(rule, case.rules, case.customer_id, day, () if sku is None else (sku,)))
