"""The catalog of rewards."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import to_json

from services.points.api.redemptions import Points
from services.points.handlers import catalogue
from services.points.handlers.catalogue import ExistsError, UnknownTierError
from services.points.rules.books.rewards import Reward
from services.points.store import rewards
from shared.contracts.values import Id, Instant, Text
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.fields import OMITTED_IF_NONE
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.preconditions import check_if_match, etag, tagged
from shared.http.preconditions import documented as with_if_match
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool
from shared.programs.values import Locale

RewardKind = Literal["discount", "free_product", "free_shipping", "gift", "early_access", "event"]
RewardId = Annotated[Id, Path(alias="id", description="The reward's id.")]
_MAX_LOCALES: Final = 500
Names = Annotated[
    dict[Locale, Text],
    Field(min_length=1, max_length=_MAX_LOCALES, description="Name by locale.", examples=[{"en": "Tea", "ar": "شاي"}]),
    at_most(_MAX_LOCALES),
]
Price = Annotated[Points, Field(description="Price in points.")]
Kind = Annotated[RewardKind, Field(description="What kind of thing the reward is.")]
Stock = Annotated[int, Field(strict=True, ge=0, lt=10**12)]
CustomerLimit = Annotated[int, Field(strict=True, ge=1, lt=10**12)]

_STOCK: Final = Field(default=None, description="How many are left; absent or null: unlimited.")
_LIMIT: Final = Field(default=None, description="How many one customer may redeem; absent or null: any number.")
_TIER: Final = Field(default=None, description="Id of the lowest tier that may redeem it; absent or null: every tier.")
_FROM: Final = Field(default=None, alias="from", description="First instant at which it is offered.")
_TO: Final = Field(default=None, description="Instant at which the offer is over; after `from`.")
_ABSENT: Final = Field(default_factory=lambda: None)


class RewardBody(BaseModel):
    """A reward. Without `from` and `to` it is always offered."""

    model_config = ConfigDict(extra="forbid")

    id: Id = Field(description="Id of the reward, chosen by the caller.")
    name: Names
    points: Price
    kind: Kind
    stock: Stock | None = _STOCK
    limit_per_customer: CustomerLimit | None = _LIMIT
    minimum_tier: Id | None = _TIER
    from_: Instant | None = _FROM
    to: Instant | None = _TO

    @field_validator("to")
    @classmethod
    def _ends_after_it_starts(cls, to: datetime | None, info: ValidationInfo) -> datetime | None:
        starts = info.data.get("from_")
        if to is not None and starts is not None and starts >= to:
            raise ValueError("`to` must be after `from`.")
        return to


class RewardChange(BaseModel):
    """The fields to change: an absent one stays as it is, null clears it."""

    model_config = ConfigDict(extra="forbid")

    # These cannot be cleared: absent they are None, but null is not a valid value.
    name: Annotated[Names, _ABSENT]
    points: Annotated[Price, _ABSENT]
    kind: Annotated[Kind, _ABSENT]
    stock: Stock | None = _STOCK
    limit_per_customer: CustomerLimit | None = _LIMIT
    minimum_tier: Id | None = _TIER
    from_: Instant | None = _FROM
    to: Instant | None = _TO


class RewardView(BaseModel):
    """A reward of the catalog."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    id: str = Field(description="Id of the reward.")
    name: dict[str, str] = Field(description="Name by locale.")
    points: int = Field(description="Price in points.")
    kind: RewardKind = Field(description="What kind of thing the reward is.")
    stock: Annotated[int | None, OMITTED_IF_NONE] = Field(
        default=None, description="How many are left; absent: unlimited."
    )
    limit_per_customer: Annotated[int | None, OMITTED_IF_NONE] = Field(
        default=None, description="How many one customer may redeem; absent: any number."
    )
    minimum_tier: Annotated[str | None, OMITTED_IF_NONE] = Field(
        default=None, description="Id of the lowest tier that may redeem it; absent: every tier."
    )
    from_: Annotated[
        datetime | None, OMITTED_IF_NONE, Field(alias="from", description="First instant at which it is offered.")
    ] = None
    to: Annotated[datetime | None, OMITTED_IF_NONE] = Field(
        default=None, description="Instant at which the offer is over."
    )
    created_at: datetime = Field(description="When the reward was added.")
    etag: str = Field(description="Entity tag for `If-Match`; equal to the header `ETag`.")


def routes(pool: Pool) -> APIRouter:
    """The routes of rewards."""
    router = APIRouter(tags=["rewards"])
    _add_reading(router, pool)
    _add_writing(router, pool)
    return router


