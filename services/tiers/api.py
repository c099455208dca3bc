"""The HTTP routes: a customer's tier, and how it came about."""

from datetime import UTC, datetime
from typing import Final, Literal, Self

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from services.tiers.handlers.standing import Status, read_status
from services.tiers.rules import amount
from services.tiers.settings import Settings
from services.tiers.store import timelines
from services.tiers.store.timelines import Recorded
from shared.http.app import new_app
from shared.http.auth import CustomerId, customer_or
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.postgres.pool import Pool

_MONEY: Final = r"^[0-9]+\.[0-9]{2,4}$"


class Metrics(BaseModel):
    """What counts for tiers, as of now."""

    model_config = ConfigDict(frozen=True)

    spend: str = Field(
        pattern=_MONEY,
        examples=["1204.90"],
        description="Spent, net of refunds, in the 365 calendar days (UTC) that end today, in the program's currency.",
    )


class Need(BaseModel):
    """What is missing to the next tier."""

    model_config = ConfigDict(frozen=True)

    metric: Literal["spend"]
    missing: str = Field(pattern=_MONEY, examples=["295.10"])


class Next(BaseModel):
    """The tier above."""

    model_config = ConfigDict(frozen=True)

    tier: str
    needs: tuple[Need, ...]


class TierView(BaseModel):
    """A customer's tier now."""

    model_config = ConfigDict(frozen=True)

    tier: str = Field(examples=["silver"])
    since: datetime | None = Field(
        description="From when on; null in the first tier, in which everybody is who has reached no other."
    )
    benefits: tuple[str, ...] = Field(description="What the tier brings beside more points.")
    metrics: Metrics
    next: Next | None = Field(
        default=None, exclude_if=lambda value: value is None, description="Absent in the highest tier."
    )
    program_version: int

    @classmethod
    def of(cls, status: Status) -> Self:
        """The view of a customer's status."""
        above = status.program.after(status.tier)
        return cls(
            tier=status.tier.id,
            since=status.since,
            benefits=(),
            metrics=Metrics(spend=amount.reached_text(status.spend)),
            next=above
            and Next(
                tier=above.id,
                needs=(Need(metric="spend", missing=amount.missing_text(above.spend - status.spend)),),
            ),
            program_version=status.program.version,
        )


class ChangeView(BaseModel):
    """A change as it was recorded: `kind` is the verb of the event that told it."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["promoted", "demoted", "retained", "corrected"] = Field(
        description="`corrected`: the past changed, the tier at its end did not."
    )
    from_: str = Field(serialization_alias="from")
    to: str
    reason: str = Field(examples=["spend", "refund"])
    effective_at: datetime = Field(description="From when on something is different.")
    recorded_at: datetime
    program_version: int

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


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The service's API."""
    app = new_app("tiers", "Wafa tiers", pool=pool, authenticator=settings.authenticator())

    @app.get("/v1/customers/{id}/tier", dependencies=[Depends(customer_or("read"))], tags=["tiers"])
    async def tier(customer_id: CustomerId) -> TierView:
        """The customer's tier and what counts for it, as of now; who is unknown is in the first tier."""
        return TierView.of(await read_status(pool, customer_id, datetime.now(UTC)))

    @app.get("/v1/customers/{id}/tier/history", dependencies=[Depends(customer_or("read"))], tags=["tiers"])
    async def history(customer_id: CustomerId, limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[ChangeView]:
        """Every change of the customer's tier, or of its past, newest first."""
        cursor = decode_cursor(after, tuple[int])
        found = await timelines.history(pool, customer_id, cursor[0] if cursor else None, limit + 1)
        listed = page(found, limit, lambda one: (one.number,))
        return Page(data=[ChangeView.of(one) for one in listed.data], next=listed.next)

    return app
