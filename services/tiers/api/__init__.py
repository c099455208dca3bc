"""The HTTP API of tiers."""

from fastapi import FastAPI

from services.tiers.api import benefits, customers, programs, simulations, summary
from services.tiers.settings import Settings
from shared.http.app import new_app
from shared.postgres.pool import Pool

_PARTS = (customers, benefits, programs, simulations, summary)


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The app of tiers, on its pool."""
    app = new_app("tiers", "Wafa tiers", pool=pool, authenticator=settings.authenticator())
    for part in _PARTS:
        app.include_router(part.routes(pool))
    return app
