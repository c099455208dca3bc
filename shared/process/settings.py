"""Settings of every service, read once from the environment, by its command line."""

from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.http.auth import Authenticator, JwtSettings
from shared.http.auth.verification_keys import checked_url
from shared.http.limits import Limits
from shared.messaging.kafka import Broker
from shared.messaging.worker import Retention


def shared_name(name: str, default: Any, description: str, **limits: Any) -> Any:  # noqa: ANN401 a field has any type
    """A field with one environment variable for all services, without the service's prefix."""
    return Field(default=default, validation_alias=name, description=description, **limits)


def linger(milliseconds: int) -> Any:  # noqa: ANN401 see above
    """The field `linger_ms` with a default."""
    description = "Maximum batching delay of reading in milliseconds (tiers, referrals: 250, notifications: 0)."
    return Field(default=milliseconds, ge=0, le=1000, description=description)


def relay_linger(milliseconds: int) -> Any:  # noqa: ANN401 see above
    """The field `relay_linger_ms` with a default."""
    description = "Maximum batching delay of publishing in milliseconds (tiers, referrals, notifications: 250)."
    return Field(default=milliseconds, ge=0, le=1000, description=description)


def in_lanes(count: int) -> Any:  # noqa: ANN401 see above
    """The field `lanes` with a default."""
    description = "Maximum concurrent transactions of a worker, of different customers (points: 4)."
    return Field(default=count, ge=1, le=16, description=description)


class ServiceSettings(BaseSettings):
    """Settings of any service's processes. Each service has a subclass, with its name and its own settings."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    service: ClassVar[str]

    database_url: str = Field(
        default="",
        description="URL of the service's PostgreSQL database (WAFA_DATABASE_URL_<SERVICE>).",
    )
    kafka_bootstrap: str = shared_name(
        "WAFA_KAFKA_BOOTSTRAP", "localhost:9092", "Kafka brokers as host:port, separated by commas."
    )
    kafka_idempotence: bool = shared_name(
        "WAFA_KAFKA_IDEMPOTENCE",
        default=True,
        description="Use an idempotent producer; off only for the embedded broker.",
    )
    kafka_session_timeout_ms: int = shared_name(
        "WAFA_KAFKA_SESSION_TIMEOUT_MS",
        10_000,
        "Milliseconds without a heartbeat after which a worker loses its partitions.",
        ge=1000,
    )
    api_keys_file: Path | None = shared_name("WAFA_API_KEYS_FILE", None, "File of API keys (python -m deploy.keys).")
    api_keys_pepper: SecretStr = shared_name(
        "WAFA_API_KEYS_PEPPER", SecretStr(""), "Secret that keys the hashes of API keys."
    )
    jwt_key: SecretStr | None = shared_name(
        "WAFA_JWT_KEY", None, "Key that verifies customers' tokens: an HS256 secret, or a public key in PEM."
    )
    jwt_jwks: str | None = shared_name(
        "WAFA_JWT_JWKS", None, "JWKS instead of a key: inline JSON, a path or an https URL."
    )
    jwt_issuer: str | None = shared_name("WAFA_JWT_ISSUER", None, "Required `iss` of tokens.")
    jwt_audience: str | None = shared_name("WAFA_JWT_AUDIENCE", None, "Required `aud` of tokens.")
    log_level: str = shared_name("WAFA_LOG_LEVEL", "INFO", "Minimum level of log events.")
    host: str = Field(default="127.0.0.1", description="Address that the API and the probes listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port of the API.")
    probe_port: int = Field(default=9000, ge=0, le=65535, description="Port of a worker's probes and metrics.")
    batch_size: int = Field(default=500, ge=1, le=5000, description="Maximum records of a transaction.")
    lanes: int = in_lanes(2)
    linger_ms: int = linger(50)
    relay_linger_ms: int = relay_linger(50)
    max_connections: int = Field(
        default=1000,
        ge=10,
        le=100_000,
        description="Maximum HTTP connections of a process, with its probes; at most its limit of open files.",
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds that an idle HTTP connection stays open: more than the load balancer's.",
    )
    pool_size: int = Field(default=8, ge=3, le=100, description="Maximum database connections of a process.")
    dead_letter_days: int = Field(default=90, ge=1, le=3650, description="Retention of dead letters in days.")
    waiting_days: int = Field(
        default=400,
        ge=30,
        le=3650,
        description="Days that a refund, delivery or withdrawal waits for its order or review.",
    )

    @field_validator("jwt_jwks")
    @classmethod
    def _keys_come_unchanged(cls, jwks: str | None) -> str | None:
        if jwks and "://" in jwks and not jwks.lstrip().startswith("{"):
            checked_url(jwks.strip())
        return jwks

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Let WAFA_DATABASE_URL_<SERVICE> set the database, besides the prefixed name."""
        service = cls.service.upper()
        field: FieldInfo = cls.model_fields["database_url"]
        field.validation_alias = AliasChoices(f"WAFA_DATABASE_URL_{service}", "database_url")
        cls.model_rebuild(force=True)

    def broker(self) -> Broker:
        """The broker and the settings of its clients."""
        return Broker(
            bootstrap=self.kafka_bootstrap,
            client_id=f"wafa-{self.service}",
            idempotent=self.kafka_idempotence,
            session_timeout_ms=self.kafka_session_timeout_ms,
            linger_ms=self.linger_ms,
            relay_linger_ms=self.relay_linger_ms,
        )

    def limits(self) -> Limits:
        """The limits of HTTP connections."""
        return Limits(connections=self.max_connections, keep_alive=self.keep_alive_seconds)

    def retention(self) -> Retention:
        """Retention of records without an effect."""
        return Retention(timedelta(days=self.dead_letter_days), timedelta(days=self.waiting_days))

    def authenticator(self) -> Authenticator:
        """The authenticator of API calls.

        Raises:
            ValueError: the key for tokens is not acceptable.
        """
        return Authenticator(
            self.api_keys_file,
            JwtSettings(
                key=self.jwt_key.get_secret_value() if self.jwt_key else None,
                jwks=self.jwt_jwks,
                issuer=self.jwt_issuer,
                audience=self.jwt_audience,
            ),
            pepper=self.api_keys_pepper.get_secret_value(),
        )
