"""The APIs of all services, each on a database with data of the customer ann."""

import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

import services
from deploy.keys import create_key
from services.notifications.handlers.experimenting import Experiments, Exposed
from services.notifications.rules.tokens import Keys, Purpose, Token
from services.notifications.store import subscriptions
from services.notifications.store.subscriptions import Browser
from services.points.handlers import holding, spending
from services.points.handlers.holding import Reservation
from services.points.handlers.spending import ForReward
from services.points.rules.books.rewards import Reward
from services.points.store import rewards
from services.referrals.handlers import replaying
from services.tiers.handlers.simulating import simulate
from shared.messaging import dead_letters
from shared.postgres.pool import Pool
from shared.programs import store as programs
from shared.programs.drafting import Author
from shared.programs.kind import Key
from tests.messaging import log
from tests.notifications import world
from tests.notifications.webhooks import world as webhooks
from tests.points import books
from tests.points import shop as points_shop
from tests.points.states import DEFAULT
from tests.referrals import programs as referral_programs
from tests.referrals.conftest import ADA, apply_to, give_codes
from tests.referrals.shop import bought, signed_up
from tests.support import postgres
from tests.tiers import applied, given, what_if
from tests.tiers import programs as tier_programs
from tests.tiers import shop as tiers_shop

SECRET = "a secret of thirty-two bytes or so"

TEMPLATE = {
    "topic": "account",
    "kind": "transactional",
    "in_app": {"en": {"title": "Hi", "body": "Hi"}},
    "sms": {"en": {"text": "Hi"}},
}
JOURNEY = {
    "name": {"en": "Birthday"},
    "trigger": {"on": "date", "field": "birth_date"},
    "steps": [{"kind": "send", "template": "welcome", "channels": ["email"]}],
}

EXPERIMENT = {
    "id": "bonus",
    "goal": {"type": "shop.purchase.completed.v1", "days": 7},
    "arms": [{"id": "without"}, {"id": "with"}],
}

Known = dict[str, str]
"""Ids that exist once the seed has run, by the path segment that precedes the parameter (`customers`)."""


async def _seed_points(pool: Pool) -> Known:
    await books.deliver(pool, points_shop.purchase("order-1", "100.00"), points_shop.refund("order-1", "r", "30.50"))
    await books.deliver(pool, points_shop.review("v", "s"), points_shop.referral("approved", "f"))
    newest = [row for row in await books.transactions(pool) if row["customer_id"] == "ann"][-1]
    document = DEFAULT | {"rules": DEFAULT["rules"][:1]}
    tea = Reward("tea", {"en": "Tea"}, 5, "gift", 1000, None, None, None, None, 1, books.NOW)
    async with pool.acquire() as connection, connection.transaction():
        draft = await programs.insert(connection, Key("earning_rules"), document, books.NOW, "key:seed")
        await rewards.insert(connection, tea)
        redeemed = await spending.redeem_for_reward(connection, books.call(), ForReward("tea", 1))
        held = await holding.reserve(connection, books.call(), Reservation(20, "cart", timedelta(days=36_500)))
    return {
        "customers": "ann",
        "transactions": str(newest["id"]),
        "rewards": "tea",
        "earning-rules": str(draft.version),
        "redemptions": str(redeemed.id),
        "holds": str(held.id),
    }


async def _seed_tiers(pool: Pool) -> Known:
    shipping = {"id": "shipping", "kind": "free_shipping", "name": {"en": "Free shipping"}}
    document = tier_programs.changed(tier_programs.DEFAULT, ("/tiers/2/benefits", [shipping]))
    await given.replace_first(pool, document)
    await applied.apply(pool, tiers_shop.purchase("order-1", "600.00"), tiers_shop.purchase("order-2", "950.00"))
    draft = await what_if.draft(pool, tier_programs.DEFAULT, books.NOW)
    simulation = await what_if.start(pool, draft, books.NOW, books.NOW)
    await simulate(pool, books.NOW)
    return {
        "customers": "ann",
        "tier-programs": str(draft.version),
        "simulations": str(simulation.id),
        "benefits": "shipping",
    }


async def _seed_referrals(pool: Pool) -> Known:
    await give_codes(pool)
    await apply_to(pool, [signed_up("zoe", ADA), bought("zoe", "order-1", 1), signed_up("yan", ADA)])
    async with pool.acquire() as connection, connection.transaction():
        document = referral_programs.DEFAULT
        draft = await programs.insert(connection, Key("referral_program"), document, books.NOW, "key:seed")
        replay = await replaying.start(connection, draft, 90, Author("key:seed", books.NOW))
    await replaying.run_replays(pool, books.NOW, None)
    approved = await pool.fetchval("SELECT referral_id FROM referral WHERE state = 'approved'")
    return {
        "customers": "ada",
        "r": ADA,
        "referral-programs": str(draft.version),
        "replays": str(replay.id),
        "referrals": str(approved),
    }


