"""Values of fields that the contract does not allow, and the maximum depth of JSON."""

import json

import pytest

from shared.contracts.envelope import Record
from shared.contracts.loyalty import TierAtRisk
from shared.contracts.reasons import Reason
from tests.contracts.records import ACTIVITY, PURCHASE, REFUND, STRUCTURED, about, read, record, refusal, structured

REVIEW = "shop.review.published.v1"
SURVEY = "shop.survey.answered.v1"
UPDATE = "shop.customer.updated.v1"
PROMOTED = "loyalty.tier.promoted.v1"


def with_property(raw: str) -> Record:
    """An activity with a property of raw JSON."""
    text = json.dumps(about(ACTIVITY, properties={"a": "<raw>"})).replace('"<raw>"', raw)
    return record(text.encode(), STRUCTURED, topic="shop.activities")


IDS = ["", ".", "..", "a/b", "a\x00", "a\n", "a\x7f", "a\x9f", "\ud800", "x" * 129, 7, 7.0, True, [], {}]


@pytest.mark.parametrize("value", IDS)
@pytest.mark.parametrize("field", ["order_id", "customer_id"])
def test_bad_ids(field: str, value: object):
    error = refusal(structured(about(**{field: value}), key=b"c-1042"))
    assert error.reason is Reason.BAD_FIELD
    assert error.detail.startswith(f"data.{field}: ")


@pytest.mark.parametrize(
    ("type_", "field", "value"),
    [
        (PURCHASE, "currency", "usd"),
        (PURCHASE, "currency", "US"),
        (PURCHASE, "currency", "ＵＳＤ"),
        (PURCHASE, "lines", {}),
        (PURCHASE, "lines", "12"),
        (PURCHASE, "lines", [None]),
        (PURCHASE, "lines", [[]]),
        (PURCHASE, "coupon_codes", [1]),
        (PURCHASE, "coupon_codes", ["x"] * 101),
        (PURCHASE, "channel", "a\x00"),
        (PURCHASE, "channel", "\udfff"),
        (PURCHASE, "channel", "x" * 10_001),
        (REFUND, "amount", -1),
        (REFUND, "amount", "-1"),
        (REVIEW, "rating", 0),
        (REVIEW, "rating", 6),
        (REVIEW, "rating", "5"),
        (REVIEW, "rating", 4.5),
        (REVIEW, "rating", True),
        (REVIEW, "verified_purchase", "true"),
        (REVIEW, "verified_purchase", 1),
        (REVIEW, "photo_count", -1),
        (REVIEW, "photo_count", 10**12),
        (SURVEY, "survey", "ces"),
        (SURVEY, "score", 11),
        (SURVEY, "score", -1),
        (UPDATE, "birth_date", "2024-02-30"),
        (UPDATE, "birth_date", "1991-3-8"),
        (UPDATE, "birth_date", "1991-03-08T00:00:00Z"),
        (UPDATE, "birth_date", 0),
        (UPDATE, "time_zone", "Mars/Olympus"),
        (UPDATE, "time_zone", "localtime"),
        (UPDATE, "time_zone", "../Asia/Amman"),
        (UPDATE, "time_zone", "America"),
        (UPDATE, "time_zone", ""),
        (UPDATE, "locale", "a"),
        (UPDATE, "locale", "en-"),
        (UPDATE, "locale", "العربية"),
        (UPDATE, "marketing_consent", True),
        (UPDATE, "marketing_consent", {"email": "yes"}),
        (PROMOTED, "timeline", []),
        (ACTIVITY, "properties", []),
        (ACTIVITY, "properties", {"a": "\x00"}),
        (ACTIVITY, "properties", {"a": ["\ud800"]}),
        (ACTIVITY, "properties", {"\x00": 1}),
        (ACTIVITY, "properties", {"a": {"\ud800": 1}}),
    ],
)
def test_bad_fields(type_: str, field: str, value: object):
    error = refusal(structured(about(type_, **{field: value})))
    assert error.reason is Reason.BAD_FIELD
    assert error.detail.startswith(f"data.{field}")


def test_a_warning_of_a_tier_at_risk_needs_no_timeline():
    data = read(structured(about("loyalty.tier.at_risk.v1", timeline=[], needs=...))).data
    assert isinstance(data, TierAtRisk)
    assert (data.timeline, data.needs) == ((), None)


def test_a_csat_score_runs_from_one_to_five():
    assert read(structured(about(SURVEY, survey="csat", score=5))).type == SURVEY
    for score in (0, 6):
        assert refusal(structured(about(SURVEY, survey="csat", score=score))).reason is Reason.BAD_FIELD


@pytest.mark.parametrize("raw", ["1e999", "-1e999", "[1e400]"])
def test_a_number_that_reads_as_infinity(raw: str):
    assert refusal(with_property(raw)).reason is Reason.BAD_FIELD


@pytest.mark.parametrize("raw", ["1e308", "0.1", "1" * 4000, "true", "null", '"نص"'])
def test_any_other_property_is_kept(raw: str):
    assert json.dumps(read(with_property(raw)).data.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("levels", "reason"),
    [(33, Reason.BAD_FIELD), (900, Reason.BAD_FIELD), (100_000, Reason.NOT_JSON)],
)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_nested_too_deep(levels: int, reason: Reason, opening: str, closing: str):
    inner = "1"
    assert refusal(with_property(opening * levels + inner + closing * levels)).reason is reason


def test_properties_may_be_nested_thirty_two_levels_deep():
    assert read(with_property("[" * 31 + "]" * 31)).type == ACTIVITY


def test_a_deep_value_with_a_lone_surrogate_is_refused_without_a_stack_overflow():
    for levels in (300, 900, 100_000):
        error = refusal(with_property("[" * levels + '"\\ud800"' + "]" * levels))
        assert error.reason in {Reason.BAD_FIELD, Reason.NOT_JSON}
