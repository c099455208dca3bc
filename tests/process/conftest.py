"""The command line of the points service, run in this process."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import structlog

from services.points import api, worker
from services.points.settings import Settings
from shared.messaging import kafka
from shared.process import door
from shared.process.door import Door
from tests.support.postgres import make_database


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """Suppress log output."""
    with structlog.testing.capture_logs():
        yield


Command = Callable[..., Result]


@pytest.fixture
def database_url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh database of the points service, which is in the settings too."""
    url = asyncio.run(make_database(postgres_url, "points"))
    monkeypatch.setenv("WAFA_DATABASE_URL_POINTS", url)
    return url


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `python -m services.points ARGUMENTS`, with a broker whose cluster id is cluster-1."""

    async def cluster_id(_broker: kafka.Broker) -> str:
        return "cluster-1"

    monkeypatch.setattr(kafka.Broker, "cluster_id", cluster_id)
    monkeypatch.setattr(door, "_log", lambda _service, _level: None)

    def run(*arguments: str) -> Result:
        try:
            code = Door(Settings, worker.spec, api.build).open(arguments)
        except SystemExit as error:
            code = error.code
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