async def _seed_notifications(pool: Pool) -> Known:
    await world.handle(pool, world.registered("ann", email="ann@example.org"))
    await world.handle(pool, world.earned("ann", 70))
    newest = (await world.messages(pool, "ann"))[-1]
    async with pool.acquire() as connection, connection.transaction():
        draft = await programs.insert(connection, Key("journey", "birthday"), JOURNEY, books.NOW, "key:seed")
        await programs.insert(connection, Key("template", "welcome"), TEMPLATE, books.NOW, "key:seed")
        await Experiments(b"").expose(connection, [Exposed("ann", "bonus", ("without", "with"), books.NOW)])
    keys = Keys(SECRET)
    browser = Browser(uuid4(), "ann", "https://push.example.org/ann", "", "", world.NOW)
    async with pool.acquire() as connection, connection.transaction():
        await subscriptions.register(connection, browser)
    endpoint = await webhooks.add(pool, "https://shop.example.org/hooks", "loyalty.tier.*")
    await world.handle(pool, world.tier("retained", "ann", "gold"))
    (delivery,) = await webhooks.rows(pool)
    return {
        "customers": "ann",
        "messages": str(newest["id"]),
        "journeys": "birthday",
        "templates": "welcome",
        "experiments": "bonus",
        "versions": str(draft.version),
        "push-subscriptions": str(browser.id),
        "webhook-endpoints": str(endpoint.id),
        "deliveries": str(delivery["id"]),
        "provider-events": "local",
        "o": keys.sign(Token(Purpose.OPEN, newest["id"])),
        "c": keys.sign(Token(Purpose.CLICK, newest["id"], "https://shop.example.org/")),
        "u": keys.sign(Token(Purpose.UNSUBSCRIBE, newest["id"])),
    }


@dataclass(frozen=True)
class Service:
    """The API of a service, and the function that fills its database."""

    name: str
    build: Callable[..., FastAPI]
    settings: Callable[..., Any]
    seed: Callable[[Pool], Awaitable[Known]]

    def document(self) -> dict[str, Any]:
        """Its OpenAPI document."""
        return self.build(self.settings(), None).openapi()


@dataclass(frozen=True)
class Route:
    """A route of a service."""

    service: Service
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


_SEEDS = {
    "points": _seed_points,
    "tiers": _seed_tiers,
    "referrals": _seed_referrals,
    "notifications": _seed_notifications,
}


async def _seed_nothing(_pool: Pool) -> Known:
    return {}


def _service(name: str) -> Service:
    main, settings = (importlib.import_module(f"services.{name}.{module}") for module in ("__main__", "settings"))
    return Service(name, main.DOOR.app, settings.Settings, _SEEDS.get(name, _seed_nothing))


SERVICES = [_service(name) for name in services.SERVICES]

ROUTES: Sequence[Route] = [
    Route(service, method, path)
    for service in SERVICES
    for path, item in service.document()["paths"].items()
    for method in item
]


@dataclass(frozen=True)
class Served:
    """A running API and its database; `admin` has the headers of a key with the scope `admin`."""

    pool: Pool
    client: httpx.AsyncClient
    document: dict[str, Any]
    known: Known
    admin: dict[str, str]
    keys: Path

    def key(self, scope: str) -> dict[str, str]:
        """Headers of a new key with one scope."""
        return {"Authorization": f"Bearer {create_key(self.keys, [scope], scope)}"}

    def parameters(self, path: str) -> dict[str, str]:
        """Parameters for a path template that lead to existing data."""
        segments = path.split("/")
        return {
            name[1 : name.index("}")]: self.known[segment]
            for segment, name in pairwise(segments)
            if name.startswith("{")
        }


async def _seed_dead_letter(pool: Pool) -> str:
    async with pool.acquire() as connection:
        await dead_letters.write(connection, [log.malformation(log.record(b"\xff{", 0))])
        return str((await dead_letters.page(connection, dead_letters.Filter(), None, 1))[0].id)


@asynccontextmanager
async def serve(
    service: Service, postgres_url: str, folder: Path, *, has_dead_letter: bool = True
) -> AsyncGenerator[Served]:
    """The API of a service on a seeded database of its own."""
    keys = folder / "keys.json"
    admin = {"Authorization": f"Bearer {create_key(keys, ['admin'], 'fuzz')}"}
    async with postgres.database(postgres_url, service.name) as pool:
        known = await service.seed(pool)
        if has_dead_letter:
            known |= {"dead-letters": await _seed_dead_letter(pool)}
        app = service.build(
            service.settings(api_keys_file=keys, jwt_key=SecretStr(SECRET), secret=SecretStr(SECRET)), pool
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://wafa.example") as client:
            yield Served(pool, client, app.openapi(), known, admin, keys)


def as_customer(customer_id: str) -> dict[str, str]:
    """Headers of a customer's own token."""
    claims = {"sub": customer_id, "scope": "customer", "exp": 4_000_000_000}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}
