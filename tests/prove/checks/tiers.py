"""3. Tiers equal the slow model; what was told, put together, is what is stored; nothing is told or used too often."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise, zip_longest
from typing import Any, Final

from pydantic_core import from_json

from tests.prove import tiering
from tests.prove.checks.check import Check, check
from tests.prove.checks.oracle import Evidence, Oracle
from tests.prove.tiered import Quiet, Standing
from tests.prove.writes import Kind
from tests.tiers.oracles.at_risk import Moment
from tests.tiers.oracles.model import METRICS, Entry, Outcome

Step = tuple[datetime, str, str]
"""Instant, tier, multiplier."""

SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_CHANGES: Final = ("promoted", "demoted", "retained", "corrected")
_SPEND_UNIT: Final = 10_000


def checks(evidence: Evidence, oracle: Oracle) -> Iterator[Check]:
    """The checks of tiers."""
    stored, events = evidence.findings.tiers, _events(evidence)
    entries = sum(map(len, stored.timelines.values()))
    yield check(3, "timelines of tiers = the model", entries, _timelines(evidence, oracle))
    yield check(3, "customers' tiers = the model", len(oracle.tiers), _standings(evidence, oracle))
    yield check(3, "tiers (read over HTTP) = the model", len(oracle.tiers), _answers(evidence, oracle))
    told = {customer: put_together(own) for customer, own in events.items()}
    shown = {customer: [_step(entry) for entry in own] for customer, own in stored.timelines.items()}
    yield check(3, "told timelines of tiers = the stored ones", len(told), _different(told, shown))
    yield check(
        3, "points' timelines = tiers' timelines", len(shown), _different(evidence.findings.points.tiers, shown)
    )
    yield check(3, "every change of a tier is told once", len(stored.recorded), _not_once(evidence, events))
    yield check(3, "a tier at risk is told once", len(stored.warned), _warned_twice(evidence, events))
    if evidence.quiet is not None:
        checked = len(oracle.warnings.keys() - evidence.quiet.passed)
        yield check(3, "tiers at risk = the model", checked, warnings(evidence.quiet, oracle.warnings, events))
    yield check(3, "tiers given by hand = acknowledged writes", len(stored.assignments), _assignments(evidence))
    yield check(3, "benefits are used as acknowledged, within their uses", len(stored.uses), _uses(evidence, events))


Events = Mapping[str, Sequence[Mapping[str, Any]]]
"""The published events of the topic by customer, in the order in which they were committed."""


def _events(evidence: Evidence) -> Events:
    by_customer: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in evidence.findings.outboxes["tiers"]:
        event = from_json(row.value)
        by_customer[event["data"]["customer_id"]].append(event)
    return by_customer


def kind_of(event: Mapping[str, Any]) -> str:
    """The verb of an event's type."""
    kind: str = event["type"].split(".")[2]
    return kind


def _timelines(evidence: Evidence, oracle: Oracle) -> Iterator[str]:
    for customer, judged in oracle.tiers.items():
        pairs = zip_longest(evidence.findings.tiers.timelines.get(customer, ()), judged.ahead.entries)
        wrong = next(((there, due) for there, due in pairs if there != due), None)
        if wrong is not None:
            yield f"{customer} has {wrong[0]}, should have {wrong[1]}"


def _standings(evidence: Evidence, oracle: Oracle) -> Iterator[str]:
    for customer, standing in evidence.findings.tiers.standings.items():
        judged = oracle.tiers.get(customer)
        due = None if judged is None else _standing(judged.ahead)
        if standing != due:
            yield f"{customer} has {standing}, should have {due}"


def _standing(outcome: Outcome) -> Standing:
    return Standing(outcome.tier, outcome.since, outcome.valid_until, outcome.grace_until)


def _answers(evidence: Evidence, oracle: Oracle) -> Iterator[str]:
    names = ("tier", "since", "valid_until", "grace_until", "locked_until", "points_multiplier", "metrics")
    for customer, judged in oracle.tiers.items():
        answer, due = evidence.standings[customer], shown(judged.now)
        there = {name: _read(name, answer.get(name)) for name in names}
        if there != due:
            yield f"{customer} has { {name: (there[name], due[name]) for name in names if there[name] != due[name]} }"


