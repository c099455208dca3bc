"""The HTTP API of notifications."""

from zoneinfo import ZoneInfo

from fastapi import FastAPI

from services.notifications.api import (
    customers,
    experiments,
    inbox,
    journeys,
    log,
    preferences,
    providers,
    push,
    summary,
    templates,
    tracking,
    webhooks,
)
from services.notifications.handlers.library import Library
from services.notifications.settings import Settings
from shared.http.app import new_app
from shared.http.guard import Guard, networks
from shared.postgres.pool import Pool


def build(settings: Settings, pool: Pool) -> FastAPI:
    """The API of notifications.

    Raises:
        ValueError: the key that verifies tokens, or the secret of a provider, is invalid.
    """
    app = new_app(
        "notifications",
        "Wafa notifications",
        pool=pool,
        authenticator=settings.authenticator(),
        open_paths=(tracking.OPEN_PATH, providers.PATH),
    )
    guard, library = Guard(networks(settings.webhook_allow)), Library.of(settings)
    customers.add(app, pool)
    inbox.add(app, pool, library)
    app.include_router(templates.routes(pool, library, settings))
    log.add(app, pool)
    app.include_router(journeys.routes(pool, library))
    preferences.add(app, settings.keys(), pool)
    push.add(app, guard, pool)
    tracking.add(app, settings.signing_keys(), pool)
    providers.add(app, settings.provider_secrets, settings.keys(), pool)
    app.include_router(experiments.routes(pool))
    summary.add(app, pool, ZoneInfo(settings.time_zone))
    webhooks.add(app, pool, guard, settings)
    return app
