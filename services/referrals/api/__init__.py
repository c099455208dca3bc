"""The HTTP API of referrals."""

from fastapi import FastAPI

from services.referrals.api import codes, customers, decisions, links, programs, queue, replays, summary
from services.referrals.settings import Settings
from shared.http.app import new_app
from shared.postgres.pool import Pool


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The app of referrals, on its pool."""
    app = new_app("referrals", "Wafa referrals", pool=pool, authenticator=settings.authenticator())
    for part in (codes, customers, links):
        app.include_router(part.routes(settings, pool))
    # The summary comes before referrals by id.
    for of_program in (programs, replays, summary):
        app.include_router(of_program.routes(pool))
    for of_review in (queue, decisions):
        app.include_router(of_review.routes(settings, pool))
    return app
