"""Settings come from the environment: shared ones, and each service's own."""

import os

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.points.settings import Settings as PointsSettings
from services.tiers.settings import Settings as TiersSettings
from shared.process.settings import ServiceSettings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WAFA_")]:
        monkeypatch.delenv(name)


def test_the_defaults_need_no_environment():
    settings = PointsSettings()
    assert (settings.kafka_bootstrap, settings.kafka_idempotence) == ("localhost:9092", True)
    assert (settings.host, settings.batch_size, settings.database_url) == ("127.0.0.1", 500, "")


def test_shared_names_have_no_prefix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_KAFKA_BOOTSTRAP", "kafka:1")
    monkeypatch.setenv("WAFA_KAFKA_IDEMPOTENCE", "false")
    monkeypatch.setenv("WAFA_KAFKA_SESSION_TIMEOUT_MS", "6000")
    for settings in (PointsSettings(), TiersSettings()):
        broker = settings.broker()
        assert (broker.bootstrap, broker.idempotent, broker.session_timeout_ms) == ("kafka:1", False, 6000)
        assert broker.client_id == f"wafa-{settings.service}"


def test_a_services_own_names_have_its_prefix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_POINTS_PORT", "8101")
    monkeypatch.setenv("WAFA_POINTS_PROBE_PORT", "9101")
    monkeypatch.setenv("WAFA_POINTS_HOST", "0.0.0.0")
    points, tiers = PointsSettings(), TiersSettings()
    assert (points.port, points.probe_port, points.host) == (8101, 9101, "0.0.0.0")
    assert (tiers.port, tiers.probe_port, tiers.host) == (8000, 9000, "127.0.0.1")


def test_each_service_has_its_database_url(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_DATABASE_URL_POINTS", "postgresql://one")
    monkeypatch.setenv("WAFA_DATABASE_URL_TIERS", "postgresql://two")
    assert (PointsSettings().database_url, TiersSettings().database_url) == ("postgresql://one", "postgresql://two")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WAFA_POINTS_PORT", "70000"),
        ("WAFA_POINTS_BATCH_SIZE", "0"),
        ("WAFA_POINTS_POOL_SIZE", "two"),
        ("WAFA_KAFKA_SESSION_TIMEOUT_MS", "5"),
        ("WAFA_KAFKA_IDEMPOTENCE", "maybe"),
    ],
)
def test_a_bad_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        PointsSettings()


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        PointsSettings().port = 1


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_JWT_KEY", "s3cret-s3cret-s3cret")
    assert "s3cret" not in repr(PointsSettings())


def test_a_new_service_only_needs_a_name(monkeypatch: pytest.MonkeyPatch):
    class Settings(ServiceSettings):
        model_config = SettingsConfigDict(env_prefix="WAFA_COUPONS_")
        service = "coupons"

    monkeypatch.setenv("WAFA_DATABASE_URL_COUPONS", "postgresql://three")
    monkeypatch.setenv("WAFA_COUPONS_PORT", "8105")
    assert (Settings().database_url, Settings().port) == ("postgresql://three", 8105)
