"""Random journeys."""

from random import Random

from tests.notifications.oracles.happening import APPROVED, EARNED, EXPIRING, PURCHASE, REVIEW, Json

TIERS = ("silver", "gold")
LOCALES = ("en", "ar", "ar-SA", "de-DE")
COUNTRIES = ("SA", "DE", "US")
TYPES = (PURCHASE, REVIEW, EARNED, APPROVED)
EXPERIMENTS = ("e-declared", "e-held", "e-named")
ARMS = ("control", "bonus")
CLOCKS = ("00:00", "02:30", "03:15", "09:00", "21:30", "23:59")

NAMES: Json = {
    "name": {"en": "Names"},
    "enabled": False,
    "trigger": {"on": "event", "type": PURCHASE},
    "steps": [{"kind": "stop_if", "when": [{"kind": "happened", "type": each} for each in TYPES]}],
}
"""It starts nothing: of the types that a journey names, the product knows what happened from then on."""


def journey(random: Random, *, timed: bool = False) -> Json:
    """A document; `timed`: started by time."""
    trigger = _timed(random) if timed else _by_event(random)
    steps = _steps(random, depth=2)
    if not timed and random.random() < 0.25:
        steps.insert(0, {"kind": "digest", "hours": random.choice([1, 24, 72])})
    return {
        "name": {"en": "Random"},
        "enabled": True,
        "trigger": trigger,
        "when": [_condition(random, in_steps=False) for _ in range(random.choice([0, 0, 0, 1, 2]))],
        "again": random.choice(
            [{"kind": "always"}] * 3 + [{"kind": "never"}, {"kind": "after_days", "days": random.choice([1, 5, 20])}]
        ),
        "steps": steps,
    }


def _by_event(random: Random) -> Json:
    if random.random() < 0.15:
        what = random.choice(["points_expiry", "points_expiry", "tier_end"])
        return {"on": "before", "what": what, "days": random.choice([7, 30])}
    type_ = random.choice([PURCHASE, PURCHASE, *TYPES, EXPIRING])
    where = []
    if type_ == PURCHASE and random.random() < 0.4:
        where = [_field(random)]
    if type_ == APPROVED and random.random() < 0.5:
        where = [{"path": "role", "op": "eq", "value": "friend"}]
    return {"on": "event", "type": type_, "where": where}


def _field(random: Random) -> Json:
    return random.choice(
        [
            {"path": "total", "op": random.choice(["lt", "lte", "gt", "gte", "eq", "ne"]), "value": "50.0"},
            {"path": "total", "op": "gte", "value": 9},
            {"path": "channel", "op": random.choice(["eq", "ne"]), "value": "web"},
            {"path": "channel", "op": "exists", "value": random.choice([True, False])},
            {"path": "channel", "op": "in", "value": ["web", "app"]},
            {"path": "store_id", "op": "ne", "value": "none"},
        ]
    )


def _timed(random: Random) -> Json:
    if random.random() < 0.5:
        return {"on": "inactivity", "of": random.choice([PURCHASE, REVIEW]), "days": random.choice([1, 3, 10])}
    field = random.choice(["birth_date", "registered_at", "first_purchase_at"])
    days = random.choice([0, 0, 2, 7]) if field != "birth_date" else random.choice([0, -3, 1])
    return {"on": "date", "field": field, "days": days, "at": random.choice(CLOCKS)}


def _condition(random: Random, *, in_steps: bool) -> Json:
    conditions: list[Json] = [
        {"kind": "tier_in", "values": random.sample(TIERS, random.choice([1, 2]))},
        {"kind": "points_at_least", "points": random.choice([50, 100])},
        {"kind": "locale_in", "values": [random.choice(["ar", "en", "de-DE", "AR-sa"])]},
        {"kind": "country_in", "values": random.sample(COUNTRIES, 2)},
        {"kind": "purchases_at_least", "count": random.choice([1, 2, 3]), "days": random.choice([2, 10, 60])},
        {"kind": "no_purchase_for", "days": random.choice([1, 5, 20])},
        {"kind": "field", **_field(random)},
        {"kind": "happened", "type": random.choice(TYPES), "within_days": random.choice([1, 5, 30])},
    ]
    if in_steps:
        conditions += [{"kind": "happened", "type": each} for each in TYPES]
    return random.choice(conditions)


def _steps(random: Random, *, depth: int) -> list[Json]:
    return [_step(random, depth) for _ in range(random.choice([1, 2, 3]))]


def _step(random: Random, depth: int) -> Json:
    kinds = ["send", "send", "wait", "wait", "stop_if"] + ["wait_for", "split"] * (depth > 0)
    match random.choice(kinds):
        case "send":
            template = random.choice(["t1", "t2"])
            return {"kind": "send", "template": template, "channels": ["email"], "mode": "first"}
        case "wait":
            parts = {"days": random.choice([1, 2, 9]), "hours": random.choice([1, 12, 30]), "at": random.choice(CLOCKS)}
            names = random.sample(list(parts), random.choice([1, 1, 2, 3]))
            return {"kind": "wait", **{name: parts[name] for name in names}}
        case "stop_if":
            return {"kind": "stop_if", "when": [_condition(random, in_steps=True)]}
        case "wait_for":
            return {
                "kind": "wait_for",
                "type": random.choice(TYPES),
                "within_days": random.choice([1, 4]),
                "then": _steps(random, depth=depth - 1)[: random.choice([0, 2])],
                "else": _steps(random, depth=depth - 1)[: random.choice([0, 2])],
            }
        case _:
            return {
                "kind": "split",
                "experiment": random.choice(EXPERIMENTS),
                "arms": {arm: _steps(random, depth=depth - 1)[: random.choice([0, 1, 2])] for arm in ARMS},
            }
