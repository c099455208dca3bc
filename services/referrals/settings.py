"""What a process of the service is told."""

from typing import ClassVar

from pydantic import Field, HttpUrl
from pydantic_settings import SettingsConfigDict

from shared.process.settings import ServiceSettings, linger, relay_linger


class Settings(ServiceSettings):
    """Settings of the service's API and worker."""

    model_config = SettingsConfigDict(env_prefix="WAFA_REFERRALS_")

    service: ClassVar[str] = "referrals"

    # Nobody waits for what is decided here as for points: larger batches are worth more.
    linger_ms: int = linger(250)
    relay_linger_ms: int = relay_linger(250)

    public_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8000"),
        description="Where customers reach this API: links are `<public_url>/r/CODE`.",
    )
    shop_url: HttpUrl = Field(
        default=HttpUrl("https://shop.example.org/"),
        description="Where a link leads: the shop's page, to whose query `ref=CODE` is added.",
    )
