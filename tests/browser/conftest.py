"""A real browser that makes no requests by itself."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# There is no sandbox as root; the other options keep Chromium from making requests by itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's Chromium. If it is missing, the test is skipped on a developer's machine and fails in CI."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        assert not os.environ.get("REQUIRE_CHROMIUM"), "no Chromium here (Debian: apt-get install chromium)"
        pytest.skip("there is no Chromium on this machine")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield started
        finally:
            await started.close()