def _add_reading(router: APIRouter, pool: Pool) -> None:
    readers = [Depends(require("customer", "read", "marketing"))]

    @router.get("/v1/rewards", summary="List the rewards", dependencies=readers)
    async def list_rewards(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[RewardView]:
        """All rewards of the catalog, newest first, also those that are not offered now."""
        found = await rewards.page(pool, decode_cursor(after, tuple[datetime, str]), limit + 1)
        shown: Page[Reward] = page(found, limit, lambda reward: (reward.created_at, reward.id))
        return Page(data=[_view(reward) for reward in shown.data], next=shown.next)

    @router.get("/v1/rewards/{id}", response_model=RewardView, summary="Read a reward", dependencies=readers)
    async def read_reward(reward_id: RewardId) -> Response:
        """The reward. The header `ETag` is what `If-Match` of a change takes."""
        reward = await rewards.find(pool, reward_id)
        if reward is None:
            raise _not_found()
        return tagged(Response(to_json(_view(reward)), 200, media_type="application/json"))


def _add_writing(router: APIRouter, pool: Pool) -> None:
    writer = Depends(require("marketing"))

    @router.post(
        "/v1/rewards",
        status_code=201,
        response_model=RewardView,
        summary="Add a reward",
        openapi_extra=documented(required=False),
    )
    async def add_reward(
        request: Request, sent: Annotated[RewardBody, BOUNDED], principal: Annotated[Principal, writer]
    ) -> Response:
        """Add a reward to the catalog. 409 `reward_exists` if the id is taken."""

        async def run(connection: Connection) -> tuple[int, object]:
            now = datetime.now(UTC)
            try:
                return 201, _view(await catalogue.add(connection, _reward(sent, now), now))
            except ExistsError as error:
                raise Problem(409, "reward_exists", "There is a reward with this id.") from error
            except UnknownTierError as error:
                raise _unknown_tier(error) from error

        return tagged(await idempotent(request, pool, principal, False, run))

    @router.patch(
        "/v1/rewards/{id}",
        response_model=RewardView,
        summary="Change a reward",
        dependencies=[writer],
        openapi_extra=with_if_match(required=False),
    )
    async def change_reward(request: Request, reward_id: RewardId, sent: Annotated[RewardChange, BOUNDED]) -> Response:
        """Change some fields of a reward; 412 if it is not as `If-Match` says."""
        async with pool.acquire() as connection, connection.transaction():
            before = await rewards.lock(connection, reward_id)
            if before is None:
                raise _not_found()
            check_if_match(request, _etag(before))
            try:
                reward = await catalogue.change(connection, before, _changed(before, sent), datetime.now(UTC))
            except UnknownTierError as error:
                raise _unknown_tier(error) from error
        return tagged(Response(to_json(_view(reward)), 200, media_type="application/json"))


def _reward(sent: RewardBody, now: datetime) -> Reward:
    return Reward(
        id=sent.id,
        name=sent.name,
        points=sent.points,
        kind=sent.kind,
        stock=sent.stock,
        limit_per_customer=sent.limit_per_customer,
        minimum_tier=sent.minimum_tier,
        starts_at=sent.from_,
        ends_at=sent.to,
        revision=1,
        created_at=now,
    )


def _changed(before: Reward, sent: RewardChange) -> Reward:
    names = {"from_": "starts_at", "to": "ends_at"}
    changes: dict[str, Any] = {names.get(name, name): getattr(sent, name) for name in sent.model_fields_set}
    reward = before._replace(**changes)
    if reward.starts_at is not None and reward.ends_at is not None and reward.starts_at >= reward.ends_at:
        field = FieldError(pointer="/to" if "ends_at" in changes else "/from", message="`to` must be after `from`.")
        raise Problem(422, "invalid_request", f"{field.pointer}: {field.message}", (field,))
    return reward


def _unknown_tier(error: UnknownTierError) -> Problem:
    field = FieldError(pointer="/minimum_tier", message=f"No such tier: {error}.")
    return Problem(422, "invalid_request", f"/minimum_tier: {field.message}", (field,))


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is no such reward.")


def _etag(reward: Reward) -> str:
    return etag(reward.revision, reward.stock)


def _view(reward: Reward) -> RewardView:
    return RewardView(
        id=reward.id,
        name=dict(reward.name),
        points=reward.points,
        kind=cast("RewardKind", reward.kind),
        stock=reward.stock,
        limit_per_customer=reward.limit_per_customer,
        minimum_tier=reward.minimum_tier,
        from_=reward.starts_at,
        to=reward.ends_at,
        created_at=reward.created_at,
        etag=_etag(reward),
    )
