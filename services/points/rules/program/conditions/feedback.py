"""Conditions on what customers say and do: reviews, survey answers, activities."""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from services.points.rules.program.conditions.condition import Condition, LintContext, Terms, Test
from services.points.rules.program.extents import NO_END, YES, Extent, Span
from services.points.rules.program.facts import Basket, Facts
from shared.contracts.values import Id


class FactAtLeast(Condition):
    """A condition that compares a number of the event with a minimum; an event without the number fails it."""

    fact: ClassVar[str]
    """The field of `Facts`."""

    @property
    @abstractmethod
    def least(self) -> int:
        """The minimum."""

    def test(self, terms: Terms) -> Test:
        index, least = Facts._fields.index(self.fact), self.least

        def holds(facts: Facts, _: Basket) -> bool:
            value: Any = facts[index]
            return value is not None and value >= least

        return holds

    def extent(self, terms: Terms) -> Extent:
        return Span(self.least, NO_END)


class RatingAtLeast(FactAtLeast):
    """The review gives at least `rating` stars."""

    events = ("review",)
    subject = "a rating"
    everything = Span(1, NO_END)
    fact = "rating"

    kind: Literal["rating_at_least"]
    rating: Annotated[int, Field(strict=True, ge=1, le=5, description="The fewest stars.")]

    @property
    def least(self) -> int:
        return self.rating


class TextLengthAtLeast(FactAtLeast):
    """The text of the review has at least `length` characters."""

    events = ("review",)
    subject = "a text"
    fact = "text_length"

    kind: Literal["text_length_at_least"]
    length: Annotated[int, Field(strict=True, ge=0, le=10**6, description="The fewest characters.")]

    @property
    def least(self) -> int:
        return self.length


class VerifiedPurchase(Condition):
    """The reviewer is known to have bought the product."""

    events = ("review",)
    subject = "a verified purchase behind them"

    kind: Literal["verified_purchase"]

    def test(self, terms: Terms) -> Test:
        return lambda facts, _: facts.verified

    def extent(self, terms: Terms) -> Extent:
        return YES


class HasPhoto(Condition):
    """The review has at least one photo."""

    events = ("review",)
    subject = "photos"

    kind: Literal["has_photo"]

    def test(self, terms: Terms) -> Test:
        return lambda facts, _: bool(facts.photo_count)

    def extent(self, terms: Terms) -> Extent:
        return YES


class ActivityIs(Condition):
    """The customer performed this activity."""

    events = ("activity",)
    subject = "an activity's name"
    noun = "activity"

    kind: Literal["activity_is"]
    activity: Annotated[Id, Field(description="The name of the activity.")]

    def test(self, terms: Terms) -> Test:
        activity = self.activity
        return lambda facts, _: facts.activity == activity

    def extent(self, terms: Terms) -> Extent:
        return frozenset({self.activity})


class SurveyIs(Condition):
    """The customer answered this kind of survey."""

    events = ("survey",)
    subject = "a kind of survey"
    noun = "survey"

    kind: Literal["survey_is"]
    survey: Annotated[Literal["nps", "csat"], Field(description="The kind of survey.")]

    def test(self, terms: Terms) -> Test:
        survey = self.survey
        return lambda facts, _: facts.survey == survey

    def extent(self, terms: Terms) -> Extent:
        return frozenset({self.survey})


class ScoreAtLeast(FactAtLeast):
    """The survey answer has at least this score."""

    events = ("survey",)
    subject = "a score"
    everything = Span(0, NO_END)
    fact = "score"

    kind: Literal["score_at_least"]
    score: Annotated[int, Field(strict=True, ge=0, le=10, description="The lowest score; of csat it is 1 to 5.")]

    @property
    def least(self) -> int:
        return self.score

    def doubt(self, context: LintContext) -> str | None:
        is_csat = any(isinstance(other, SurveyIs) and other.survey == "csat" for other in context.conditions)
        return "a csat score is 5 at most: the rule never matches" if is_csat and self.score > 5 else None


FeedbackCondition = (
    RatingAtLeast | TextLengthAtLeast | VerifiedPurchase | HasPhoto | ActivityIs | SurveyIs | ScoreAtLeast
)
