"""Settings of the points service."""

from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings


class Settings(ServiceSettings):
    """What a process of the points service is told."""

    model_config = SettingsConfigDict(env_prefix="WAFA_POINTS_")
    service = "points"
