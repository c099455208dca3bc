"""Experiments: what is compared, and the results."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from services.notifications.rules.experiment import statistics
from services.notifications.rules.experiment.arms import Arm, Experiment, Goal
from services.notifications.rules.experiment.statistics import Interval, Sample
from services.notifications.rules.journey.triggers import NAMEABLE
from services.notifications.store import experiments
from services.notifications.store.experiments import Stored
from shared.http.auth import Principal, Scope, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool
from shared.programs.routes import DocumentId

_PATH: Final = "/v1/experiments"
_NEWEST: Final = 2**63 - 1
_MAX_ARMS: Final = 10
_READERS: Final = [Depends(require(Scope.READ, Scope.MARKETING))]
_WRITER: Final = Depends(require(Scope.MARKETING))
_ExperimentId = Annotated[DocumentId, Path(alias="id", description="Id of the experiment.")]
_Count = Annotated[int, Field(strict=True, ge=0, le=10**9)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ArmBody(_Body):
    """An arm: its id is the name of the arm in the journey's step `split`."""

    id: Annotated[DocumentId, Field(description="Id of the arm.")]
    weight: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        default=1, description="Customers are shared out in proportion to the weights."
    )


class GoalBody(_Body):
    """What counts as converted."""

    type: str = Field(max_length=100, description="Event type.", examples=["shop.purchase.completed.v1"])
    days: int = Field(
        strict=True, ge=1, le=365, description="It counts within so many days of 24 hours after the exposure."
    )

    @field_validator("type")
    @classmethod
    def _is_known(cls, type_: str) -> str:
        if type_ not in NAMEABLE:
            raise ValueError("no such event type, or none that a journey may name")
        return type_


class ExperimentBody(_Body):
    """An experiment, which steps `split` of journeys name by its id. It cannot be changed afterwards."""

    id: Annotated[DocumentId, Field(description="Id of the experiment, chosen by the caller.")]
    goal: GoalBody
    arms: Annotated[
        list[ArmBody],
        Field(min_length=2, max_length=_MAX_ARMS, description="The arms: the first is the one compared against."),
        at_most(_MAX_ARMS),
    ]
    holdout: float = Field(
        default=0.0, ge=0, le=0.9, allow_inf_nan=False, description="Share of customers who get no arm: 0.1 is a tenth."
    )

    @field_validator("arms")
    @classmethod
    def _arms_differ(cls, arms: list[ArmBody]) -> list[ArmBody]:
        if len({arm.id for arm in arms}) < len(arms):
            raise ValueError("two arms have the same id")
        return arms


class ArmView(BaseModel):
    """An arm."""

    id: str = Field(description="Id of the arm.")
    weight: int = Field(description="Its weight.")


class GoalView(BaseModel):
    """What counts as converted."""

    type: str = Field(description="Event type.")
    days: int = Field(description="Days of 24 hours after the exposure.")


class ExperimentView(BaseModel):
    """An experiment."""

    id: str = Field(description="Id of the experiment.")
    goal: Annotated[GoalView | None, OMITTED_IF_NONE] = Field(
        default=None, description="What counts as converted; absent while only a journey names the experiment."
    )
    arms: list[ArmView] = Field(description="The arms: the first is the one compared against.")
    holdout: float = Field(description="Share of customers who get no arm.")
    declared: bool = Field(description="False while only a journey's step names it: its arms have equal weights.")
    created_at: datetime = Field(description="When it was declared, or first reached.")

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """A stored experiment."""
        experiment = stored.experiment
        return cls(
            id=experiment.id,
            goal=None if experiment.goal is None else GoalView(type=experiment.goal.type, days=experiment.goal.days),
            arms=[ArmView(id=arm.id, weight=arm.weight) for arm in experiment.arms],
            holdout=experiment.holdout,
            declared=stored.declared,
            created_at=stored.created_at,
        )


