"""Settings that every service has, read from the environment once, at the door."""

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
    """A field that all services read under one name, `WAFA_…`, without the service's prefix."""
    return Field(default=default, validation_alias=name, description=description, **limits)


def linger(milliseconds: int) -> Any:  # noqa: ANN401 see above
    """The field `linger_ms` with a default."""
    told = "Milliseconds that few records wait for more, to be read (tiers, referrals: 250, notifications: 0)."
    return Field(default=milliseconds, ge=0, le=1000, description=told)


def relay_linger(milliseconds: int) -> Any:  # noqa: ANN401 see above
    """The field `relay_linger_ms` with a default."""
    told = "Milliseconds that few events wait for more, to be published (tiers, referrals, notifications: 250)."
    return Field(default=milliseconds, ge=0, le=1000, description=told)


def in_lanes(count: int) -> Any:  # noqa: ANN401 see above
    """The field `lanes` with a default."""
    told = "The most transactions of a worker at once, of different customers (points: 4)."
    return Field(default=count, ge=1, le=16, description=told)


class ServiceSettings(BaseSettings):
    """What a process of any service is told. A service's own class names it and adds to it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    service: ClassVar[str]

    database_url: str = Field(
        default="",
        description="PostgreSQL, as a URL: the database of this service (WAFA_DATABASE_URL_<SERVICE>).",
    )
    kafka_bootstrap: str = shared_name("WAFA_KAFKA_BOOTSTRAP", "localhost:9092", "Kafka: host:port, comma separated.")
    kafka_idempotence: bool = shared_name(
        "WAFA_KAFKA_IDEMPOTENCE", default=True, description="An idempotent producer; off for the embedded broker only."
    )
    kafka_session_timeout_ms: int = shared_name(
        "WAFA_KAFKA_SESSION_TIMEOUT_MS",
        10_000,
        "Milliseconds without a heartbeat before a worker is given up.",
        ge=1000,
    )
    api_keys_file: Path | None = shared_name(
        "WAFA_API_KEYS_FILE", None, "The file of API keys (python -m deploy.keys)."
    )
    api_keys_pepper: SecretStr = shared_name(
        "WAFA_API_KEYS_PEPPER", SecretStr(""), "A secret that the hashes of API keys are keyed with besides."
    )
    jwt_key: SecretStr | None = shared_name(
        "WAFA_JWT_KEY", None, "What customers' tokens are verified with: an HS256 secret, or a public key in PEM."
    )
    jwt_jwks: str | None = shared_name(
        "WAFA_JWT_JWKS", None, "A JWKS instead: inline JSON, a file's path or an https URL."
    )
    jwt_issuer: str | None = shared_name("WAFA_JWT_ISSUER", None, "The `iss` that a token must have.")
    jwt_audience: str | None = shared_name("WAFA_JWT_AUDIENCE", None, "The `aud` that a token must have.")
    log_level: str = shared_name("WAFA_LOG_LEVEL", "INFO", "The least level that is logged.")
    host: str = Field(default="127.0.0.1", description="The address that the API and the probes listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="The API's port.")
    probe_port: int = Field(default=9000, ge=0, le=65535, description="The port of a worker's probes and metrics.")
    batch_size: int = Field(default=500, ge=1, le=5000, description="The most records of one transaction.")
    lanes: int = in_lanes(2)
    linger_ms: int = linger(50)
    relay_linger_ms: int = relay_linger(50)
    max_connections: int = Field(
        default=1000,
        ge=10,
        le=100_000,
        description="The most HTTP connections of a process, also of its probes; no more than it may open files.",
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds that an HTTP connection waits for its next request: more than the load balancer's.",
    )
    pool_size: int = Field(default=8, ge=3, le=100, description="The most database connections of a process.")
    dead_letter_days: int = Field(default=90, ge=1, le=3650, description="Days that a dead letter is kept.")
    waiting_days: int = Field(
        default=400,
        ge=30,
        le=3650,
        description="Days that a refund, delivery or withdrawal waits for what it is about.",
    )

    @field_validator("jwt_jwks")
    @classmethod
    def _keys_come_unchanged(cls, jwks: str | None) -> str | None:
        if jwks and "://" in jwks and not jwks.lstrip().startswith("{"):
            checked_url(jwks.strip())
        return jwks

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Give the service's database its public name, beside the prefixed one."""
        service = cls.service.upper()
        field: FieldInfo = cls.model_fields["database_url"]
        field.validation_alias = AliasChoices(f"WAFA_DATABASE_URL_{service}", "database_url")
        cls.model_rebuild(force=True)

    def broker(self) -> Broker:
        """How to reach Kafka."""
        return Broker(
            bootstrap=self.kafka_bootstrap,
            client_id=f"wafa-{self.service}",
            idempotent=self.kafka_idempotence,
            session_timeout_ms=self.kafka_session_timeout_ms,
            linger_ms=self.linger_ms,
            relay_linger_ms=self.relay_linger_ms,
        )

    def limits(self) -> Limits:
        """What a caller over HTTP may cost."""
        return Limits(connections=self.max_connections, keep_alive=self.keep_alive_seconds)

    def retention(self) -> Retention:
        """How long records are kept that had no effect."""
        return Retention(timedelta(days=self.dead_letter_days), timedelta(days=self.waiting_days))

    def authenticator(self) -> Authenticator:
        """Who may call.

        Raises:
            ValueError: the key for tokens is none that Wafa accepts.
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
