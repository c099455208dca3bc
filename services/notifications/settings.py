"""Settings of the notifications service."""

from email.utils import parseaddr
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.notifications.rules.gate import mailbox
from shared.contracts.values import TimeZone
from shared.process.settings import ServiceSettings, linger, relay_linger

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _sender(text: str) -> str:
    if mailbox(parseaddr(text)[1]) is None or not text.isprintable():
        raise ValueError("has to be an address such as `Wafa <loyalty@example.org>`")
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
    sender: Annotated[str, AfterValidator(_sender)] = Field(
        default="Wafa <loyalty@example.org>",
        description="`From` of every mail; its domain is in every Message-ID.",
    )
    program: str = Field(default="Wafa", min_length=1, max_length=100, description="Name of the program in messages.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone (IANA) of customers whose profile has none.")
    mail_batch: int = Field(default=50, ge=1, le=500, description="Maximum number of mails per connection.")
    mail_attempts: int = Field(
        default=10, ge=1, le=16, description="Attempts to send a mail that the server defers (10: about 8 hours)."
    )

    @model_validator(mode="after")
    def _password_is_not_sent_in_clear(self) -> Self:
        if self.smtp_user is not None and self.smtp_tls == "none" and self.smtp_host not in _LOOPBACK:
            raise ValueError("a login at another host needs WAFA_NOTIFICATIONS_SMTP_TLS (starttls or implicit)")
        return self
