"""Conditions on reviews, activities and survey answers at their edges; and on events that lack what they look at.

Planted and caught here: an unknown rating that counts as 0.
"""

import pytest

from services.points.rules.program.values import On
from tests.points.conditions.matching import Example, only, why, why_not
from tests.points.written import Json, at_least, is_in

RATING: Json = {"kind": "rating_at_least", "rating": 4}
LENGTH: Json = {"kind": "text_length_at_least", "length": 100}
VERIFIED: Json = {"kind": "verified_purchase"}
PHOTO: Json = {"kind": "has_photo"}
QUIZ: Json = {"kind": "activity_is", "activity": "quiz"}
NPS: Json = {"kind": "survey_is", "survey": "nps"}
SCORE: Json = {"kind": "score_at_least", "score": 9}

EXAMPLES = [
    Example(RATING, "review", {"rating": 4}, {"rating": 3}),
    Example(LENGTH, "review", {"text_length": 100}, {"text_length": 99}),
    Example(VERIFIED, "review", {"verified": True}, {"verified": False}),
    Example(PHOTO, "review", {"photo_count": 1}, {"photo_count": 0}),
    Example(QUIZ, "activity", {"activity": "quiz"}, {"activity": "Quiz"}),
    Example(NPS, "survey", {"survey": "nps", "score": 0}, {"survey": "csat", "score": 5}),
    Example(SCORE, "survey", {"survey": "nps", "score": 9}, {"survey": "nps", "score": 8}),
]


@pytest.mark.parametrize(
    "on, condition, facts, expected",
    [
        ("review", RATING | {"rating": 1}, {}, False),
        ("review", VERIFIED, {}, False),
        ("review", LENGTH | {"length": 0}, {"text_length": 0}, True),
        ("review", LENGTH | {"length": 0}, {}, False),
        ("review", PHOTO, {}, False),
        ("survey", SCORE | {"score": 0}, {"survey": "nps", "score": 0}, True),
        # A condition does not hold on an event that lacks what it looks at.
        ("review", is_in("channel", "web"), {}, False),
        ("review", is_in("store", "web"), {}, False),
        ("review", is_in("currency", "USD"), {}, False),
        ("review", {"kind": "first_purchase"}, {}, False),
        ("review", {"kind": "every_nth_purchase", "n": 1}, {}, False),
        ("registration", SCORE | {"score": 0}, {}, False),
        ("birthday", QUIZ, {}, False),
        ("referral", at_least("0.01"), {}, False),
    ],
)
def test_a_fact_that_is_missing_satisfies_nothing(on: On, condition: Json, facts: Json, expected: bool):
    assert why_not(only(condition, on=on), on, facts) == (None if expected else condition["kind"])


@pytest.mark.parametrize("condition", [RATING, LENGTH, SCORE])
def test_an_order_has_no_rating_text_or_score(condition: Json):
    assert why(only(condition)) == condition["kind"]
