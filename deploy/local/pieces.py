"""The parts of a stack: its broker and server, and the settings of the services."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

from deploy.local import addresses, credentials
from deploy.local.addresses import BROKER, GATEWAY, MAIL, POSTGRES, SMTP
from deploy.local.broker import EmbeddedBroker
from deploy.local.kafka import ApacheKafka
from deploy.local.layout import REPOSITORY, Layout
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import Postgres
from deploy.local.program import Program
from deploy.local.supervisor import Member
from services import SERVICES

EMBEDDED_SESSION_MS = 6_000  # a group join on the embedded broker takes half of it
WORKER_GRACE = 25.0  # a worker ends within 15 s by itself
GATEWAY_GRACE = 15.0


class Kafka(StrEnum):
    """A broker that the stack starts."""

    EMBEDDED = "embedded"
    APACHE = "apache"


@dataclass(frozen=True)
class Pieces:
    """The parts of a start. None: your own broker or server is used."""

    ports: Mapping[str, int]
    postgres: Postgres | None
    server_url: str
    broker: EmbeddedBroker | ApacheKafka | None
    bootstrap: str

    @property
    def url(self) -> str:
        """The address of the APIs."""
        return f"http://{LOOPBACK}:{self.ports[GATEWAY]}"

    def database_url(self, service: str) -> str:
        """The address of a service's database on the server."""
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/wafa_{service}"))

    def describe(self) -> str:
        """A description in one line."""
        server = "embedded PostgreSQL" if self.postgres else "your PostgreSQL"
        if self.broker is None:
            return f"{server}, your Kafka at {self.bootstrap}"
        kind = "Apache Kafka" if isinstance(self.broker, ApacheKafka) else "embedded broker"
        return f"{server}, {kind} at {self.bootstrap}"


def choose(layout: Layout, kafka: Kafka | None, port: int | None) -> Pieces:
    """Choose ports, broker and server. Arguments take precedence over the environment, and that over defaults.

    Raises:
        StartError: the requested port is taken, or the server cannot be prepared.
    """
    bootstrap = None if kafka is not None else addresses.foreign_broker(layout, os.environ)
    ports = addresses.choose(layout, port).ports
    broker: EmbeddedBroker | ApacheKafka | None = None
    if kafka is Kafka.APACHE:
        broker = ApacheKafka(layout.kafka, ports[BROKER])
    elif bootstrap is None:
        broker = EmbeddedBroker(ports[BROKER], layout.logs / "broker.log")
    server_url, postgres = os.environ.get("WAFA_DATABASE_URL", ""), None
    if not server_url:
        postgres = Postgres(layout.postgres, ports[POSTGRES])
        postgres.prepare()
        server_url = postgres.url()
    if bootstrap is None:
        assert broker is not None
        bootstrap = broker.bootstrap
    return Pieces(ports, postgres, server_url, broker, bootstrap)


def settings(layout: Layout, pieces: Pieces) -> dict[str, str]:
    """The environment of the services, and of every script that reaches the stack."""
    secrets = credentials.ensure(layout)
    embedded = isinstance(pieces.broker, EmbeddedBroker)
    theirs = {} if pieces.broker is not None else os.environ
    return {
        "WAFA_URL": pieces.url,
        "WAFA_KAFKA_BOOTSTRAP": pieces.bootstrap,
        "WAFA_KAFKA_IDEMPOTENCE": theirs.get("WAFA_KAFKA_IDEMPOTENCE", "false" if embedded else "true"),
        "WAFA_KAFKA_SESSION_TIMEOUT_MS": theirs.get("WAFA_KAFKA_SESSION_TIMEOUT_MS", str(EMBEDDED_SESSION_MS)),
        **{f"WAFA_DATABASE_URL_{service.upper()}": pieces.database_url(service) for service in SERVICES},
        "WAFA_ADMIN_TOKEN": secrets.admin_token,
        "WAFA_API_KEYS_FILE": str(layout.api_keys),
        "WAFA_JWT_KEY": secrets.jwt_key,
        "WAFA_REFERRALS_PUBLIC_URL": pieces.url,
        "WAFA_REFERRALS_EVIDENCE_KEY": secrets.evidence_key,
        "WAFA_NOTIFICATIONS_PUBLIC_URL": pieces.url,
        "WAFA_NOTIFICATIONS_SECRET": secrets.message_secret,
        "WAFA_NOTIFICATIONS_PROVIDER_SECRETS": json.dumps({"local": secrets.provider_secret}),
        "WAFA_NOTIFICATIONS_SMTP_HOST": LOOPBACK,
        "WAFA_NOTIFICATIONS_SMTP_PORT": str(pieces.ports[SMTP]),
        "WAFA_NOTIFICATIONS_SMS_URL": f"http://{LOOPBACK}:{pieces.ports[MAIL]}",
        "WAFA_NOTIFICATIONS_SMS_ACCOUNT": "ACLOCAL",
        "WAFA_NOTIFICATIONS_SMS_TOKEN": secrets.sms_token,
        "WAFA_NOTIFICATIONS_SMS_SENDER": "+15005550006",
        "WAFA_NOTIFICATIONS_VAPID_PRIVATE_KEY": secrets.vapid_key,
        "WAFA_NOTIFICATIONS_WEBHOOK_ALLOW": "127.0.0.0/8",
        "WAFA_MAIL_URL": f"http://{LOOPBACK}:{pieces.ports[MAIL]}",
    }


def mail(pieces: Pieces) -> Member:
    """The catcher of mails, text messages and pushes."""
    smtp, http = str(pieces.ports[SMTP]), pieces.ports[MAIL]
    program = _python("mail", ("deploy.local.mail", smtp, str(http)), {})
    return Member("mail", lambda: program, lambda: _says_ok(http, "/livez"))


def gateway(pieces: Pieces, env: Mapping[str, str]) -> Member:
    """The process that serves the APIs of all services."""
    port = pieces.ports[GATEWAY]
    program = _python("gateway", ("deploy.local.gateway", str(port)), env, GATEWAY_GRACE)
    return Member("gateway", lambda: program, lambda: _says_ok(port, "/readyz"))


def worker(service: str, pieces: Pieces, env: Mapping[str, str]) -> Member:
    """A service's worker. Its probe port is not in the env file, so that a script can start another worker."""
    port = pieces.ports[service]
    own = {**env, f"WAFA_{service.upper()}_PROBE_PORT": str(port), f"WAFA_{service.upper()}_HOST": LOOPBACK}
    program = _python(f"{service}-worker", (f"services.{service}", "worker"), own, WORKER_GRACE)
    return Member(program.name, lambda: program, lambda: _says_ok(port, "/readyz"))


def _python(name: str, module: tuple[str, ...], env: Mapping[str, str], grace: float = 5.0) -> Program:
    return Program(name=name, argv=(sys.executable, "-m", *module), env=env, cwd=REPOSITORY, grace=grace)


def _says_ok(port: int, path: str) -> bool:
    """Whether a probe answers 200."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=3.0) as answer:
            return answer.status == HTTPStatus.OK
    except (urllib.error.URLError, OSError):
        return False
