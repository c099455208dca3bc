"""What a process of the service is told."""

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings, linger, relay_linger


class Settings(ServiceSettings):
    """Settings of the service's API and worker."""

    model_config = SettingsConfigDict(env_prefix="WAFA_TIERS_")

    service: ClassVar[str] = "tiers"

    # Nobody waits for what is decided here as for points: larger batches are worth more.
    linger_ms: int = linger(250)
    relay_linger_ms: int = relay_linger(250)