class ArmResult(BaseModel):
    """What an arm did. Intervals are those of 95 %."""

    id: Annotated[str | None, OMITTED_IF_NONE] = Field(default=None, description="Id of the arm.")
    exposed: int = Field(description="Customers who reached the experiment and got this arm.")
    converted: int = Field(description="Those of them who reached the goal in time.")
    rate: float | None = Field(description="Share of the exposed who converted; null without any.")
    interval: Interval | None = Field(description="Wilson interval of the rate.")
    uplift: float | None = Field(
        default=None,
        description="Relative to the first arm: 0.27 means 27 % more. Null for the first arm, and where nobody in "
        "the first arm converted.",
    )
    uplift_interval: Interval | None = Field(default=None, description="Interval of the uplift by the delta method.")
    p_value: float | None = Field(
        default=None, description="Two-sided z-test with pooled variance, against the first arm."
    )

    @classmethod
    def of(cls, id_: str | None, sample: Sample, first: Sample | None) -> Self:
        """The result of an arm, compared with the first arm unless it is that."""
        compared: Mapping[str, Any] = (
            {}
            if first is None
            else {
                "uplift": statistics.uplift(first, sample),
                "uplift_interval": statistics.uplift_interval(first, sample),
                "p_value": statistics.p_value(first, sample),
            }
        )
        return cls(
            id=id_,
            exposed=sample.exposed,
            converted=sample.converted,
            rate=sample.rate if sample.exposed else None,
            interval=statistics.wilson(sample),
            **compared,
        )


class SampleRatio(BaseModel):
    """Whether customers were shared out among the arms as the weights say."""

    p_value: float | None = Field(description="χ² test; null while nobody is exposed.")
    warning: bool = Field(description="Below 0.001: something else than chance decides who gets an arm.")

    @classmethod
    def of(cls, p_value: float | None) -> Self:
        """The view of a p-value."""
        return cls(p_value=p_value, warning=p_value is not None and p_value < statistics.UNLIKELY)


class Results(BaseModel):
    """The results of an experiment so far."""

    arms: list[ArmResult] = Field(description="The arms in their order.")
    holdout: Annotated[ArmResult | None, OMITTED_IF_NONE] = Field(
        default=None, description="The customers held out, compared with the first arm; absent if nobody is."
    )
    sample_ratio: SampleRatio


class ComparedArm(_Body):
    """Numbers of an arm."""

    exposed: _Count = Field(description="Number of customers.")
    converted: _Count = Field(description="How many of them converted.")

    @model_validator(mode="after")
    def _converted_are_exposed(self) -> Self:
        if self.converted > self.exposed:
            raise PydanticCustomError("more_converted", "more converted than were exposed")
        return self


class Comparison(_Body):
    """Numbers to compare, wherever they come from; equal weights."""

    arms: Annotated[
        list[ComparedArm],
        Field(min_length=2, max_length=_MAX_ARMS, description="The arms: the first is the one compared against."),
        at_most(_MAX_ARMS),
    ]


class SampleSizeBody(_Body):
    """What an experiment is to show."""

    baseline: float = Field(ge=0.000_001, lt=1, description="The rate of the first arm.", examples=[0.2])
    uplift: float = Field(
        ge=-0.999,
        le=1_000_000,
        allow_inf_nan=False,
        description="The relative uplift: 0.27 means 27 % more.",
        examples=[0.27],
    )
    power: float = Field(
        default=0.8, ge=0.5, le=0.999_999, description="The probability of showing an uplift that is there."
    )
    alpha: float = Field(
        default=0.05, ge=0.000_001, le=0.5, description="The probability of showing one that is not; two-sided."
    )


class SampleSize(BaseModel):
    """The customers that an experiment of two arms needs."""

    per_arm: int = Field(description="Customers in each arm.")
    total: int = Field(description="Customers in both arms.")


def routes(pool: Pool) -> APIRouter:
    """The routes of experiments."""
    router = APIRouter(tags=["experiments"])
    _add_calculations(router)
    _add_declaring(router, pool)
    _add_reading(router, pool)
    return router


