"""The worker's subscriptions and jobs, and its settings."""

import pytest
from pydantic import ValidationError

from services.notifications.rules.notice import Trigger, notices
from services.notifications.rules.webhook import FROM_KAFKA
from services.notifications.settings import Settings
from services.notifications.worker import spec
from shared.contracts.registry import TYPES
from tests.notifications.world import earned, referral, registered, reversed_, tier


def test_every_event_that_triggers_a_notice_is_subscribed():
    events = [
        registered("c"),
        earned("c", 1),
        reversed_("c", 1),
        tier("promoted", "c", "gold"),
        referral("approved", "c", "d"),
    ]
    assert {notice.trigger for event in events for notice in notices(event)} == set(Trigger)
    customers = {f"shop.customer.{verb}.v1" for verb in ("registered", "updated", "erased")}
    assert spec(Settings()).wanted == {event.type for event in events} | customers | FROM_KAFKA


def test_webhooks_tell_of_all_that_other_services_publish():
    published = {name for name in TYPES if name.startswith("loyalty.") and not name.startswith("loyalty.message.")}
    assert published == FROM_KAFKA


def test_types_are_subscribed_on_their_topics():
    for subscription in spec(Settings()).subscriptions:
        assert {TYPES[type_].topic for type_ in subscription.types} == {subscription.topic}


def test_mails_are_sent_by_a_job():
    assert "send mails" in {job.name for job in spec(Settings()).jobs}


@pytest.mark.parametrize("sender", ["", "Wafa", "Wafa <nobody>", "Wafa <a@example.org>\r\nBcc: b@example.org"])
def test_a_sender_that_is_no_address_is_refused(sender: str):
    with pytest.raises(ValidationError):
        Settings(sender=sender)


@pytest.mark.parametrize("host, tls, is_fine", [("mail.test", "none", False), ("mail.test", "starttls", True)])
def test_a_password_leaves_the_machine_encrypted(host: str, tls: str, is_fine: bool):
    def make() -> Settings:
        return Settings.model_validate({"smtp_host": host, "smtp_tls": tls, "smtp_user": "u", "smtp_password": "p"})

    if is_fine:
        assert make().smtp_tls == tls
    else:
        with pytest.raises(ValidationError, match="SMTP_TLS"):
            make()


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAFA_NOTIFICATIONS_SMTP_HOST", "mail.shop.test")
    monkeypatch.setenv("WAFA_NOTIFICATIONS_SMTP_PORT", "2525")
    monkeypatch.setenv("WAFA_NOTIFICATIONS_SENDER", "Shop <loyalty@shop.test>")
    monkeypatch.setenv("WAFA_DATABASE_URL_NOTIFICATIONS", "postgresql://somewhere/notifications")
    settings = Settings()
    assert (settings.smtp_host, settings.smtp_port) == ("mail.shop.test", 2525)
    assert settings.sender == "Shop <loyalty@shop.test>"
    assert settings.database_url == "postgresql://somewhere/notifications"
