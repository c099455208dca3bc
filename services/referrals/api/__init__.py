"""The HTTP API of referrals."""

from fastapi import FastAPI

from services.referrals.api import codes, customers, links, programs, replays
from services.referrals.settings import Settings
from shared.http.app import new_app
from shared.postgres.pool import Pool


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The app of referrals, on its pool."""
    app = new_app("referrals", "Wafa referrals", pool=pool, authenticator=settings.authenticator())
    app.include_router(codes.routes(settings, pool))
    app.include_router(customers.routes(settings, pool))
    app.include_router(links.routes(settings, pool))
    app.include_router(programs.routes(pool))
    app.include_router(replays.routes(pool))
    return app
