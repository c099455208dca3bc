"""Settings of the points service."""

from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings, in_lanes


class Settings(ServiceSettings):
    """What a process of the points service is told."""

    model_config = SettingsConfigDict(env_prefix="WAFA_POINTS_")
    service = "points"

    # In a drain its Python is on a processor for 0.77 of the time with four, for 0.72 with two.
    lanes: int = in_lanes(4)
