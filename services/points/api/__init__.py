"""The HTTP API of points."""

from fastapi import FastAPI

from services.points.api import adjustments, balances, earning_rules, holds, quotes, redemptions, rewards, statements
from services.points.settings import Settings
from shared.http.app import new_app
from shared.postgres.pool import Pool

_PARTS = (balances, redemptions, statements, quotes, holds, adjustments, rewards, earning_rules)


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The app of points, on its pool."""
    app = new_app("points", "Wafa points", pool=pool, authenticator=settings.authenticator())
    for part in _PARTS:
        app.include_router(part.routes(pool))
    return app
