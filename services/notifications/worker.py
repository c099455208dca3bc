"""The events that notifications subscribes to, and its jobs."""

from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

from services.notifications import handlers
from services.notifications.mail import Server
from services.notifications.rendering import Templates
from services.notifications.rules import notice, profile
from services.notifications.sending import Sender
from services.notifications.settings import Settings
from services.notifications.store import mails, messages
from shared.messaging.worker import DueWork, Job, WorkerSpec, subscriptions


def spec(settings: Settings) -> WorkerSpec:
    """The worker of notifications."""
    templates = Templates(settings.program, ZoneInfo(settings.time_zone))
    return WorkerSpec(
        service=settings.service,
        subscriptions=subscriptions(notice.TYPES | profile.TYPES),
        handle=partial(handlers.handle, templates),
        erase=messages.erase,
        due_work=(DueWork("mails to send", mails.count_due),),
        jobs=(Job("send mails", timedelta(seconds=1), _sender(settings, templates).run),),
    )


def _sender(settings: Settings, templates: Templates) -> Sender:
    server = Server(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        tls=settings.smtp_tls,
        timeout=settings.smtp_timeout_seconds,
    )
    return Sender(templates, server, settings.sender, settings.mail_batch, settings.mail_attempts)
