"""The worker's subscriptions and jobs, and its settings."""

import pytest
from pydantic import ValidationError

from services.notifications.rules.journey.triggers import NAMEABLE
from services.notifications.rules.webhook import FROM_KAFKA
from services.notifications.settings import Settings
from services.notifications.worker import spec
from shared.contracts.registry import TYPES


def test_every_event_that_a_journey_can_name_is_subscribed():
    wanted = spec(Settings()).wanted
    own = {name for name in TYPES if name.startswith("loyalty.message.")}
    assert wanted == TYPES.keys() - own
    assert NAMEABLE - own == wanted - {"shop.customer.erased.v1"}


def test_webhooks_tell_of_all_that_other_services_publish():
    published = {name for name in TYPES if name.startswith("loyalty.") and not name.startswith("loyalty.message.")}
    assert published == FROM_KAFKA


def test_types_are_subscribed_on_their_topics():
    for subscription in spec(Settings()).subscriptions:
        assert {TYPES[type_].topic for type_ in subscription.types} == {subscription.topic}


def test_mails_are_sent_and_runs_moved_by_jobs():
    assert {"send mails", "move runs of journeys", "set timers of journeys"} <= {
        job.name for job in spec(Settings()).jobs
    }


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
