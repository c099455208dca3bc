import json
import subprocess
import sys

import pytest
from prometheus_client.metrics import MetricWrapperBase

from shared import telemetry

PROGRAM = """
import logging, structlog
from shared import telemetry
telemetry.configure("points", {level!r})
log = structlog.stdlib.get_logger("points.worker")
with structlog.contextvars.bound_contextvars(correlation_id="abc"):
    log.info("batch_committed", records=3, arabic="نقاط")
    logging.getLogger("aiokafka").warning("lost %s", "broker")
log.debug("hidden")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def run(level: str = "INFO"):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == ""
    return done


def test_every_line_is_json_also_that_of_other_libraries():
    committed, lost, failed = [json.loads(line) for line in run().stderr.splitlines()]
    assert committed["time"].endswith("Z")
    del committed["time"]
    assert committed == {
        "event": "batch_committed",
        "service": "points",
        "level": "info",
        "logger": "points.worker",
        "correlation_id": "abc",
        "records": 3,
        "arabic": "نقاط",
    }
    assert (lost["event"], lost["logger"], lost["correlation_id"]) == ("lost broker", "aiokafka", "abc")
    assert "ZeroDivisionError" in failed["exception"]


def test_the_level_is_a_setting():
    assert [json.loads(line)["event"] for line in run("ERROR").stderr.splitlines()] == ["failed"]
    assert "hidden" in run("DEBUG").stderr


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="Unknown level"):
        telemetry.configure("points", "LOUD")


def test_every_metric_has_the_prefix_a_unit_and_a_sentence():
    for metric in telemetry.METRICS:
        described = metric.describe()[0]
        assert described.name.startswith("wafa_")
        assert described.documentation.endswith(".")
        if described.name.endswith("seconds"):
            assert "seconds" in described.documentation.lower()
    assert len({metric.describe()[0].name for metric in telemetry.METRICS}) == len(telemetry.METRICS)


def test_the_list_of_metrics_is_whole():
    found = {value for value in vars(telemetry).values() if isinstance(value, MetricWrapperBase)}
    assert found == set(telemetry.METRICS)
