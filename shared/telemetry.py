"""Observability of a process: JSON logs and the list of metrics."""

import logging
import sys
import traceback
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from structlog.typing import EventDict, Processor, WrappedLogger

_MOST_FRAMES: Final = 30

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)
_RECORDS: Final = (1, 2, 5, 10, 25, 50, 100, 200, 300, 400, 500)

LAG: Final = Gauge(
    "wafa_lag_records",
    "Records of a partition (topic, partition) in Kafka whose effect is not committed yet.",
    ("topic", "partition"),
)
BATCH_SIZE: Final = Histogram(
    "wafa_batch_records", "Records per committed batch, of all types and topics.", buckets=_RECORDS
)
HANDLER_SECONDS: Final = Histogram(
    "wafa_handler_seconds",
    "Duration of a batch's transaction in seconds, from the first statement to the commit.",
    buckets=_FAST,
)
COMMIT_DELAY: Final = Histogram(
    "wafa_record_to_commit_seconds",
    "Seconds from the Kafka timestamp of a batch's oldest record to the commit of its effect, by topic.",
    ("topic",),
    buckets=_SLOW,
)
RETRIES: Final = Counter(
    "wafa_retries_total",
    "Retries of batches after a transient failure (lost connection, deadlock, timeout), by its class.",
    ("failure",),
)
DEAD_LETTERS: Final = Counter(
    "wafa_dead_letters_total", "Records that became dead letters, by topic and reason.", ("topic", "reason")
)
EXPIRED: Final = Counter(
    "wafa_expired_records_total",
    "Dead letters and waiting records that were deleted at the end of their retention, by kind.",
    ("kind",),
)
SKIPPED: Final = Counter(
    "wafa_skipped_total",
    "Events skipped because the service does not handle their type, by topic.",
    ("topic",),
)
DUPLICATES: Final = Counter(
    "wafa_duplicates_total",
    "Repeated events without effect, by how they were recognized: inbox (source and id), natural_key, or "
    "repeat_differs (a natural key with different content).",
    ("kind",),
)
OUTBOX_ROWS: Final = Gauge("wafa_outbox_rows", "Rows in the outbox: events that are committed and not published yet.")
OUTBOX_AGE: Final = Gauge(
    "wafa_outbox_age_seconds", "Age of the oldest row of the outbox in seconds; 0 if it is empty."
)
RELAY_PUBLISHED: Final = Counter(
    "wafa_relay_published_total", "Events published by the relay and acknowledged by Kafka, by topic.", ("topic",)
)
RELAY_FAILURES: Final = Counter(
    "wafa_relay_failures_total", "Failed attempts of the relay to publish a batch; its rows are kept."
)
LEDGER_IMBALANCE: Final = Gauge(
    "wafa_ledger_imbalance_points", "Sum of all accounts of the ledger in points; any value but 0 is an error."
)
UNLISTED_TIERS: Final = Counter(
    "wafa_unlisted_tiers_total",
    "Tiers in events of the tiers service that the earning rules in force do not list.",
)
UNLISTED_TIER_CUSTOMERS: Final = Gauge(
    "wafa_unlisted_tier_customers",
    "Customers whose tier the earning rules in force do not list, by tier; no series if there are none.",
    ("tier",),
)
TIER_SLICES: Final = Gauge(
    "wafa_tier_program_slices_left",
    "Groups of up to 500 customers to whom a tier program that is in force is not applied yet.",
)
WEBHOOKS: Final = Counter(
    "wafa_webhook_attempts_total", "Attempts to send webhooks, by outcome: delivered or failed.", ("outcome",)
)
HTTP_REQUESTS: Final = Counter(
    "wafa_http_requests_total", "HTTP requests, by method, route and status.", ("method", "route", "status")
)
HTTP_SECONDS: Final = Histogram(
    "wafa_http_request_seconds",
    "Seconds from the headers of an HTTP request to the end of its response, by method and route.",
    ("method", "route"),
    buckets=_FAST,
)

HTTP_CUT: Final = Counter(
    "wafa_http_connections_cut_total",
    "Connections that the server refused or closed, by reason: too_many_connections, evicted, head_too_large, "
    "head_timeout, body_timeout, slow_reader, malformed_request, too_many_pipelined.",
    ("reason",),
)
PROVIDER_EVENTS: Final = Counter(
    "wafa_provider_events_total",
    "Events that providers of mail and text messages reported; `unknown` are skipped.",
    ["type"],
)

METRICS: Final[tuple[MetricWrapperBase, ...]] = (
    LAG,
    BATCH_SIZE,
    HANDLER_SECONDS,
    COMMIT_DELAY,
    RETRIES,
    DEAD_LETTERS,
    EXPIRED,
    SKIPPED,
    DUPLICATES,
    OUTBOX_ROWS,
    OUTBOX_AGE,
    RELAY_PUBLISHED,
    RELAY_FAILURES,
    LEDGER_IMBALANCE,
    UNLISTED_TIERS,
    UNLISTED_TIER_CUSTOMERS,
    TIER_SLICES,
    WEBHOOKS,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_CUT,
    PROVIDER_EVENTS,
)
"""Every metric of Wafa; `describe()` of each gives its name, type and help."""


def configure(service: str, level: str = "INFO") -> None:
    """Log JSON lines to stderr, those of the standard library's loggers too.

    Each line has `service`, `time` (UTC), `level`, `logger` if there is one, and the values bound to the context, such
    as `request_id` and `correlation_id`.

    Raises:
        ValueError: `level` is not a level of the standard library.
    """

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    of_both: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        name_service,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *of_both,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=of_both,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    disable_created_metrics()  # one more time series per counter, which nobody reads
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def trace(error: BaseException) -> dict[str, object]:
    """The fields of an error for the log: its type and where it was raised, but not its message.

    The message, and the details of PostgreSQL errors, may quote personal data.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    fields: dict[str, object] = {
        "failure": type(error).__name__,
        "trace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    named = {name: getattr(error, name, None) for name in ("sqlstate", "table_name", "column_name", "constraint_name")}
    return fields | {name: value for name, value in named.items() if value}
