"""The documents of the contract are current and complete, and agree with the models."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from shared.contracts import generate, topics
from shared.contracts.documents import schemas
from shared.contracts.documents.asyncapi import document
from shared.contracts.documents.page import page
from shared.contracts.envelope import Cause, decode, publication
from shared.contracts.examples import EXAMPLES
from shared.contracts.reasons import Malformed, Reason
from shared.contracts.registry import TYPES, EventType
from shared.contracts.shop import EventData
from shared.contracts.values import Id
from tests.contracts.records import EVERY_TYPE, changed, read, structured


def accepts(schema: dict[str, Any], instance: object) -> bool:
    return jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(instance)


def test_the_committed_documents_are_current():
    assert generate.stale() == [], "run `python -m shared.contracts.generate` and commit what it wrote"


def test_the_same_contract_gives_the_same_documents_in_another_process():
    program = "from shared.contracts.generate import documents; print(documents())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(generate.ROOT)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_writing_replaces_stale_adds_missing_and_removes_extra_documents(tmp_path: Path):
    assert set(generate.write(tmp_path)) == set(generate.documents())
    assert generate.stale(tmp_path) == []
    edited, missing = generate.SCHEMAS / "cloudevent.json", generate.SCHEMAS / "asyncapi.json"
    left_over = generate.SCHEMAS / "shop.purchase.lost.v1.json"
    (tmp_path / edited).write_text("{}")
    (tmp_path / missing).unlink()
    (tmp_path / left_over).write_text("{}")
    assert set(generate.stale(tmp_path)) == {edited, missing, left_over}
    assert set(generate.write(tmp_path)) == {edited, missing, left_over}
    assert generate.stale(tmp_path) == []
    assert not (tmp_path / left_over).exists()


def test_every_type_has_an_example_in_the_order_of_the_registry():
    assert list(EXAMPLES) == list(TYPES)


def test_examples_have_unique_ids():
    ids = [(example.source, example.id) for example in EXAMPLES.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("type_", TYPES)
def test_every_example_is_an_event_and_fits_its_schemas(type_: str):
    event = EXAMPLES[type_].envelope()
    assert read(structured(event)).type == type_
    assert accepts(schemas.of_envelope(), event)
    assert accepts(schemas.of_data(TYPES[type_]), event["data"])


@pytest.mark.parametrize("type_", [type_ for type_ in TYPES if TYPES[type_].topic in topics.LOYALTY])
def test_events_published_by_wafa_carry_their_causes(type_: str):
    assert {"correlationid", "causationid"} <= EXAMPLES[type_].envelope().keys()


@pytest.mark.parametrize("type_", TYPES)
def test_schemas_are_valid_json_schema_2020_12(type_: str):
    schema = schemas.of_data(TYPES[type_])
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == type_
    assert schema["x-topic"] == TYPES[type_].topic


STRANGE: list[object] = [
    *(..., None, "", ".", "a/b", "a\x00", "x" * 129, "USD", "usd", "1.50", "1.50000", "-1", "1e3"),
    *(0, 1, -1, 5, 6, 10**12, 1.5, True, [], {}, [None], [{}], {"kind": "gift"}),
    *("2026-03-14T10:26:53Z", "2026-03-14", "2026-02-30", "ar", "e"),
]


def _disagreements(type_: str) -> list[tuple[str, object, bool]]:
    """The (field, value, whether the model accepts it) on which schema and model disagree."""
    schema = jsonschema_rs.validator_for(schemas.of_data(TYPES[type_]), validate_formats=True)
    disagreements = []
    for name in TYPES[type_].model.model_json_schema()["properties"]:
        for value in STRANGE:
            altered = changed(EXAMPLES[type_].data, {name: value})
            by_model, by_schema = _model_takes(type_, altered), schema.is_valid(altered)
            if by_model != by_schema:
                disagreements.append((name, value, by_model))
    return disagreements


def _model_takes(type_: str, data: dict[str, Any]) -> bool:
    event = EXAMPLES[type_].envelope() | {"data": data, "subject": None}
    try:
        decode(structured(event), EVERY_TYPE)
    except Malformed as error:
        return error.reason in {Reason.LINES_DO_NOT_ADD_UP, Reason.KEY_MISMATCH}
    return True


@pytest.mark.parametrize("type_", [type_ for type_ in TYPES if TYPES[type_].topic in topics.SHOP])
def test_schema_and_model_agree_on_what_backends_may_send(type_: str):
    # A schema cannot look up time zones in the IANA database. The models also accept null for a list of lines or
    # coupons, which the contract does not mention.
    exceptions = {
        *(("time_zone", value, False) for value in STRANGE if isinstance(value, str)),
        *((name, None, True) for name in ("lines", "coupon_codes")),
    }
    assert [disagreement for disagreement in _disagreements(type_) if _hashable(disagreement) not in exceptions] == []


def _hashable(disagreement: tuple[str, object, bool]) -> object:
    return (
        disagreement
        if isinstance(disagreement[1], str | None)
        else (disagreement[0], repr(disagreement[1]), disagreement[2])
    )


@pytest.mark.parametrize("type_", [type_ for type_ in TYPES if TYPES[type_].topic in topics.LOYALTY])
def test_schemas_of_published_events_allow_no_more_than_the_models(type_: str):
    # The model reads null as absent where a field is optional; Wafa never publishes it.
    assert [disagreement for disagreement in _disagreements(type_) if disagreement[1:] != (None, True)] == []


@pytest.mark.parametrize("type_", TYPES)
def test_every_field_has_a_description_and_every_value_type_is_named_by_the_contract(type_: str):
    schema = schemas.of_data(TYPES[type_])
    parts = {name: part for name, part in schema["$defs"].items() if "properties" in part}
    for part in (schema, *parts.values()):
        assert [name for name, field in part["properties"].items() if not field["description"].endswith(".")] == []
    values = {name: part for name, part in schema["$defs"].items() if name not in parts}
    assert values == {name: schemas.VALUES[name] for name in values}


def test_a_field_without_a_description_is_refused():
    class Undescribed(EventData):
        order_id: Id

    with pytest.raises(KeyError, match="description"):
        schemas.of_data(EventType("shop.order.lost.v1", topics.PURCHASES, Undescribed, "An order was lost."))


def test_every_value_type_and_every_reason_has_a_description():
    assert all(value["description"].endswith(".") for value in schemas.VALUES.values())
    assert all(reason.meaning.endswith(".") for reason in Reason)


def test_a_type_that_is_not_published_yet_is_marked_everywhere():
    messages = document()["components"]["messages"]
    for event in TYPES.values():
        marks = (
            schemas.of_data(event).get("x-not-yet-published", False),
            schemas.of_data(event)["description"].startswith("Not yet published. "),
            messages[event.name].get("x-not-yet-published", False),
            messages[event.name]["summary"].startswith("Not yet published. "),
            f"### {event.name}\nNot yet published. " in page(),
        )
        assert marks == (not event.is_published,) * 5


def test_only_types_of_the_contract_are_published():
    unknown = "loyalty.message.read.v1"
    with pytest.raises(KeyError, match=unknown.replace(".", r"\.")):
        publication(unknown, datetime.now(UTC), {"customer_id": "c"}, Cause("e-1", "e-1"), "/wafa/test")


def test_asyncapi_has_every_topic_and_every_type_on_its_topic():
    asyncapi = document()
    assert list(asyncapi["channels"]) == list(topics.ALL)
    for topic, channel in asyncapi["channels"].items():
        assert set(channel["messages"]) == {name for name, event in TYPES.items() if event.topic == topic}
    actions = {operation["channel"]["$ref"]: operation["action"] for operation in asyncapi["operations"].values()}
    assert actions == {
        **{f"#/channels/{topic}": "receive" for topic in topics.SHOP},
        **{f"#/channels/{topic}": "send" for topic in topics.LOYALTY},
    }


def test_every_reference_in_asyncapi_resolves():
    asyncapi, files = document(), generate.documents()
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(asyncapi)))
    for reference in references:
        if reference.startswith("#/"):
            place: Any = asyncapi
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]
        else:
            assert generate.SCHEMAS / reference.removeprefix("./") in files
    assert len(references) > len(TYPES) * 2


def test_the_page_covers_what_a_backend_needs():
    text = page()
    assert "<<" not in text
    for name in (*TYPES, *topics.ALL, *Reason, *schemas.VALUES):
        assert name in text
    headings = {line.lstrip("# ") for line in text.splitlines() if line.startswith("#")}
    assert {"Envelope", "Topics and types", "Duplicates and natural keys", "Dead letters", "Refunds"} <= headings


def test_the_examples_on_the_page_are_events():
    blocks = re.findall(r"```json\n(.*?)\n```", page(), flags=re.DOTALL)
    assert [json.loads(block) for block in blocks] == [EXAMPLES[type_].envelope() for type_ in TYPES]


def test_links_within_the_page_resolve():
    text = page()
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    anchors = {re.sub(r"[^\w-]", "", heading.replace(" ", "-")) for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_check_fails_when_a_document_is_stale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(generate, "stale", lambda: [Path("docs/events.md")])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/events.md\n"
    monkeypatch.setattr(generate, "stale", list)
    assert generate.main(["--check"]) == 0
