"""Text messages over any service that Apprise knows: an optional extra, imported when the settings name it."""

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote

from services.notifications.channels.port import Answer, PutOff, Sms, Taken

PLACE: Final = "{to}"
"""Where an Apprise URL names the phone number."""

_SAMPLE: Final = "+15005550006"


class Apprise:
    """The channel `sms` over an Apprise URL such as `sns://KEY/SECRET/REGION/{to}`.

    Apprise says only whether a message was taken, so that a permanent refusal is tried again until it is given up.

    Raises:
        ValueError: Apprise is not installed, or does not know the URL.
    """

    def __init__(self, url: str, connections: int = 8, seconds: float = 15.0) -> None:
        self._library = _load()
        self._url = url
        self._connections = connections
        self._seconds = seconds
        if PLACE not in url:
            raise ValueError(f"has to name the phone number as {PLACE}")
        # Apprise waits in threads: these are its own, so that a slow service takes no thread from others.
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="apprise")
        self._turn = asyncio.Semaphore(connections)
        if not self._service(_SAMPLE):
            raise ValueError("is no URL that Apprise knows")

    @property
    def connections(self) -> int:
        """How many messages can be sent at a time."""
        return self._connections

    async def send(self, message: Sms) -> Answer:
        """Send a text message; see `Port`."""
        async with self._turn:
            # A thread that still waits after that keeps its place: Apprise's own timeouts end it.
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._notify, message)
            try:
                async with asyncio.timeout(self._seconds):
                    is_taken = await work
            except TimeoutError:
                return PutOff("no answer in time")
        return Taken() if is_taken else PutOff("not taken")

    async def rest(self) -> None:
        """Nothing: each message has a connection of its own."""

    async def close(self) -> None:
        """Let the threads end, for good."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _notify(self, message: Sms) -> bool:
        return bool(self._service(message.address).notify(body=message.text, body_format="text"))

    def _service(self, address: str) -> Any:  # noqa: ANN401 the library is not there at type checking
        """One service for one number; false where Apprise does not know the URL."""
        asset = self._library.AppriseAsset(async_mode=False, secure_logging=True)
        service = self._library.Apprise(asset=asset)
        service.add(self._url.replace(PLACE, quote(address, safe="")))
        return service


def _load() -> Any:  # noqa: ANN401 see above
    try:
        library = importlib.import_module("apprise")
    except ModuleNotFoundError:
        raise ValueError("needs the extra `apprise`: pip install wafa[apprise]") from None
    # It logs answers of services, which may quote numbers and texts.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return library
