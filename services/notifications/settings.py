"""Settings of the notifications service."""

from collections.abc import Iterator
from datetime import time
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from services.notifications.rules import mailboxes, opting_out
from services.notifications.rules.gate import Limits, mailbox
from services.notifications.rules.links import Links
from services.notifications.rules.message import Channel
from services.notifications.rules.quiet import QuietHours
from services.notifications.rules.tokens import Keys, keys_of
from shared.contracts.values import TimeZone
from shared.http.guard import networks
from shared.process.settings import ServiceSettings, linger, relay_linger
from shared.programs.values import Locale

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _sender(text: str) -> str:
    address = mailbox(parseaddr(text)[1])
    if address is None or not text.isprintable():
        raise ValueError("has to be an address such as `Wafa <loyalty@example.org>`")
    domain = address.rpartition("@")[2]
    if mailboxes.is_public(domain):
        raise ValueError(f"{domain} refuses mail that other servers send for it: use a domain of your own")
    return text


def _url_of_provider(text: str) -> str:
    parts = urlsplit(text)
    if not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)) or not parts.hostname:
        raise ValueError("has to be an https:// URL (http:// on the same machine only)")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("has to be a URL without a user, a query and a fragment")
    return text.rstrip("/")


def _networks(text: str) -> str:
    networks(text)
    return text


def _subject(text: str) -> str:
    is_mail = text.startswith("mailto:") and mailbox(text.removeprefix("mailto:")) is not None
    if not (is_mail or (text.startswith("https://") and urlsplit(text).hostname)):
        raise ValueError("has to be `mailto:` with an address, or an https:// URL")
    return text


