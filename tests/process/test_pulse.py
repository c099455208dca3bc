"""The probes of a worker answer while its event loop computes."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.process import pulse


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def ended() -> list[BaseException]:
    return []


@pytest.fixture
async def beating(port: int, ended: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The probes of the loop that runs the test."""
    monkeypatch.setattr(pulse, "_ASKED_EVERY", 0.05)
    monkeypatch.setattr("shared.http.probes._READY_SECONDS", 0.2)

    async def yes() -> bool:
        return True

    with pulse.beating(yes, ("127.0.0.1", port), ended.append):
        yield


def statuses(port: int, delay: float = 0.0) -> dict[str, int]:
    """The statuses of the probes, requested from another thread."""
    time.sleep(delay)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=5)) as client:
        return {path: client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")}


async def ask_while_stuck(port: int, seconds: float) -> dict[str, int]:
    with ThreadPoolExecutor(1) as executor:
        asked = executor.submit(statuses, port, seconds / 2)
        time.sleep(seconds)  # noqa: ASYNC251 it blocks the loop on purpose
        return await asyncio.wrap_future(asked)


async def test_an_idle_loop_is_alive_and_ready(port: int, beating: None):
    assert await asyncio.to_thread(statuses, port) == {"/livez": 200, "/readyz": 200, "/metrics": 200}


async def test_probes_answer_while_the_loop_is_blocked(port: int, beating: None):
    assert await ask_while_stuck(port, 2.0) == {"/livez": 200, "/readyz": 503, "/metrics": 200}
    assert (await asyncio.to_thread(statuses, port))["/readyz"] == 200


async def test_a_loop_blocked_for_too_long_is_not_alive(port: int, beating: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pulse, "ALIVE_SECONDS", 0.4)
    assert (await ask_while_stuck(port, 2.0))["/livez"] == 503
    await asyncio.sleep(0.3)
    assert (await asyncio.to_thread(statuses, port))["/livez"] == 200


async def test_an_address_in_use_is_reported_to_the_loop(ended: list[BaseException]):
    async def yes() -> bool:
        return True

    with socket.create_server(("127.0.0.1", 0)) as taken, pulse.beating(yes, taken.getsockname(), ended.append):
        for _ in range(200):
            await asyncio.sleep(0.01)
            if ended:
                break
    assert isinstance(ended[0], OSError)
