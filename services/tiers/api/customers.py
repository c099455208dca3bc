"""The HTTP routes: a customer's tier, and the history of its changes."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.tiers.handlers.standing import Status, read_status
from services.tiers.rules import amount
from services.tiers.rules.progress import nearest, ways
from services.tiers.store import timelines
from services.tiers.store.timelines import Recorded
from shared.contracts.values import UNITS
from shared.http.auth import CustomerId, customer_or
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.postgres.pool import Pool

_MONEY: Final = r"^[0-9]+\.[0-9]{2,4}$"


class Metrics(BaseModel):
    """The metrics that count for tiers, as of now."""

    model_config = ConfigDict(frozen=True)

    spend: str = Field(
        pattern=_MONEY,
        examples=["1204.90"],
        description="Money spent, net of refunds, in the 365 calendar days (UTC) that end today, in the program's "
        "currency; rounded down to 4 decimals.",
    )


class Need(BaseModel):
    """The amount of a metric that is missing to the next tier."""

    model_config = ConfigDict(frozen=True)

    metric: Literal["spend"] = Field(description="The metric, as `metrics` has it.")
    missing: str = Field(
        pattern=_MONEY, examples=["295.10"], description="The missing amount, rounded up to 4 decimals."
    )


class Next(BaseModel):
    """The next higher tier."""

    model_config = ConfigDict(frozen=True)

    tier: str = Field(examples=["gold"], description="The id of the tier.")
    needs: tuple[Need, ...] = Field(description="What is missing to reach the tier.")


class TierView(BaseModel):
    """The current tier of a customer."""

    model_config = ConfigDict(frozen=True)

    tier: str = Field(examples=["silver"], description="The id of the tier.")
    since: datetime | None = Field(
        description="When the customer reached the tier; null for the first tier, in which every customer starts."
    )
    benefits: tuple[str, ...] = Field(description="The benefits of the tier besides more points.")
    metrics: Metrics = Field(description="The metrics that count for tiers, as of now.")
    next: Next | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="The next higher tier; absent in the highest tier.",
    )
    program_version: int = Field(description="The version of the tier program that is in force.")

    @classmethod
    def of(cls, status: Status) -> Self:
        """The view of a customer's status."""
        above = status.program.above(status.tier)
        return cls(
            tier=status.tier.id,
            since=status.since,
            benefits=(),
            metrics=Metrics(spend=amount.reached_text(status.spend)),
            next=above
            and Next(
                tier=above.id,
                needs=tuple(
                    Need(metric="spend", missing=amount.missing_text(Fraction(need.missing, UNITS)))
                    for need in nearest(ways(above.enter, {"spend": status.spend * UNITS}))
                ),
            ),
            program_version=status.program.version,
        )


class ChangeView(BaseModel):
    """A change of a customer's tier, or of its past, as it was recorded."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["promoted", "demoted", "retained", "corrected"] = Field(
        description="The kind of the published event `loyalty.tier.<kind>.v1`. `corrected`: only the past changed, the "
        "current tier did not."
    )
    from_: str = Field(serialization_alias="from", examples=["member"], description="The tier before the change.")
    to: str = Field(examples=["silver"], description="The tier after the change.")
    reason: str = Field(examples=["spend", "refund"], description="What caused the change.")
    effective_at: datetime = Field(description="The first instant at which the customer's tier differs.")
    recorded_at: datetime = Field(description="When the change was recorded.")
    program_version: int = Field(description="The version of the tier program by which the customer was judged.")

    @classmethod
    def of(cls, recorded: Recorded) -> Self:
        """The view of a line of the history."""
        return cls(
            kind=recorded.kind,
            from_=recorded.from_tier,
            to=recorded.to_tier,
            reason=recorded.reason,
            effective_at=recorded.effective_at,
            recorded_at=recorded.recorded_at,
            program_version=recorded.program_version,
        )


def routes(pool: Pool) -> APIRouter:
    """The routes of a customer's tier and its history."""
    router = APIRouter(tags=["tiers"])

    @router.get(
        "/v1/customers/{id}/tier",
        dependencies=[Depends(customer_or("read"))],
        summary="Get a customer's tier",
    )
    async def tier(customer_id: CustomerId) -> TierView:
        """Returns the current tier, and what is missing to the next one. An unknown customer is in the first tier."""
        return TierView.of(await read_status(pool, customer_id, datetime.now(UTC)))

    @router.get(
        "/v1/customers/{id}/tier/history",
        dependencies=[Depends(customer_or("read"))],
        summary="List the changes of a customer's tier",
    )
    async def history(customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[ChangeView]:
        """Returns every change of the tier or of its past, newest first, in pages."""
        cursor = decode_cursor(after, tuple[int])
        recorded = await timelines.history(pool, customer_id, cursor[0] if cursor else None, limit + 1)
        listed = page(recorded, limit, lambda change: (change.number,))
        return Page(data=[ChangeView.of(change) for change in listed.data], next=listed.next)

    return router
