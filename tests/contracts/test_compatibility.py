"""No change breaks a reader of a committed schema, and the check detects planted breaks."""

import copy
import itertools
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from shared.contracts import generate
from shared.contracts.documents import schemas
from shared.contracts.documents.compatibility import breaks
from shared.contracts.registry import TYPES
from shared.contracts.topics import LOYALTY

Schema = dict[str, Any]


def current() -> dict[str, Schema]:
    """The current schemas, by file name."""
    of_types = {f"{name}.json": schemas.of_data(event) for name, event in TYPES.items()}
    return of_types | {"cloudevent.json": schemas.of_envelope()}


def is_published(schema: Schema) -> bool:
    """Whether Wafa publishes what the schema describes: loyalty events, unless marked otherwise, and their envelope."""
    return schema.get("x-topic", LOYALTY[0]) in LOYALTY and not schema.get("x-not-yet-published", False)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(generate.ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def baselines() -> list[str]:
    """The last two commits (the second checks what was just committed), and every release."""
    try:
        commits = git("rev-list", "--max-count=2", "--first-parent", "HEAD").split()
        return commits + git("tag", "--list", "v*").split()
    except (OSError, subprocess.CalledProcessError):
        return []


def committed(commit: str) -> Iterator[tuple[str, Schema]]:
    """The schemas of a commit, as (file name, schema)."""
    for line in git("ls-tree", commit, f"{generate.SCHEMAS}/").splitlines():
        blob, path = line.split()[2:]
        if not path.endswith("asyncapi.json"):
            yield path.rpartition("/")[2], json.loads(git("cat-file", "blob", blob))


@pytest.mark.skipif(not baselines(), reason="no git history here to compare with")
def test_no_committed_schema_is_broken():
    now, violations = current(), set[str]()
    for name, old in itertools.chain.from_iterable(map(committed, baselines())):
        if name not in now:
            violations.add(f"{name}: the type is gone")
        elif old != now[name]:
            violations |= {f"{name}: {line}" for line in breaks(old, now[name], published=is_published(old))}
    assert violations == set(), "add a new type (….v2) beside the old one"


def test_only_what_nobody_publishes_yet_may_allow_more():
    old = schemas.of_data(TYPES[TIER])
    new = copy.deepcopy(old)
    del new["properties"]["timeline"]["minItems"]
    assert breaks(old, new, published=is_published(old))
    assert breaks(old, new, published=is_published(old | {"x-not-yet-published": True})) == []


@pytest.mark.parametrize("name", current())
def test_a_schema_is_compatible_with_itself(name: str):
    schema = current()[name]
    assert breaks(schema, copy.deepcopy(schema), published=is_published(schema)) == []


PURCHASE = "shop.purchase.completed.v1"
EARNED = "loyalty.points.earned.v1"
TIER = "loyalty.tier.promoted.v1"


def planted(type_: str, **changes: Any) -> tuple[Schema, Schema]:
    """A type's schema and a changed one: `a__b` is the path a → b; `...` deletes, a function alters."""
    old = schemas.of_data(TYPES[type_])
    new = copy.deepcopy(old)
    for path, value in changes.items():
        *steps, last = path.split("__")
        place: Any = new
        for step in steps:
            place = place["$defs" if step == "defs" else step]
        if value is ...:
            del place[last]
        else:
            place[last] = value(place.get(last)) if callable(value) else value
    return old, new


def without(name: str) -> Any:
    return lambda names: [other for other in names if other != name]


def with_(name: str) -> Any:
    return lambda names: [*names, name]


BREAKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a field is removed": (PURCHASE, {"properties__channel": ...}, "removed: data.channel"),
    "a field of a line is removed": (
        PURCHASE,
        {"defs__Line__properties__category": ...},
        "removed: data.lines[].category",
    ),
    "a field is renamed": (
        EARNED,
        {"properties__points": ..., "properties__amount": {"type": "integer"}},
        "removed: data.points",
    ),
    "a field that nobody had to send becomes required": (
        PURCHASE,
        {"required": with_("channel")},
        "data.channel: is required",
    ),
    "a new field is required": (
        PURCHASE,
        {"properties__till": {"type": "string"}, "required": with_("till")},
        "data.till: is required",
    ),
    "a field of a line becomes required": (
        PURCHASE,
        {"defs__Line__required": with_("category")},
        "data.lines[].category: is required",
    ),
    "a required field of what is published becomes optional": (
        EARNED,
        {"required": without("points")},
        "readers do not expect: data.points: is required and may be absent",
    ),
    "a new field of what is published is required": (
        EARNED,
        {"properties__till": {"type": "string"}, "required": with_("till")},
        "no longer accepted: data.till: is required",
    ),
    "another type": (PURCHASE, {"properties__total": {"type": "number"}}, "data.total: type 'string' is not 'number'"),
    "an integer becomes a number": (EARNED, {"properties__points__type": "number"}, "type 'number' is not 'integer'"),
    "a list becomes one": (PURCHASE, {"properties__lines": {"$ref": "#/$defs/Line"}}, "data.lines: "),
    "the items are others": (
        PURCHASE,
        {"properties__coupon_codes__items": {"type": "integer"}},
        "data.coupon_codes[]: type 'string' is not 'integer'",
    ),
    "null is no longer taken": (
        PURCHASE,
        {"properties__channel": {"$ref": "#/$defs/text"}},
        "data.channel: type 'null' is not 'string'",
    ),
    "null is published": (
        EARNED,
        {"properties__expires_at": {"anyOf": [{"$ref": "#/$defs/instant"}, {"type": "null"}]}},
        "readers do not expect: data.expires_at: ",
    ),
    "an alternative is gone": (
        PURCHASE,
        {"defs__Line__properties__quantity": {"$ref": "#/$defs/whole_number"}},
        "data.lines[].quantity: ",
    ),
    "an enum is narrowed": (
        "shop.survey.answered.v1",
        {"properties__survey__enum": ["nps"]},
        "no longer accepted: data.survey: 'csat' is not among the values ['nps']",
    ),
    "an enum of what is published is widened": (
        EARNED,
        {"defs__PointsReason__properties__kind__enum": with_("gift")},
        "readers do not expect: data.reason.kind: 'gift' is not among the values",
    ),
    "an enum of what is published is narrowed": (
        EARNED,
        {"defs__PointsReason__properties__kind__enum": without("birthday")},
        "no longer accepted: data.reason.kind: 'birthday' is not among the values",
    ),
    "an enum is dropped from what is published": (
        EARNED,
        {"defs__PointsReason__properties__kind__enum": ...},
        "readers do not expect: data.reason.kind: any value is not among the values",
    ),
    "any text becomes one of a few": (
        PURCHASE,
        {"properties__channel": {"type": "string", "enum": ["web"]}},
        "data.channel: ",
    ),
    "a maximum is lowered": (
        PURCHASE,
        {"properties__lines__maxItems": 100},
        "data.lines: maxItems 10000 goes beyond 100",
    ),
    "a maximum is set": (EARNED, {"properties__points__maximum": 9}, "data.points: maximum None goes beyond 9"),
    "a minimum is raised": (PURCHASE, {"defs__id__minLength": 2}, "minLength 1 goes beyond 2"),
    "a bound of what is published is dropped": (
        EARNED,
        {"properties__points__exclusiveMinimum": ...},
        "readers do not expect: data.points: exclusiveMinimum None goes beyond 0",
    ),
    "a pattern is changed": (PURCHASE, {"defs__money__pattern": "^[0-9]+$"}, "data.total: pattern "),
    "a format is set": (PURCHASE, {"defs__text__format": "uri"}, "format None is not 'uri'"),
    "no other fields are allowed": (
        PURCHASE,
        {"additionalProperties": False},
        "additionalProperties None is not False",
    ),
    "a keyword that the check does not know is set": (PURCHASE, {"minProperties": 9}, "minProperties None is not 9"),
    "the topic is another": (TIER, {"x-topic": "loyalty.points"}, "x-topic"),
    "a field deep inside is removed": (
        TIER,
        {"defs__Progress__properties__metric": ...},
        "removed: data.progress.metric",
    ),
}


