"""The channels that the settings name, ready to send."""

from dataclasses import dataclass
from typing import Any

from services.notifications.channels.apprise import Apprise
from services.notifications.channels.email import Email
from services.notifications.channels.email.compose import Sender
from services.notifications.channels.email.connection import Server
from services.notifications.channels.email.pool import Limits, Pool
from services.notifications.channels.email.signing import Signer
from services.notifications.channels.port import Mail, Port, Push, Sms
from services.notifications.channels.push import WebPush
from services.notifications.channels.push.vapid import Vapid
from services.notifications.channels.sms import Account, TextMessages
from services.notifications.channels.webhooks import Webhooks
from services.notifications.settings import Settings
from shared.http.guard import Guard, networks


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels that leave Wafa; None: the settings name no provider, so nothing can be sent."""

    email: Port[Mail]
    sms: Port[Sms] | None
    push: Port[Push] | None

    async def close(self) -> None:
        """Close all connections."""
        ports: tuple[Port[Any] | None, ...] = (self.email, self.sms, self.push)
        for port in ports:
            if port is not None:
                await port.close()


def open_all(settings: Settings) -> Channels:
    """The channels of the settings, each with a pool of its own. Connections are opened when they are needed.

    Raises:
        ValueError: a key cannot be used; the message names its setting.
    """
    return Channels(open_email(settings), _open_sms(settings), _open_push(settings))


def open_webhooks(settings: Settings) -> Webhooks:
    """What sends webhooks, to public addresses and to those that the settings allow."""
    return Webhooks(Guard(networks(settings.webhook_allow)).transport(connections=256))


def open_email(settings: Settings) -> Email:
    """The channel `email` of the settings.

    Raises:
        ValueError: the DKIM key cannot be used; the message names its setting.
    """
    server = Server(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        tls=settings.smtp_tls,
        timeout=settings.smtp_timeout_seconds,
    )
    limits = Limits(connections=settings.smtp_connections, mails=settings.mail_batch)
    return Email(Sender(settings.sender), Pool(server, limits), _signer(settings))


def vapid(settings: Settings) -> Vapid | None:
    """The key that identifies Wafa to push services; None where none is set.

    Raises:
        ValueError: the key cannot be used; the message names its setting.
    """
    if settings.vapid_private_key is None:
        return None
    subject = settings.vapid_subject or f"mailto:{Sender(settings.sender).address}"
    try:
        return Vapid(settings.vapid_private_key.get_secret_value(), subject)
    except ValueError as error:
        raise ValueError(f"settings: WAFA_NOTIFICATIONS_VAPID_PRIVATE_KEY: {error}") from None


def _signer(settings: Settings) -> Signer | None:
    file = settings.dkim_key_file
    if file is None:
        return None
    try:
        return Signer(file.read_bytes(), settings.dkim_selector, settings.dkim_domain or settings.mail_domain)
    except (OSError, ValueError) as error:
        raise ValueError(f"settings: WAFA_NOTIFICATIONS_DKIM_KEY_FILE: {error}") from None


def _open_sms(settings: Settings) -> Port[Sms] | None:
    if settings.sms_apprise_url is not None:
        url = settings.sms_apprise_url.get_secret_value()
        try:
            return Apprise(url, settings.sms_connections, settings.sms_timeout_seconds)
        except ValueError as error:
            raise ValueError(f"settings: WAFA_NOTIFICATIONS_SMS_APPRISE_URL: {error}") from None
    if settings.sms_account is None or settings.sms_token is None or settings.sms_sender is None:
        return None
    token = settings.sms_token.get_secret_value()
    account = Account(settings.sms_url, settings.sms_account, token, settings.sms_sender)
    return TextMessages(account, settings.sms_connections, settings.sms_timeout_seconds)


def _open_push(settings: Settings) -> WebPush | None:
    key = vapid(settings)
    if key is None:
        return None
    transport = Guard(networks(settings.webhook_allow)).transport()
    return WebPush(key, transport, settings.push_connections, settings.push_timeout_seconds)
