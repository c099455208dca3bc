import asyncio

import httpx
import pytest

from shared.http.probes import Readiness, probes_app
from tests.http.conftest import StubPool


def open_client(is_ready: Readiness):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=probes_app(is_ready)), base_url="http://wafa.example")


async def test_an_app_is_ready_when_its_pool_answers(client: httpx.AsyncClient, pool: StubPool):
    assert (await client.get("/readyz")).status_code == 200
    pool.answers = ConnectionRefusedError("down")
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_metrics_are_prometheus_text(client: httpx.AsyncClient):
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# HELP wafa_lag_records " in answer.text


async def test_a_process_whose_check_fails_is_not_ready():
    async def no() -> bool:
        return False

    async with open_client(no) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_a_check_that_hangs_means_not_ready(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shared.http.probes._READY_SECONDS", 0.01)

    async def hang() -> bool:
        await asyncio.sleep(60)
        return True

    async with open_client(hang) as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_the_probes_of_a_worker_have_no_other_paths():
    async def yes() -> bool:
        return True

    async with open_client(yes) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/v1/anything")).status_code == 404
