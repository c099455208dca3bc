"""3. Balances, tiers and referrals equal the replay; the program's limits hold in total."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.prove import earning
from tests.prove.checks import tiers
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence, Oracle


def checks(evidence: Evidence, oracle: Oracle) -> Iterator[Check]:
    """The checks of this group."""
    wrong = [f"{customer}: {point.wrong}" for customer, point in oracle.points.items() if point.wrong]
    lines = sum(len(statement) for statement in evidence.findings.points.statements.values())
    yield check(3, "statements = the replay, line by line", lines, wrong)
    yield check(3, "balances (read over HTTP) = the replay", len(oracle.points), _balances(evidence, oracle))
    if "tiers" in evidence.services:
        yield from tiers.checks(evidence, oracle)
    if "referrals" in evidence.services:
        yield check(3, "referrals = a replay", len(evidence.findings.referrals), _referrals(evidence, oracle))
    for rule in earning.OF_THE_PROGRAM:
        yield _limit(evidence, rule)
    stock, most = earning.REWARD["stock"], earning.REWARD["limit_per_customer"]
    wrong_rewards = [
        reward for reward in evidence.findings.points.rewards if reward[0] + reward[1] != stock or reward[2] > most
    ]
    redeemed = sum(reward[1] for reward in evidence.findings.points.rewards)
    yield check(3, "the reward's stock and limit per customer hold", redeemed, wrong_rewards)


def _balances(evidence: Evidence, oracle: Oracle) -> Iterator[str]:
    names = ("available", "pending", "held", "debt", "lifetime_earned", "lifetime_redeemed")
    for customer, replayed in oracle.points.items():
        account = replayed.account
        due = (account.available, account.pending, account.held, account.debt, account.earned, account.redeemed)
        answered = tuple(evidence.balances[customer][name] for name in names)
        if answered != due:
            yield f"{customer} has {answered}, should have {due}"


def _referrals(evidence: Evidence, oracle: Oracle) -> Iterator[str]:
    there: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
    for referral in evidence.findings.referrals:
        there[referral[2]].add(referral)
    for friend in {*there, *oracle.referrals}:
        possible = oracle.referrals[friend].outcomes if friend in oracle.referrals else frozenset({frozenset()})
        if frozenset(there[friend]) not in possible:
            yield f"{friend} has {sorted(map(str, there[friend]))}, should have one of {sorted(map(str, possible))}"


def _limit(evidence: Evidence, rule: str) -> Check:
    """Check that awards were given in full until the limit was used up, and none after that."""
    cuts = [
        by_rule[rule]
        for origins in evidence.findings.points.cuts.values()
        for by_rule in origins.values()
        if rule in by_rule
    ]
    limit = earning.OF_THE_PROGRAM[rule]
    given = Counter(times=sum(1 for cut in cuts if cut.awarded), points=sum(cut.awarded for cut in cuts))
    asked = len(cuts)
    wrong: list[str] = []
    if "count" in limit and given["times"] != min(limit["count"], asked):
        wrong.append(f"{given['times']} awards, {asked} asked for, {limit['count']} allowed")
    if "points" in limit and given["points"] != min(limit["points"], 10 * asked):
        wrong.append(f"{given['points']} points, {10 * asked} asked for, {limit['points']} allowed")
    counted = evidence.findings.points.uses.get(rule, (0, 0))
    if counted != (given["times"], given["points"]):
        wrong.append(f"{counted} counted, {given['times']} awards of {given['points']} points given")
    return check(3, f"limit of the program: {rule}", asked, wrong)
