"""How long few records wait: the setting comes through to what the broker is asked for."""

from typing import Any

import pytest

from services.points.settings import Settings as PointsSettings
from services.tiers.settings import Settings as TiersSettings
from shared.messaging import kafka


def test_the_broker_is_asked_to_wait_as_the_setting_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_POINTS_LINGER_MS", "7")
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", dict)
    asked: Any = kafka.consumer(PointsSettings().broker(), "wafa-points")
    assert asked["fetch_max_wait_ms"] == 7
    assert asked["fetch_min_bytes"] > 1, "or it would answer with the first record"


def test_tiers_wait_longer_than_points():
    assert TiersSettings().broker().linger_ms > PointsSettings().broker().linger_ms
