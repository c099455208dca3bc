"""The one-machine stack as a script uses it, from the first start to the purge."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from deploy.local import environment, ports
from deploy.local.layout import REPOSITORY, Layout
from services import SERVICES

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]


class Stack:
    """A stack with its own data directory and port."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.port = ports.free_port()

    def run(self, *words: str, lines: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the stack, without the environment of the caller's own stack."""
        command = [sys.executable, "-m", "deploy.local", *words, "--data", str(self.layout.root)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WAFA_")}
        return subprocess.run(
            command, cwd=REPOSITORY, env=clean, input=lines, capture_output=True, text=True, timeout=150, check=False
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--detach", "--empty", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def get(self, path: str, token: str) -> Any:
        url = environment.read(self.layout)["WAFA_URL"] + path
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def available(self, token: str) -> int:
        return self.get("/v1/customers/c-1/points", token)["available"]

    def buy(self, order: str, total: str) -> None:
        data = {"customer_id": "c-1", "order_id": order, "currency": "USD", "total": total}
        event = {"specversion": "1.0", "id": order, "source": "/shop", "type": "shop.purchase.completed.v1"}
        line = json.dumps({**event, "time": datetime.now(UTC).isoformat(), "data": data})
        published = self.run("publish", "shop.purchases", lines=line)
        assert (published.returncode, published.stdout) == (0, "published 1 to shop.purchases\n"), published.stderr


@pytest.fixture
def stack() -> Iterator[Stack]:
    with TemporaryDirectory(prefix="wafa-test-") as folder:  # see tests/conftest.py
        stack = Stack(Path(folder) / "data")
        yield stack
        stack.run("down", "--purge")


@pytest.mark.deep
def test_the_life_cycle_of_a_stack(stack: Stack):
    started = stack.up()
    assert started.returncode == 0, started.stderr
    assert f"http://127.0.0.1:{stack.port}" in started.stdout
    admin = environment.read(stack.layout)["WAFA_ADMIN_TOKEN"]
    customer = stack.run("token", "--customer", "c-1").stdout.strip()

    stack.buy("o-1", "12.50")
    drained = stack.run("drain")
    assert drained.returncode == 0, drained.stderr
    assert stack.available(admin) == 12
    assert stack.available(customer) == 12

    again = stack.up()
    assert (again.returncode, "already running" in again.stdout) == (0, True)

    status = stack.status()
    assert status["phase"] == "ready"
    processes = {process["name"]: process["pid"] for process in status["processes"]}
    assert set(processes) >= {"postgres", "broker", "mail", "gateway", *(f"{service}-worker" for service in SERVICES)}
    assert {lag["records"] for lag in status["lag"]} == {0}
    assert set(status["outbox"].values()) == {0}

    _drain_names_what_hangs(stack, processes["points-worker"])

    stopped = stack.run("down")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "Stopped.\n", "")
    assert not [pid for pid in processes.values() if psutil.pid_exists(pid)]
    assert stack.run("status").returncode == 3

    assert stack.up().returncode == 0
    assert stack.available(admin) == 19, (
        "events published before `down` are handled, also those that were not handled yet"
    )

    purged = stack.run("down", "--purge")
    assert purged.returncode == 0, purged.stderr
    assert not stack.layout.postgres.exists()
    assert not stack.layout.env_file.exists()


def test_a_stack_starts_handles_an_event_and_goes(stack: Stack):
    assert stack.up().returncode == 0
    stack.buy("o-1", "12.50")
    assert stack.run("drain").returncode == 0
    assert stack.available(environment.read(stack.layout)["WAFA_ADMIN_TOKEN"]) == 12
    processes = [process["pid"] for process in stack.status()["processes"]]
    assert stack.run("down", "--purge").returncode == 0
    assert not [pid for pid in processes if psutil.pid_exists(pid)]
    assert not stack.layout.postgres.exists()


def _drain_names_what_hangs(stack: Stack, worker: int) -> None:
    """A stopped worker is named; when it continues, its events are handled before `down` ends."""
    os.kill(worker, signal.SIGSTOP)
    try:
        stack.buy("o-2", "7.00")
        hanging = stack.run("drain", "--timeout", "1")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert hanging.returncode == 1
    assert "points has" in hanging.stderr
    assert "records of shop.purchases to handle" in hanging.stderr
