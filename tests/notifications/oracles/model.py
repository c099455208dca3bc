"""The model: customers, journeys and experiments in memory, moved by one happening after the other.

It imports nothing of the product.
"""

import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import NamedTuple

from tests.notifications.oracles.clocks import DAY, after_wait, local_instant, yearly
from tests.notifications.oracles.conditions import field_holds, holds
from tests.notifications.oracles.happening import (
    APPROVED,
    AT_RISK,
    EXPIRING,
    PURCHASE,
    REGISTERED,
    Arrival,
    Happening,
    History,
    Json,
    Publication,
    Sweep,
)
from tests.notifications.oracles.people import KEYS, Customer, Fact, Run


class Sent(NamedTuple):
    """A message that a run asks for: `at` is when its step fell due, `triggers` how many a digest collected."""

    customer_id: str
    journey: str
    key: str
    step: str
    template: str
    at: datetime
    triggers: int


class Version(NamedTuple):
    """A published version."""

    effective_at: datetime
    document: Json


@dataclass(slots=True)
class Model:
    """Everything there is."""

    key: bytes
    customers: dict[str, Customer] = field(default_factory=dict[str, Customer])
    versions: dict[str, list[Version]] = field(default_factory=dict[str, list[Version]])
    experiments: dict[str, Json] = field(default_factory=dict[str, Json])
    arms: dict[tuple[str, str], str | None] = field(default_factory=dict[tuple[str, str], "str | None"])
    exposures: list[tuple[str, str | None, str | None, datetime]] = field(
        default_factory=list[tuple[str, "str | None", "str | None", datetime]]
    )
    converted: set[int] = field(default_factory=set[int])
    sent: list[Sent] = field(default_factory=list[Sent])

    def play(self, history: History) -> "Model":
        """Let a history happen."""
        self.experiments = {each["id"]: each for each in history.experiments}
        for happening in history.happenings:
            self._happen(happening)
        return self

    def results(self) -> Counter[tuple[str, str | None, bool]]:
        """Numbers of exposures by experiment and arm, and whether they converted."""
        return Counter(
            (experiment, arm, place in self.converted) for place, (experiment, _, arm, _) in enumerate(self.exposures)
        )

    def _happen(self, happening: Happening) -> None:
        match happening:
            case Publication(now, journey, document):
                self.versions.setdefault(journey, []).append(Version(now, document))
            case Sweep(now):
                for customer in self.customers.values():
                    self._move_due(customer, now)
                    self._fire_timers(customer, now)
            case Arrival():
                self._arrive(happening)

    # What arrives.

    def _arrive(self, arrival: Arrival) -> None:
        sides = [arrival.customer_id]
        if arrival.type.startswith("loyalty.referral."):
            sides.append(arrival.data["friend_id"])
        for side, customer_id in enumerate(sides):
            customer = self.customers.setdefault(customer_id, Customer(customer_id))
            fact = Fact(arrival.type, key_of(arrival), arrival.at, dict(arrival.data))
            if arrival.type == APPROVED:
                fact.data["role"] = ("advocate", "friend")[side]
            if side == 0:
                customer.hear(fact)
            if arrival.type != "shop.customer.erased.v1":
                self._concern(customer, fact, arrival.now)
            else:
                self.exposures = [
                    (experiment, None if owner == customer_id else owner, arm, at)
                    for experiment, owner, arm, at in self.exposures
                ]
                self.arms = {pair: arm for pair, arm in self.arms.items() if pair[1] != customer_id}

    def _concern(self, customer: Customer, fact: Fact, now: datetime) -> None:
        if not customer.counts(fact.at):
            if not customer.is_gone:
                self._move_due(customer, now)
            return
        if (fact.type, fact.key) in {(each.type, each.key) for each in customer.facts}:
            self._move_due(customer, now)
            return
        customer.facts.append(fact)
        self._move_due(customer, now)
        self._convert(customer, fact)
        for run in list(customer.runs):
            if run.awaits == fact.type:
                self._advance(customer, run, now)
        for journey in self.versions:
            document = self._in_force(journey)
            if document["enabled"] and _starts(document["trigger"], fact):
                self._start(customer, journey, fact, now, fact.at)

    def _in_force(self, journey: str) -> Json:
        return self.versions[journey][-1].document

    def _enabled_since(self, journey: str) -> datetime:
        return next(each.effective_at for each in self.versions[journey] if each.document["enabled"])

    # What falls due.

    def _move_due(self, customer: Customer, now: datetime) -> None:
        while due := [run for run in customer.runs if run.due is not None and run.due <= now]:
            self._advance(customer, min(due, key=lambda run: run.due or now), now)

    def _fire_timers(self, customer: Customer, now: datetime) -> None:
        if customer.is_gone:
            return
        for journey in self.versions:
            document = self._in_force(journey)
            if not document["enabled"]:
                continue
            trigger = document["trigger"]
            for at, since, key in _timed(customer, trigger, now):
                if at <= now and at > self._enabled_since(journey):
                    self._start(customer, journey, Fact(trigger["on"], key, at, {}), now, since)

    # Runs.

    def _start(self, customer: Customer, journey: str, fact: Fact, now: datetime, since: datetime) -> None:
        document = self._in_force(journey)
        if fact.at < self._enabled_since(journey) or (journey, fact.key) in customer.used:
            return
        hosts = [
            run
            for run in customer.runs
            if run.journey == journey and run.awaits == "digest" and run.due is not None and fact.at < run.due
        ]
        starts = customer.starts.get(journey, [])
        again = document.get("again", {"kind": "always"})
        if not hosts and starts:
            if again["kind"] == "never":
                return
            if again["kind"] == "after_days" and fact.at < max(starts) + again["days"] * DAY:
                return
        if not all(holds(each, customer, fact, fact.at, since) for each in document.get("when", [])):
            return
        customer.used.add((journey, fact.key))
        if hosts:
            hosts[0].items.append(fact)
            return
        customer.starts.setdefault(journey, []).append(fact.at)
        run = Run(journey, document, fact, fact.at, since, fact.at, _steps("", document["steps"]), spent=customer.spent)
        run.items.append(fact)
        customer.runs.append(run)
        self._advance(customer, run, now, is_new=True)

    def _advance(self, customer: Customer, run: Run, now: datetime, *, is_new: bool = False) -> None:
        """Take one step after the other, until one waits."""
        halted = not is_new and not self._in_force(run.journey)["enabled"]
        while run.todo:
            path, step = run.todo[0]
            waited = run.due is not None
            over = self._wait(customer, run, path, step, now)
            if not over:
                return
            run.due = run.awaits = None
            if waited and halted and run.todo:
                break
            if step["kind"] in {"wait", "wait_for", "digest"}:
                continue
            run.todo.pop(0)
            if not self._act(customer, run, path, step):
                break
        run.state = "done"
        customer.runs.remove(run)

    def _wait(self, customer: Customer, run: Run, path: str, step: Json, now: datetime) -> bool:
        """Whether a step that waits is over; then it is taken off the list. Other steps are over at once."""
        match step["kind"]:
            case "wait" | "digest":
                if run.due is None:
                    is_digest = step["kind"] == "digest"
                    run.due = (
                        run.fell_due + timedelta(hours=step["hours"])
                        if is_digest
                        else after_wait(run.fell_due, customer.zone, step)
                    )
                    run.awaits = "digest" if is_digest else None
                if run.due > now:
                    return False
                run.fell_due = run.due
                run.todo.pop(0)
            case "wait_for":
                until = run.fell_due + step["within_days"] * DAY
                but = run.fact.key if step["type"] == run.fact.type else None
                came = [each for each in customer.times(step["type"], but) if run.fell_due < each <= until]
                if not came and until > now:
                    run.due, run.awaits = until, step["type"]
                    return False
                way = "then" if came else "else"
                run.fell_due = came[0] if came else until
                run.todo[:1] = _steps(f"{path}/{way}/", step.get(way, []))
            case _:
                pass
        return True

    def _act(self, customer: Customer, run: Run, path: str, step: Json) -> bool:
        """Take a step that does not wait; returns whether the run goes on."""
        match step["kind"]:
            case "send":
                if _is_over(customer, run):
                    return False
                count = len(run.items) if run.document["steps"][0]["kind"] == "digest" else 1
                self.sent.append(
                    Sent(customer.id, run.journey, run.fact.key, path, step["template"], run.fell_due, count)
                )
            case "stop_if":
                return not all(holds(each, customer, run.fact, run.fell_due, run.since) for each in step["when"])
            case _:
                arm = self._arm(customer, step, run.fell_due)
                if arm is None:
                    return False
                run.todo[:0] = _steps(f"{path}/{arm}/", step["arms"].get(arm, []))
        return True

    # Experiments.

    def _arm(self, customer: Customer, step: Json, at: datetime) -> str | None:
        pair = step["experiment"], customer.id
        if pair not in self.arms:
            equal = {"id": pair[0], "arms": [{"id": arm} for arm in step["arms"]]}
            self.arms[pair] = _draw(self.key, self.experiments.setdefault(pair[0], equal), customer.id)
            self.exposures.append((pair[0], customer.id, self.arms[pair], at))
            for fact in customer.facts:
                self._convert(customer, fact)
        return self.arms[pair]

    def _convert(self, customer: Customer, fact: Fact) -> None:
        for place, (experiment, owner, _, at) in enumerate(self.exposures):
            goal = self.experiments[experiment].get("goal")
            if owner != customer.id or not goal or goal["type"] != fact.type:
                continue
            if at < fact.at <= at + goal["days"] * DAY:
                self.converted.add(place)


