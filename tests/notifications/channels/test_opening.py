"""The channels that the settings name, and settings that are refused at the start."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.notifications.channels import opening
from services.notifications.channels.apprise import Apprise
from services.notifications.channels.email import Email
from services.notifications.channels.opening import Channels
from services.notifications.channels.push import WebPush
from services.notifications.channels.sms import TextMessages
from services.notifications.rules.mailboxes import is_public
from services.notifications.settings import Settings
from tests.notifications.channels import certificates
from tests.notifications.channels.browser import encode

SMS = {"sms_account": "AC1", "sms_token": "t", "sms_sender": "Wafa"}
KEY = encode(b"\x01" * 32)


def open_all(**settings: Any) -> Channels:
    return opening.open_all(Settings.model_validate(settings))


def test_e_mail_alone_without_settings():
    channels = open_all()
    assert isinstance(channels.email, Email)
    assert (channels.sms, channels.push) == (None, None)


async def test_each_channel_has_connections_of_its_own():
    channels = open_all(
        **SMS, vapid_private_key=KEY, smtp_connections=3, sms_connections=5, push_connections=7
    )  # fmt: skip
    assert isinstance(channels.sms, TextMessages)
    assert isinstance(channels.push, WebPush)
    assert (channels.email.connections, channels.sms.connections, channels.push.connections) == (3, 5, 7)
    await channels.close()


async def test_apprise_in_the_place_of_twilio():
    channels = open_all(sms_apprise_url="json://127.0.0.1/{to}")
    assert isinstance(channels.sms, Apprise)
    await channels.close()


def test_who_answers_for_what_is_pushed():
    for settings, subject in (
        ({}, "mailto:loyalty@example.org"),
        ({"vapid_subject": "https://shop.example.org/contact"}, "https://shop.example.org/contact"),
    ):
        vapid = opening.vapid(Settings.model_validate({"vapid_private_key": KEY, **settings}))
        assert vapid is not None
        assert vapid._subject == subject


async def test_mail_is_signed_for_the_domain_of_the_sender(tmp_path: Path):
    file = tmp_path / "dkim.pem"
    file.write_bytes(certificates.pem(certificates.rsa_key()))
    for settings, domain in (({}, b"mail.example.org"), ({"dkim_domain": "example.org"}, b"example.org")):
        email = opening.open_email(
            Settings.model_validate({"dkim_key_file": file, "sender": "Wafa <a@mail.example.org>", **settings})
        )
        assert email._signer is not None
        signed = await email._signer.sign(b"From: a@mail.example.org\r\n\r\n\r\n")
        assert b" d=" + domain + b";" in signed


@pytest.mark.parametrize(
    "settings",
    [
        {"sender": "Shop <shop@gmail.com>"},
        {"sender": "shop@Yahoo.co.uk"},
        {"sms_account": "AC1"},
        {"sms_account": "AC1", "sms_token": "t"},
        {"sms_account": "AC/1", "sms_token": "t", "sms_sender": "Wafa"},
        {**SMS, "sms_url": "http://api.example.org"},
        {**SMS, "sms_url": "https://user@api.example.org"},
        {**SMS, "sms_url": "ftp://api.example.org"},
        {**SMS, "sms_url": "https://"},
        {**SMS, "sms_apprise_url": "json://127.0.0.1/{to}"},
        {"vapid_subject": "loyalty@example.org"},
        {"vapid_subject": "mailto:nobody"},
        {"vapid_subject": "http://shop.example.org"},
        {"dkim_selector": "a b"},
        {"dkim_domain": "example.com"},
        {"dkim_domain": "ample.org"},
        {"smtp_connections": 0},
        {"webhook_allow": "127.0.0.1/8"},
        {"webhook_allow": "everywhere"},
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any]):
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"vapid_private_key": "nonsense"}, "VAPID_PRIVATE_KEY"),
        ({"dkim_key_file": "/nowhere"}, "DKIM_KEY_FILE"),
        ({"dkim_key_file": __file__}, "DKIM_KEY_FILE"),
        ({"sms_apprise_url": "nonsense"}, "SMS_APPRISE_URL"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_by_name(settings: dict[str, Any], name: str):
    with pytest.raises(ValueError, match=f"^settings: WAFA_NOTIFICATIONS_{name}: "):
        open_all(**settings)


@pytest.mark.parametrize(
    "domain, is_one",
    [
        ("gmail.com", True),
        ("GMail.com.", True),
        ("yahoo.com", True),
        ("yahoo.co.uk", True),
        ("hotmail.fr", True),
        ("example.org", False),
        ("live.example.org", False),
        ("outlook.shopping.com", False),
        ("notgmail.com", False),
        ("gmail.com.example.org", False),
    ],
)
def test_public_mailboxes(domain: str, is_one: bool):
    assert is_public(domain) == is_one
