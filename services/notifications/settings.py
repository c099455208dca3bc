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
        raise ValueError("not an address such as `Wafa <loyalty@example.org>`")
    return text


class Settings(ServiceSettings):
    """What the processes of notifications are told."""

    model_config = SettingsConfigDict(env_prefix="WAFA_NOTIFICATIONS_")

    service: ClassVar[str] = "notifications"

    # What is read here was published by relays, in portions: it need not wait for more once again.
    linger_ms: int = linger(0)
    # Nobody waits for what becomes of messages as for the messages.
    relay_linger_ms: int = relay_linger(250)

    smtp_host: str = Field(default="localhost", description="The mail server that takes what is sent.")
    smtp_port: int = Field(default=1025, ge=1, le=65535, description="The mail server's port.")
    smtp_user: str | None = Field(default=None, description="The name to log in with; none: no login.")
    smtp_password: SecretStr | None = Field(default=None, description="The password to log in with.")
    smtp_tls: Literal["none", "starttls", "implicit"] = Field(
        default="none", description="`starttls` upgrades the connection, `implicit` is TLS from the first byte."
    )
    smtp_timeout_seconds: float = Field(default=30.0, gt=0, le=120, description="The longest wait for one answer.")
    sender: Annotated[str, AfterValidator(_sender)] = Field(
        default="Wafa <loyalty@example.org>", description="The From of every mail; its domain is in every Message-ID."
    )
    program: str = Field(default="Wafa", min_length=1, max_length=100, description="What messages call the program.")
    time_zone: TimeZone = Field(default="UTC", description="The zone (IANA) of dates for customers who told none.")
    mail_batch: int = Field(default=50, ge=1, le=500, description="The most mails of one connection.")
    mail_attempts: int = Field(
        default=10, ge=1, le=16, description="How often a mail is tried that the server puts off (10: about 8 hours)."
    )

    @model_validator(mode="after")
    def _password_is_not_sent_in_clear(self) -> Self:
        if self.smtp_user is not None and self.smtp_tls == "none" and self.smtp_host not in _LOOPBACK:
            raise ValueError("a login at another machine needs WAFA_NOTIFICATIONS_SMTP_TLS (starttls or implicit)")
        return self
