"""The jobs that send what waits: they hold no transaction while a provider is slow."""

from services.notifications.sending.job import LEASE, Sender

__all__ = ["LEASE", "Sender"]
