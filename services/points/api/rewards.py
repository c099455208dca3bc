"""The catalogue of rewards."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import to_json

from services.points.api.redemptions import Points
from services.points.handlers import catalogue
from services.points.handlers.catalogue import ExistsError, UnknownTierError
from services.points.rules.books.rewards import Reward
from services.points.rules.program.values import Locale
from services.points.store import rewards
from shared.contracts.values import Id, Instant, Text
from shared.http.auth import Principal, require
from shared.http.bodies import BOUNDED, at_most
from shared.http.idempotency import documented, idempotent
from shared.http.paging import DEFAULT_LIMIT, After, Limit, Page, decode_cursor, page
from shared.http.preconditions import check_if_match, etag, tagged
from shared.http.preconditions import documented as with_if_match
from shared.http.problems import FieldError, Problem
from shared.postgres.pool import Connection, Pool

RewardKind = Literal["discount", "free_product", "free_shipping", "gift", "early_access", "event"]
RewardId = Annotated[Id, Path(alias="id", description="The reward's id.")]
_MOST_LOCALES: Final = 500
Names = Annotated[
    dict[Locale, Text],
    Field(min_length=1, max_length=_MOST_LOCALES, description="By locale.", examples=[{"en": "Tea", "ar": "شاي"}]),
    at_most(_MOST_LOCALES),
]
Count = Annotated[int, Field(strict=True, ge=0, lt=10**12)]
CountFromOne = Annotated[int, Field(strict=True, ge=1, lt=10**12)]

_WHERE_SET = Field(exclude_if=lambda value: value is None)
_ABSENT = Field(default_factory=lambda: None)


class RewardBody(BaseModel):
    """A reward; without `stock` there is no end of it, without `from` and `to` it is always on offer."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    name: Names
    points: Points
    kind: RewardKind
    stock: Count | None = None
    limit_per_customer: CountFromOne | None = None
    minimum_tier: Id | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None

    @field_validator("to")
    @classmethod
    def _ends_after_it_starts(cls, to: datetime | None, info: ValidationInfo) -> datetime | None:
        starts = info.data.get("from_")
        if to is not None and starts is not None and starts >= to:
            raise ValueError("A reward ends after it starts.")
        return to


class RewardChange(BaseModel):
    """What is to change: what is absent stays, null clears."""

    model_config = ConfigDict(extra="forbid")

    # These cannot be cleared: absent they are None, but null is none of their values.
    name: Annotated[Names, _ABSENT]
    points: Annotated[Points, _ABSENT]
    kind: Annotated[RewardKind, _ABSENT]
    stock: Count | None = None
    limit_per_customer: CountFromOne | None = None
    minimum_tier: Id | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None


class RewardView(BaseModel):
    """A reward of the catalogue."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    id: str
    name: dict[str, str]
    points: int
    kind: RewardKind
    stock: Annotated[int | None, _WHERE_SET] = None
    limit_per_customer: Annotated[int | None, _WHERE_SET] = None
    minimum_tier: Annotated[str | None, _WHERE_SET] = None
    from_: Annotated[datetime | None, Field(alias="from", exclude_if=lambda value: value is None)] = None
    to: Annotated[datetime | None, _WHERE_SET] = None
    created_at: datetime
    etag: str


def routes(pool: Pool) -> APIRouter:
    """The routes of rewards."""
    router = APIRouter(tags=["rewards"])
    _add_reading(router, pool)
    _add_writing(router, pool)
    return router


def _add_reading(router: APIRouter, pool: Pool) -> None:
    readers = [Depends(require("customer", "read", "marketing"))]

    @router.get("/v1/rewards", dependencies=readers)
    async def list_rewards(limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[RewardView]:
        found = await rewards.page(pool, decode_cursor(after, tuple[datetime, str]), limit + 1)
        shown: Page[Reward] = page(found, limit, lambda one: (one.created_at, one.id))
        return Page(data=[_view(one) for one in shown.data], next=shown.next)

    @router.get("/v1/rewards/{id}", response_model=RewardView, dependencies=readers)
    async def read_reward(reward_id: RewardId) -> Response:
        found = await rewards.find(pool, reward_id)
        if found is None:
            raise _not_found()
        return tagged(Response(to_json(_view(found)), 200, media_type="application/json"))


def _add_writing(router: APIRouter, pool: Pool) -> None:
    writer = Depends(require("marketing"))

    @router.post("/v1/rewards", status_code=201, response_model=RewardView, openapi_extra=documented(required=False))
    async def add_reward(
        request: Request, wanted: Annotated[RewardBody, BOUNDED], principal: Annotated[Principal, writer]
    ) -> Response:
        async def run(connection: Connection) -> tuple[int, object]:
            now = datetime.now(UTC)
            reward = Reward(
                id=wanted.id,
                name=wanted.name,
                points=wanted.points,
                kind=wanted.kind,
                stock=wanted.stock,
                limit_per_customer=wanted.limit_per_customer,
                minimum_tier=wanted.minimum_tier,
                starts_at=wanted.from_,
                ends_at=wanted.to,
                revision=1,
                created_at=now,
            )
            try:
                return 201, _view(await catalogue.add(connection, reward, now))
            except ExistsError as error:
                raise Problem(409, "reward_exists", "There is a reward with this id.") from error
            except UnknownTierError as error:
                raise _unknown_tier(error) from error

        return tagged(await idempotent(request, pool, principal, False, run))

    @router.patch(
        "/v1/rewards/{id}",
        response_model=RewardView,
        dependencies=[writer],
        openapi_extra=with_if_match(required=False),
    )
    async def change_reward(
        request: Request, reward_id: RewardId, wanted: Annotated[RewardChange, BOUNDED]
    ) -> Response:
        async with pool.acquire() as connection, connection.transaction():
            known = await rewards.lock(connection, reward_id)
            if known is None:
                raise _not_found()
            check_if_match(request, _etag(known))
            try:
                changed = await catalogue.change(connection, known, _changed(known, wanted), datetime.now(UTC))
            except UnknownTierError as error:
                raise _unknown_tier(error) from error
        return tagged(Response(to_json(_view(changed)), 200, media_type="application/json"))


def _changed(known: Reward, wanted: RewardChange) -> Reward:
    names = {"from_": "starts_at", "to": "ends_at"}
    changes: dict[str, Any] = {names.get(name, name): getattr(wanted, name) for name in wanted.model_fields_set}
    changed = known._replace(**changes)
    if changed.starts_at is not None and changed.ends_at is not None and changed.starts_at >= changed.ends_at:
        field = FieldError(pointer="/to" if "ends_at" in changes else "/from", message="A reward ends after it starts.")
        raise Problem(422, "invalid_request", f"{field.pointer}: {field.message}", (field,))
    return changed


def _unknown_tier(error: UnknownTierError) -> Problem:
    field = FieldError(pointer="/minimum_tier", message=f"No such tier: {error}.")
    return Problem(422, "invalid_request", f"/minimum_tier: {field.message}", (field,))


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is no such reward.")


def _etag(one: Reward) -> str:
    return etag(one.revision, one.stock)


def _view(one: Reward) -> RewardView:
    return RewardView(
        id=one.id,
        name=dict(one.name),
        points=one.points,
        kind=cast("RewardKind", one.kind),
        stock=one.stock,
        limit_per_customer=one.limit_per_customer,
        minimum_tier=one.minimum_tier,
        from_=one.starts_at,
        to=one.ends_at,
        created_at=one.created_at,
        etag=_etag(one),
    )