@pytest.mark.parametrize(("type_", "changes", "said"), BREAKS.values(), ids=BREAKS.keys())
def test_a_breaking_change_is_detected(type_: str, changes: dict[str, Any], said: str):
    old, new = planted(type_, **changes)
    violations = breaks(old, new, published=is_published(old))
    assert any(said in line for line in violations), violations


FINE: dict[str, tuple[str, dict[str, Any]]] = {
    "an optional field is added": (PURCHASE, {"properties__till": {"type": "string"}}),
    "an optional field is added to a line": (PURCHASE, {"defs__Line__properties__weight": {"type": "integer"}}),
    "an optional field is added to what is published": (EARNED, {"properties__till": {"$ref": "#/$defs/id"}}),
    "an optional field is added to a part of what is published": (
        EARNED,
        {"defs__PointsReason__properties__game_id": {"$ref": "#/$defs/id"}},
    ),
    "what backends had to send becomes optional": (PURCHASE, {"required": without("currency")}),
    "an enum of what backends send is widened": ("shop.survey.answered.v1", {"properties__survey__enum": with_("ces")}),
    "a maximum of what backends send is raised": (PURCHASE, {"properties__lines__maxItems": 20_000}),
    "a maximum of what backends send is dropped": (PURCHASE, {"properties__lines__maxItems": ...}),
    "an alternative is added to what backends send": (
        PURCHASE,
        {"properties__total": {"anyOf": [{"$ref": "#/$defs/money"}, {"type": "integer"}]}},
    ),
    "null is taken from backends": (
        PURCHASE,
        {"properties__total": {"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]}},
    ),
    "a part is written out instead of referred to": (
        PURCHASE,
        {"properties__lines__items": schemas.of_data(TYPES[PURCHASE])["$defs"]["Line"]},
    ),
    "words are changed": (EARNED, {"title": "x", "description": "y", "properties__points__description": "z"}),
}


@pytest.mark.parametrize(("type_", "changes"), FINE.values(), ids=FINE.keys())
def test_a_compatible_change_is_accepted(type_: str, changes: dict[str, Any]):
    old, new = planted(type_, **changes)
    assert breaks(old, new, published=is_published(old)) == []


def test_keywords_beside_alternatives_apply_to_each():
    old = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    new = copy.deepcopy(old)
    new["properties"]["a"]["maxLength"] = 3
    assert breaks(old, new, published=False) != []