def _read(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if value is not None and name.endswith(("since", "until")) else value


def shown(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the API shows it: money is rounded down to four decimals."""
    whole, rest = divmod(outcome.metrics["spend"] * _SPEND_UNIT // 1, _SPEND_UNIT)
    decimals = f"{rest:04}"
    metrics = {metric: int(outcome.metrics[metric]) for metric in METRICS if metric != "spend"}
    return {
        "tier": outcome.tier,
        "since": outcome.since,
        "valid_until": outcome.valid_until,
        "grace_until": outcome.grace_until,
        "locked_until": outcome.locked_until,
        "points_multiplier": outcome.points_multiplier,
        "metrics": {"spend": f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}", **metrics},
    }


def put_together(events: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The timeline that a reader of the events knows: each replaces what was told from its `effective_at` on."""
    known: dict[datetime, Step] = {}
    for event in events:
        if kind_of(event) in _CHANGES:
            since = datetime.fromisoformat(event["data"]["effective_at"])
            known = {at: step for at, step in known.items() if at < since}
            for entry in event["data"]["timeline"]:
                at = datetime.fromisoformat(entry["effective_at"])
                known[at] = (at, entry["tier"], entry["points_multiplier"])
    return [known[at] for at in sorted(known)]


def _step(entry: Entry) -> Step:
    return entry.at, entry.tier, entry.points_multiplier


def _different(some: Mapping[str, Sequence[Step]], others: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for customer in {*some, *others}:
        left, right = compact(some.get(customer, ())), compact(others.get(customer, ()))
        if left != right:
            yield f"{customer}: {left}, should be {right}"


def compact(steps: Iterable[Step]) -> list[Step]:
    """The steps that change the tier or its multiplier; everybody begins in the first tier."""
    whole: list[Step] = [(SINCE_EVER, "member", "1"), *steps]
    return [after for before, after in pairwise(whole) if before[1:] != after[1:]]


def _not_once(evidence: Evidence, events: Events) -> Iterator[str]:
    recorded = Counter(evidence.findings.tiers.recorded)
    told = Counter(event["id"] for own in events.values() for event in own if kind_of(event) in _CHANGES)
    for id_ in recorded.keys() | told.keys():
        if (recorded[id_], told[id_]) != (1, 1):
            yield f"event {id_}: recorded {recorded[id_]} times, told {told[id_]} times"
    for customer, own in events.items():
        changes = [event["data"] for event in own if kind_of(event) in _CHANGES]
        for before, after in pairwise(changes):
            if before == after:
                yield f"{customer} is told twice: {after}"


def _warned_twice(evidence: Evidence, events: Events) -> Iterator[str]:
    told = Counter(
        (customer, event["data"]["valid_until"], event["time"])
        for customer, own in events.items()
        for event in own
        if kind_of(event) == "at_risk"
    )
    yield from (f"{count} times {warning}" for warning, count in told.items() if count > 1)
    recorded = sum(evidence.findings.tiers.warned.values())
    if recorded != told.total():
        yield f"{recorded} warnings recorded, {told.total()} told"


def warnings(quiet: Quiet, expected: Mapping[str, Sequence[Moment]], events: Events) -> Iterator[str]:
    """Compare a sweep while nothing else happened: which moments it judged, and what it told of the last of them.

    Of customers who had been judged beyond its instant it judged no other moments; those of ends that were passed on
    the way are missing.
    """
    new = {key: is_told for key, is_told in quiet.after.items() if key not in quiet.before}
    judged: defaultdict[str, set[tuple[datetime, int]]] = defaultdict(set)
    for customer, end, days in new:
        judged[customer].add((end, days))
    for customer, moments in expected.items():
        due = [own for own in moments if (customer, own.valid_until, own.days) not in quiet.before]
        names = {(own.valid_until, own.days) for own in due}
        is_passed = customer in quiet.passed
        wrong = judged[customer] - names if is_passed else judged[customer] ^ names
        if wrong:
            yield f"{customer}: judged {judged[customer]}, should be {due}"
        if wrong or is_passed:
            continue
        last = due[-1] if due else None
        for own in due:
            is_due = own is last and own.risk is not None
            if new[customer, own.valid_until, own.days] != is_due:
                yield f"{customer}: told {not is_due}, should be {own}"
            elif is_due and not _is_told(own, events.get(customer, ())):
                yield f"{customer}: there is no such event: {own}"


def _is_told(moment: Moment, events: Iterable[Mapping[str, Any]]) -> bool:
    risk = moment.risk
    assert risk is not None
    wanted = (risk.tier, risk.to, risk.moment, risk.valid_until, risk.effective_at)
    return any(
        (
            data["from"],
            data["to"],
            *map(datetime.fromisoformat, (event["time"], data["valid_until"], data["effective_at"])),
        )
        == wanted
        for event in events
        if kind_of(event) == "at_risk"
        for data in (event["data"],)
    )


def _assignments(evidence: Evidence) -> Iterator[str]:
    there = Counter(
        (customer, own.tier, own.until, own.locked)
        for customer, given in evidence.findings.tiers.assignments.items()
        for own in given
    )
    due = Counter(
        (write.customer, write.body["tier"], _until(write.body), write.body["locked"])
        for write in evidence.writes
        if write.kind is Kind.ASSIGN and write.done
    )
    yield from (f"{count} times too often: {own}" for own, count in (there - due).items())
    yield from (f"{count} times missing: {own}" for own, count in (due - there).items())


def _until(body: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(body["until"]) if "until" in body else None


def _uses(evidence: Evidence, events: Events) -> Iterator[str]:
    stored = evidence.findings.tiers.uses
    there = Counter((use.customer, use.benefit, use.reference) for use in stored)
    due = Counter(
        (write.customer, write.path.split("/")[-2], write.body["reference"])
        for write in evidence.writes
        if write.kind is Kind.USE and write.done
    )
    told = Counter(
        (customer, event["data"]["benefit_id"], event["data"]["reference"])
        for customer, own in events.items()
        for event in own
        if kind_of(event) == "benefit_used"
    )
    for use in there.keys() | due.keys() | told.keys():
        if not there[use] == due[use] == told[use] == 1:
            yield f"{use}: stored {there[use]}, acknowledged {due[use]}, told {told[use]} times"
    in_year = Counter((use.customer, use.used_at.year) for use in stored if use.benefit == tiering.GIFT)
    yield from (f"{count} gifts of {of}" for of, count in in_year.items() if count > tiering.GIFT_TIMES)