def key_of(arrival: Arrival) -> str:
    """What names an event among those of its customer and type."""
    data = arrival.data
    if arrival.type == PURCHASE:
        return f"order/{data['order_id']}"
    if arrival.type in KEYS:
        return f"review/{data['review_id']}"
    if arrival.type == REGISTERED:
        return "registration"
    if arrival.type == APPROVED:
        return f"referral/{data['referral_id']}"
    return f"event/{arrival.number}"


def _starts(trigger: Json, fact: Fact) -> bool:
    match trigger["on"]:
        case "event":
            return trigger["type"] == fact.type and all(
                field_holds(each, fact.data) for each in trigger.get("where", [])
            )
        case "before" if trigger["what"] == "points_expiry":
            return fact.type == EXPIRING and _days_ahead(fact, "expires_at") == trigger["days"]
        case "before":
            return fact.type == AT_RISK and _days_ahead(fact, "valid_until") == trigger["days"]
        case _:
            return False


def _days_ahead(fact: Fact, name: str) -> int:
    return round((datetime.fromisoformat(fact.data[name]) - fact.at) / DAY)


def _timed(customer: Customer, trigger: Json, now: datetime) -> Sequence[tuple[datetime, datetime, str]]:
    """The instants at which time starts runs, since when things happen in the run, and what names them."""
    if trigger["on"] == "inactivity":
        times = customer.times(trigger["of"])
        if not times:
            return []
        return [(times[-1] + trigger["days"] * DAY, times[-1], f"stretch/{times[-1].isoformat()}")]
    if trigger["on"] != "date":
        return []
    zone, days = customer.zone, trigger.get("days", 0) * DAY
    clock = time.fromisoformat(trigger.get("at", "09:00"))
    bought = customer.times(PURCHASE)
    match trigger["field"]:
        case "birth_date":
            base = customer.birth_date
        case "registered_at":
            base = customer.registered_at and customer.registered_at.astimezone(zone).date()
        case _:
            base = bought[0].astimezone(zone).date() if bought else None
    if base is None:
        return []
    years = [base.year] if trigger["field"] == "first_purchase_at" else range(now.year - 2, now.year + 2)
    # The day of the registration is no anniversary of it.
    is_day_itself = trigger["field"] == "registered_at" and not days
    years = [year for year in years if not (is_day_itself and year == base.year)]
    instants = [(local_instant(yearly(base, year) + days, clock, zone), year) for year in years]
    return [(at, at, f"date/{year}") for at, year in instants if at <= now < at + DAY]


def _steps(prefix: str, steps: Sequence[Json]) -> list[tuple[str, Json]]:
    return [(f"{prefix}{place}", step) for place, step in enumerate(steps)]


def _is_over(customer: Customer, run: Run) -> bool:
    trigger = run.document["trigger"]
    if trigger["on"] != "before" or trigger["what"] != "points_expiry":
        return False
    gone = customer.spent - run.spent
    return min(customer.available, run.fact.data["points"] - gone) <= 0


def _draw(key: bytes, experiment: Json, customer_id: str) -> str | None:
    """The arm by the HMAC of experiment and customer: the first half holds out, the second picks by weight."""
    text = f"{len(experiment['id'])}:{experiment['id']}{customer_id}"
    digest = hmac.new(key, text.encode(), "sha256").digest()
    first, second = (int.from_bytes(half, "big") / 2**128 for half in (digest[:16], digest[16:]))
    if first < experiment.get("holdout", 0):
        return None
    bag = [arm["id"] for arm in experiment["arms"] for _ in range(arm.get("weight", 1))]
    return bag[int(second * len(bag))]
