"""The settings of the service's processes."""

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings, linger, relay_linger


class Settings(ServiceSettings):
    """Settings of the service's API and worker."""

    model_config = SettingsConfigDict(env_prefix="WAFA_TIERS_")

    service: ClassVar[str] = "tiers"

    # Customers wait less for a tier than for points, so larger batches are worth a longer delay.
    linger_ms: int = linger(250)
    relay_linger_ms: int = relay_linger(250)
