import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.keys import list_keys, revoke_key
from deploy.local import addresses, credentials, pieces
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.layout import Layout
from deploy.local.pieces import Kafka
from services.notifications.channels import opening
from services.notifications.settings import Settings
from shared.http.auth import Authenticator, JwtSettings, Kind
from shared.http.auth.principal import KEY_SCOPES
from shared.http.problems import Problem

SERVER = "postgresql://me:secret@db.example.org:5433/postgres?sslmode=require"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Your own server, so that no test has to create an embedded one; and no broker."""
    monkeypatch.setenv("WAFA_DATABASE_URL", SERVER)
    for name in ("WAFA_KAFKA_BOOTSTRAP", "WAFA_KAFKA_IDEMPOTENCE", "WAFA_KAFKA_SESSION_TIMEOUT_MS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_by_default_the_broker_is_embedded_and_the_producers_are_not_idempotent(layout: Layout):
    chosen = pieces.choose(layout, None, None)
    settings = pieces.settings(layout, chosen)
    assert isinstance(chosen.broker, EmbeddedBroker)
    assert settings["WAFA_KAFKA_BOOTSTRAP"] == chosen.bootstrap
    assert settings["WAFA_KAFKA_IDEMPOTENCE"] == "false"


def test_your_own_server_gets_a_database_for_each_service(layout: Layout):
    chosen = pieces.choose(layout, None, None)
    assert chosen.postgres is None
    expected = "postgresql://me:secret@db.example.org:5433/wafa_tiers?sslmode=require"
    assert pieces.settings(layout, chosen)["WAFA_DATABASE_URL_TIERS"] == expected


def test_your_own_broker_is_used_with_its_settings(layout: Layout, environment: pytest.MonkeyPatch):
    environment.setenv("WAFA_KAFKA_BOOTSTRAP", "kafka.example.org:9092")
    environment.setenv("WAFA_KAFKA_SESSION_TIMEOUT_MS", "45000")
    chosen = pieces.choose(layout, None, None)
    settings = pieces.settings(layout, chosen)
    assert chosen.broker is None
    assert settings["WAFA_KAFKA_BOOTSTRAP"] == "kafka.example.org:9092"
    assert (settings["WAFA_KAFKA_IDEMPOTENCE"], settings["WAFA_KAFKA_SESSION_TIMEOUT_MS"]) == ("true", "45000")


def test_a_requested_broker_takes_precedence_over_the_environment(layout: Layout, environment: pytest.MonkeyPatch):
    environment.setenv("WAFA_KAFKA_BOOTSTRAP", "kafka.example.org:9092")
    chosen = pieces.choose(layout, Kafka.APACHE, None)
    assert isinstance(chosen.broker, ApacheKafka)
    assert pieces.settings(layout, chosen)["WAFA_KAFKA_IDEMPOTENCE"] == "true"


def test_a_shell_that_sourced_the_file_starts_the_same_stack_again(layout: Layout, environment: pytest.MonkeyPatch):
    first = pieces.settings(layout, pieces.choose(layout, None, None))
    for name, value in first.items():
        environment.setenv(name, value)
    chosen = pieces.choose(layout, None, None)
    assert isinstance(chosen.broker, EmbeddedBroker)
    assert pieces.settings(layout, chosen) == first


async def test_the_admin_token_and_a_customers_token_are_what_the_services_accept(layout: Layout):
    settings = pieces.settings(layout, pieces.choose(layout, None, None))
    authenticator = Authenticator(layout.api_keys, JwtSettings(key=settings["WAFA_JWT_KEY"]))
    admin = await authenticator.authenticate(f"Bearer {settings['WAFA_ADMIN_TOKEN']}")
    assert admin.scopes == KEY_SCOPES
    customer = await authenticator.authenticate(f"Bearer {credentials.customer_token(layout, 'c-1')}")
    assert (customer.kind, customer.id) == (Kind.CUSTOMER, "c-1")


async def test_secrets_stay_until_the_admin_key_is_revoked(layout: Layout):
    first = credentials.ensure(layout)
    assert credentials.ensure(layout) == first
    assert oct(layout.credentials_file.stat().st_mode & 0o777) == "0o600"

    revoke_key(layout.api_keys, list_keys(layout.api_keys)[0].id)
    second = credentials.ensure(layout)
    assert (second.jwt_key, second.evidence_key) == (first.jwt_key, first.evidence_key)
    with pytest.raises(Problem):
        await Authenticator(layout.api_keys).authenticate(f"Bearer {first.admin_token}")


@pytest.mark.parametrize(
    "name, setting",
    [
        ("evidence_key", "WAFA_REFERRALS_EVIDENCE_KEY"),
        ("sms_token", "WAFA_NOTIFICATIONS_SMS_TOKEN"),
        ("vapid_key", "WAFA_NOTIFICATIONS_VAPID_PRIVATE_KEY"),
        ("message_secret", "WAFA_NOTIFICATIONS_SECRET"),
    ],
)
def test_a_stack_from_before_a_secret_gets_one(layout: Layout, name: str, setting: str):
    first = credentials.ensure(layout)
    stored = json.loads(layout.credentials_file.read_bytes())
    assert len(stored.pop(name)) >= 32
    layout.credentials_file.write_text(json.dumps(stored))
    second = credentials.ensure(layout)
    assert replace(second, **{name: ""}) == replace(first, **{name: ""})
    secret = getattr(second, name)
    assert len(secret) >= 32
    assert pieces.settings(layout, pieces.choose(layout, None, None))[setting] == secret


async def test_the_settings_open_every_channel(layout: Layout, monkeypatch: pytest.MonkeyPatch):
    for name, value in pieces.settings(layout, pieces.choose(layout, None, None)).items():
        monkeypatch.setenv(name, value)
    channels = opening.open_all(Settings())
    assert channels.sms is not None
    assert channels.push is not None
    await channels.close()


def test_a_purge_deletes_everything_but_downloads(layout: Layout):
    pieces.settings(layout, pieces.choose(layout, None, None))
    (layout.kafka / "log").mkdir(parents=True)
    jars = layout.kafka.parent / "lib-1"
    jars.mkdir()
    layout.purge()
    assert list(layout.root.rglob("*")) == [layout.kafka.parent, jars]
    assert addresses.read(layout).ports == {}