class Settings(ServiceSettings):
    """Settings of the API and the worker of notifications."""

    model_config = SettingsConfigDict(env_prefix="WAFA_NOTIFICATIONS_")

    service: ClassVar[str] = "notifications"

    # Relays publish in batches already, so there is nothing to wait for.
    linger_ms: int = linger(0)
    # Events about messages are less urgent than the messages.
    relay_linger_ms: int = relay_linger(250)

    smtp_host: str = Field(default="localhost", description="Host of the mail server.")
    smtp_port: int = Field(default=1025, ge=1, le=65535, description="Port of the mail server.")
    smtp_user: str | None = Field(default=None, description="User name for the login; unset: no login.")
    smtp_password: SecretStr | None = Field(default=None, description="Password for the login.")
    smtp_tls: Literal["none", "starttls", "implicit"] = Field(
        default="none", description="`starttls` upgrades the connection, `implicit` uses TLS from the first byte."
    )
    smtp_timeout_seconds: float = Field(default=30.0, gt=0, le=120, description="Seconds to wait for one answer.")
    smtp_connections: int = Field(
        default=4, ge=1, le=100, description="Maximum connections to the mail server, of one worker."
    )
    sender: Annotated[str, AfterValidator(_sender)] = Field(
        default="Wafa <loyalty@example.org>",
        description="`From` of every mail; its domain is in every Message-ID.",
    )
    dkim_key_file: Path | None = Field(
        default=None, description="Private key (PEM, RSA) that signs mails with DKIM; unset: none is signed."
    )
    dkim_selector: str = Field(
        default="wafa",
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$",
        description="Selector of the key: its public part is at `<selector>._domainkey.<domain>` in the DNS.",
    )
    dkim_domain: str | None = Field(
        default=None, description="Domain that signs; unset: that of the sender. DMARC wants the two to be related."
    )
    sms_url: Annotated[str, AfterValidator(_url_of_provider)] = Field(
        default="https://api.twilio.com", description="Where Twilio's Messages API is, or one like it."
    )
    sms_account: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,100}$", description="Account at the provider of text messages."
    )
    sms_token: SecretStr | None = Field(default=None, min_length=1, description="Token of the account.")
    sms_sender: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Sender of text messages: a phone number, a name or a messaging service (`MG…`).",
    )
    sms_opt_out: dict[Locale, Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        default=opting_out.DEFAULT,
        description="Words by locale, as JSON, with which marketing text messages end: how to get no more of them.",
    )
    sms_apprise_url: SecretStr | None = Field(
        default=None,
        description="URL of Apprise with `{to}` for the number: text messages over another service (extra `apprise`).",
    )
    sms_timeout_seconds: float = Field(default=15.0, gt=0, le=120, description="Seconds that a text message may take.")
    sms_connections: int = Field(
        default=8, ge=1, le=100, description="Maximum connections to the provider of text messages, of one worker."
    )
    vapid_private_key: SecretStr | None = Field(
        default=None,
        description="Key that identifies Wafa to push services (VAPID): P-256, as base64url or PEM. Unset: no push.",
    )
    vapid_subject: Annotated[str, AfterValidator(_subject)] | None = Field(
        default=None, description="Who answers for what is pushed: `mailto:` or `https:`; unset: the sender of mails."
    )
    push_timeout_seconds: float = Field(default=10.0, gt=0, le=60, description="Seconds that a push may take.")
    push_connections: int = Field(
        default=16, ge=1, le=100, description="Maximum pushed messages at a time, of a worker."
    )
    webhook_allow: Annotated[str, AfterValidator(_networks)] = Field(
        default="",
        description="Networks (CIDR, with commas) that webhooks and pushes may reach though they are not public.",
    )
    program: str = Field(default="Wafa", min_length=1, max_length=100, description="Name of the program in messages.")
    locale: Locale = Field(default="en", description="Locale (BCP 47) that every template has on each channel.")
    currency: str = Field(
        default="USD",
        pattern=r"^[A-Z]{3}$",
        description="Currency (ISO 4217) of amounts in templates that have none of their own.",
    )
    time_zone: TimeZone = Field(default="UTC", description="Time zone (IANA) of customers whose profile has none.")
    mail_batch: int = Field(default=50, ge=1, le=500, description="Maximum number of mails over one connection.")
    mail_attempts: int = Field(
        default=10, ge=1, le=16, description="Attempts to send a mail that the server defers (10: about 8 hours)."
    )

    public_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8000"),
        description="The URL at which customers reach this API: links in messages begin with it.",
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret that signs the links in messages and keys the hashes of addresses: 32 characters or more. "
        "Unset: messages have no links to unsubscribe, nothing is tracked, and no webhook is sent.",
    )
    provider_secrets: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")], SecretStr] = Field(
        default={},
        description="Secrets that sign what providers report (Standard Webhooks), as JSON: "
        '`{"provider": "whsec_…"}`. The provider is the last part of the path that it reports to.',
    )
    quiet_from: time = Field(
        default=time(21), description="Local time at which quiet hours begin, for customers who chose none."
    )
    quiet_to: time = Field(
        default=time(8), description="Local time at which quiet hours end; the same as their begin: there are none."
    )
    marketing_per_day: int = Field(
        default=1, ge=0, le=50, description="Maximum marketing messages to a customer on one channel and local day."
    )
    marketing_per_week: int = Field(
        default=3, ge=0, le=100, description="The same on seven days: today and the six before."
    )

    @model_validator(mode="after")
    def _password_is_not_sent_in_clear(self) -> Self:
        if self.smtp_user is not None and self.smtp_tls == "none" and self.smtp_host not in _LOOPBACK:
            raise ValueError("a login at another host needs WAFA_NOTIFICATIONS_SMTP_TLS (starttls or implicit)")
        return self

    @model_validator(mode="after")
    def _domain_signs_for_the_sender(self) -> Self:
        if self.dkim_domain is None:
            return self
        signs, sends = (f".{domain.lower()}" for domain in (self.dkim_domain, self.mail_domain))
        if not (signs.endswith(sends) or sends.endswith(signs)):
            raise ValueError("WAFA_NOTIFICATIONS_DKIM_DOMAIN is not related to that of WAFA_NOTIFICATIONS_SENDER")
        return self

    @model_validator(mode="after")
    def _account_is_complete(self) -> Self:
        given = {value is not None for value in (self.sms_account, self.sms_token, self.sms_sender)}
        if len(given) > 1:
            raise ValueError(
                "WAFA_NOTIFICATIONS_SMS_ACCOUNT, _SMS_TOKEN and _SMS_SENDER are set together or not at all"
            )
        if given == {True} and self.sms_apprise_url is not None:
            raise ValueError("WAFA_NOTIFICATIONS_SMS_APPRISE_URL stands in for WAFA_NOTIFICATIONS_SMS_ACCOUNT: set one")
        return self

    def gate_limits(self) -> Limits:
        """What the gate has to know of the settings."""
        hours = QuietHours(self.quiet_from, self.quiet_to)
        zone, channels = ZoneInfo(self.time_zone), frozenset(self._channels())
        return Limits(zone, hours, self.marketing_per_day, self.marketing_per_week, channels)

    def _channels(self) -> Iterator[Channel]:
        """The channels that a provider is set for."""
        yield from (Channel.IN_APP, Channel.EMAIL)
        if self.sms_account is not None or self.sms_apprise_url is not None:
            yield Channel.SMS
        if self.vapid_private_key is not None:
            yield Channel.PUSH

    def keys(self) -> Keys:
        """The keys of the secret; without one they hash addresses, but no token of theirs is to be trusted."""
        return keys_of("" if self.secret is None else self.secret.get_secret_value())

    def signing_keys(self) -> Keys | None:
        """The keys that sign tokens; None where no secret is set."""
        return None if self.secret is None else self.keys()

    def links(self, message_id: UUID) -> Links | None:
        """The links of a message; None where no secret is set."""
        keys = self.signing_keys()
        return None if keys is None else Links(keys, str(self.public_url).rstrip("/"), message_id)

    @property
    def mail_domain(self) -> str:
        """The domain of the sender of mails, as the DNS has it."""
        return (mailbox(parseaddr(self.sender)[1]) or "").rpartition("@")[2]
