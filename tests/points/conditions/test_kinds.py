"""Properties of every kind of condition, with an example of each.

Planted and caught here: a kind that no union names; a field without a description; a condition that is not tested on
an event which the linter accepts it for; a condition that quotes do not judge.
"""

from datetime import UTC, datetime
from typing import Any, get_args

import httpx
import pytest

from services.points.rules.program.checking import parse
from services.points.rules.program.conditions.condition import Condition
from services.points.rules.program.document import AnyCondition, Document
from services.points.rules.program.lint import lint
from services.points.rules.program.values import EVENTS, On
from shared.postgres.pool import Pool
from shared.programs.kind import dump
from tests.points.asking import enact
from tests.points.conditions import test_customers, test_feedback, test_lines, test_orders, test_times
from tests.points.conditions.matching import Example, only, why, why_not
from tests.points.conftest import Headers
from tests.points.test_document import refused
from tests.points.written import Json, fixed, rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES: dict[str, type[Condition]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(AnyCondition)[0])
}
EXAMPLES: list[Example] = [
    example
    for module in (test_orders, test_lines, test_customers, test_times, test_feedback)
    for example in module.EXAMPLES
]
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.condition["kind"])


def document(condition: Json, on: str = "purchase") -> Json:
    """A document with one rule and one condition."""
    rates = {"SAR": "0.25"}
    return {"currency": "USD", "rates": rates, "rules": [rule("only", fixed(10), condition, on=on)]}


def test_every_kind_has_an_example_for_every_sort_of_event_that_it_tests_differently():
    shown = {(example.condition["kind"], example.on == "purchase") for example in EXAMPLES}
    assert {kind for kind, _ in shown} == set(CLASSES)
    for kind, condition in CLASSES.items():
        is_of_orders, is_of_others = "purchase" in condition.events, set(condition.events) != {"purchase"}
        assert not is_of_orders or (kind, True) in shown
        assert not is_of_others or (kind, False) in shown


@every_example
def test_an_example_is_accepted_and_kept_as_it_was_written(example: Example):
    [kept] = dump(parse(document(example.condition, example.on)))["rules"][0]["when"]
    assert kept == example.condition


@every_example
def test_no_field_is_optional_and_no_other_field_is_accepted(example: Example):
    for field in example.condition:
        without = {name: value for name, value in example.condition.items() if name != field}
        assert refused(document(without, example.on)) == [f"/rules/0/when/0/{field}"]
    assert refused(document(example.condition | {"extra": 1}, example.on)) == ["/rules/0/when/0/extra"]


@every_example
def test_the_compiled_rule_tests_the_condition(example: Example):
    rules = only(example.condition, on=example.on, rates={"SAR": "0.25"})
    for facts, expected in ((example.satisfied_by, None), (example.failed_by, example.condition["kind"])):
        reason = why(rules, **facts) if example.on == "purchase" else why_not(rules, example.on, **_accrual(facts))
        assert reason == expected


def _accrual(facts: Json) -> Any:
    apart = {name: facts[name] for name in ("tier", "at") if name in facts}
    return apart | {"facts": {name: value for name, value in facts.items() if name not in apart}}


@every_example
@pytest.mark.parametrize("on", EVENTS)
def test_the_linter_warns_on_just_the_events_that_cannot_satisfy_it(example: Example, on: On):
    warnings = lint(parse(document(example.condition, on)), NOW)
    if on in CLASSES[example.condition["kind"]].events:
        assert warnings == []
        return
    [warning] = warnings
    assert warning.pointer == "/rules/0/when/0"
    assert warning.message.startswith("rule only (10 points for ")
    assert "): only " in warning.message
    if on != "purchase":
        assert why_not(only(example.condition, on=on), on, {}) == example.condition["kind"]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_condition_looks_at_lines_where_it_filters_them(kind: str):
    example = next(example for example in EXAMPLES if example.condition["kind"] == kind)
    condition = parse(document(example.condition, example.on)).rules[0].when[0]
    assert (condition.looks_at == "lines") == (condition.line_filter() is not None)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_json_schema_describes_the_condition_and_each_field(kind: str):
    schema = Document.model_json_schema()
    mapping = schema["$defs"]["Rule"]["properties"]["when"]["items"]["discriminator"]["mapping"]
    assert set(mapping) == set(CLASSES)
    described = schema["$defs"][mapping[kind].rpartition("/")[2]]
    assert described["description"]
    assert {name for name, field in described["properties"].items() if not field.get("description")} == set()


async def test_openapi_offers_every_kind(client: httpx.AsyncClient):
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    name = next(name for name, schema in schemas.items() if name.startswith("Rule") and "when" in schema["properties"])
    assert set(schemas[name]["properties"]["when"]["items"]["discriminator"]["mapping"]) == set(CLASSES)


async def test_a_quote_judges_every_kind(client: httpx.AsyncClient, points_pool: Pool, reader: Headers):
    parts = [example.condition for example in EXAMPLES]
    await enact(
        points_pool, *(rule(f"rule-{at}", fixed(1), part) for at, part in enumerate(parts)), rates={"SAR": "0.25"}
    )
    cart: Json = {"currency": "USD", "total": "10.00", "channel": "app"}
    answer = await client.post("/v1/points/quotes", json=cart | {"at": "2026-03-06T12:00:00Z"}, headers=reader)
    reasons = [line.get("why") for line in answer.json()["receipt"]["rules"]]
    assert reasons == [why(only(part), **cart, at=datetime(2026, 3, 6, 12, tzinfo=UTC)) for part in parts]
    assert reasons.count(None) > 5
