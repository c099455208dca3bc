"""Settings of the points service."""

from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings, in_lanes


class Settings(ServiceSettings):
    """What a process of the points service is told."""

    model_config = SettingsConfigDict(env_prefix="WAFA_POINTS_")
    service = "points"

    # With two its Python waits for PostgreSQL for a quarter of the time, although each has another core.
    lanes: int = in_lanes(4)
