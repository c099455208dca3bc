"""The settings of the service's processes."""

from typing import ClassVar

from pydantic import Field, HttpUrl, SecretStr
from pydantic_settings import SettingsConfigDict

from services.referrals.rules.evidence.keys import EvidenceKey, key_of
from shared.process.settings import ServiceSettings, linger, relay_linger


class Settings(ServiceSettings):
    """Settings of the service's API and worker."""

    model_config = SettingsConfigDict(env_prefix="WAFA_REFERRALS_")

    service: ClassVar[str] = "referrals"

    # Customers wait less for a referral than for points, so larger batches are worth a longer delay.
    linger_ms: int = linger(250)
    relay_linger_ms: int = relay_linger(250)

    public_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8000"),
        description="The URL at which customers reach this API: referral links are `<public_url>/r/CODE`.",
    )
    shop_url: HttpUrl = Field(
        default=HttpUrl("https://shop.example.org/"),
        description="The page of the shop that referral links lead to, with `ref=CODE` added to its query.",
    )
    evidence_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret that keys the stored evidence against fraud: 32 characters or more. Unset: none is stored.",
    )

    def key(self) -> EvidenceKey | None:
        """The key of evidence; None where none is set."""
        return None if self.evidence_key is None else key_of(self.evidence_key.get_secret_value())
