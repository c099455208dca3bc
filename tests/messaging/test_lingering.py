"""The batching delay: the setting reaches the requests to the broker."""

from typing import Any

import pytest

from services.notifications.settings import Settings as NotificationsSettings
from services.points.settings import Settings as PointsSettings
from services.tiers.settings import Settings as TiersSettings
from shared.messaging import kafka
from shared.messaging.relay import Relay
from shared.postgres.pool import Pool
from shared.process.settings import ServiceSettings


def _asked(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(kafka, "Consumer", dict)
    asked: Any = settings.broker().consumer("wafa")
    return asked


def test_fetch_requests_have_the_configured_delay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_POINTS_LINGER_MS", "7")
    asked = _asked(PointsSettings(), monkeypatch)
    assert asked["fetch_max_wait_ms"] == 7
    assert asked["fetch_min_bytes"] > 1, "or it would answer with the first record"


def test_notifications_read_without_a_batching_delay(monkeypatch: pytest.MonkeyPatch):
    asked = _asked(NotificationsSettings(), monkeypatch)
    assert asked["fetch_min_bytes"] == 1
    assert asked["fetch_max_wait_ms"] > 0, "or it would be asked without a pause"


def test_tiers_wait_longer_than_points():
    assert TiersSettings().broker().linger_ms > PointsSettings().broker().linger_ms


def test_a_relay_lingers_by_its_own_setting(platform_pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_POINTS_LINGER_MS", "7")
    monkeypatch.setenv("WAFA_POINTS_RELAY_LINGER_MS", "20")
    assert Relay.to(PointsSettings().broker(), platform_pool).linger == 0.02