def _add_calculations(router: APIRouter) -> None:
    @router.post(
        f"{_PATH}/sample-size",
        dependencies=_READERS,
        summary="Calculate the customers that an experiment needs",
    )
    async def sample_size(sent: Annotated[SampleSizeBody, BOUNDED]) -> SampleSize:
        """The number of customers per arm for a two-sided test; writes nothing."""
        if abs(sent.uplift) < 0.000_1 or sent.baseline * (1 + sent.uplift) >= 1:
            message = "The rate after the uplift has to be below 1, and differ by a ten-thousandth of the baseline."
            raise Problem(
                422, "invalid_request", f"/uplift: {message}", (FieldError(pointer="/uplift", message=message),)
            )
        per_arm = statistics.sample_size(sent.baseline, sent.uplift, sent.power, sent.alpha)
        return SampleSize(per_arm=per_arm, total=2 * per_arm)

    @router.post(f"{_PATH}/compare", dependencies=_READERS, summary="Compare the numbers of arms")
    async def compare(sent: Annotated[Comparison, BOUNDED]) -> Results:
        """What the results of an experiment with these numbers would say; writes nothing."""
        samples = [Sample(arm.exposed, arm.converted) for arm in sent.arms]
        ratio = statistics.sample_ratio([sample.exposed for sample in samples], [1] * len(samples))
        first, *others = samples
        arms = [ArmResult.of(None, first, None), *(ArmResult.of(None, other, first) for other in others)]
        return Results(arms=arms, sample_ratio=SampleRatio.of(ratio))


def _add_declaring(router: APIRouter, pool: Pool) -> None:
    @router.post(
        _PATH,
        status_code=201,
        response_model=ExperimentView,
        summary="Declare an experiment",
        openapi_extra=documented(required=False),
    )
    async def declare(
        request: Request, sent: Annotated[ExperimentBody, BOUNDED], principal: Annotated[Principal, _WRITER]
    ) -> Response:
        """Declare an experiment before a journey names it. 409 `exists` if the id is declared already.

        One that a journey's step named first takes the goal, the weights and the share held out; who is in an arm
        stays there.
        """

        async def run(connection: Connection) -> tuple[int, object]:
            stored = await experiments.declare(connection, _experiment(sent), datetime.now(UTC))
            if stored is None:
                raise Problem(409, "exists", "There is an experiment with this id.")
            return 201, ExperimentView.of(stored)

        return await idempotent(request, pool, principal, False, run)


def _add_reading(router: APIRouter, pool: Pool) -> None:
    @router.get(_PATH, dependencies=_READERS, summary="List the experiments")
    async def list_experiments(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[ExperimentView]:
        """All experiments, newest first, also those that only a journey names."""
        before = (decode_cursor(after, tuple[int]) or (_NEWEST,))[0]
        listed = page(await experiments.page(pool, before, limit + 1), limit, lambda stored: (stored.number,))
        return Page(data=[ExperimentView.of(stored) for stored in listed.data], next=listed.next)

    @router.get(f"{_PATH}/{{id}}", dependencies=_READERS, summary="Read an experiment")
    async def read(id_: _ExperimentId) -> ExperimentView:
        """An experiment that was declared, or that a customer reached."""
        return ExperimentView.of(await _find(pool, id_))

    @router.get(f"{_PATH}/{{id}}/results", dependencies=_READERS, summary="Read the results of an experiment")
    async def read_results(id_: _ExperimentId) -> Results:
        """What each arm did so far; an erased customer stays in the numbers."""
        stored = await _find(pool, id_)
        return _results(stored.experiment, await experiments.results(pool, id_))


async def _find(pool: Pool, id_: str) -> Stored:
    stored = (await experiments.load(pool, [id_])).get(id_)
    if stored is None:
        raise Problem(404, "not_found", "There is no such experiment.")
    return stored


def _experiment(sent: ExperimentBody) -> Experiment:
    arms = tuple(Arm(arm.id, arm.weight) for arm in sent.arms)
    return Experiment(sent.id, arms, sent.holdout, Goal(sent.goal.type, sent.goal.days))


def _results(experiment: Experiment, counted: Mapping[str | None, Sample]) -> Results:
    """The results; arms that customers got before the experiment was declared without them come last."""
    nobody = Sample(0, 0)
    ids = [arm.id for arm in experiment.arms]
    first = counted.get(ids[0], nobody)
    later = sorted(arm for arm in counted if arm is not None and arm not in ids)
    arms = [ArmResult.of(id_, counted.get(id_, nobody), None if id_ == ids[0] else first) for id_ in [*ids, *later]]
    held_out = counted.get(None)
    ratio = statistics.sample_ratio(
        [counted.get(id_, nobody).exposed for id_ in ids], [arm.weight for arm in experiment.arms]
    )
    return Results(
        arms=arms,
        holdout=None if held_out is None else ArmResult.of(None, held_out, first),
        sample_ratio=SampleRatio.of(ratio),
    )
