"""Restarts the processes of the stack whose source files change (`up --reload`, `make dev`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from watchfiles import PythonFilter, awatch

from deploy.local.layout import REPOSITORY
from services import SERVICES

FOLDERS: Final = ("services", "shared", "deploy")
DEBOUNCE_MS: Final = 400

_GATEWAY: Final = "gateway"
_OF_THE_GATEWAY: Final = frozenset({"gateway.py", "openapi.py", "pages.py"})


async def watch(restart: Callable[[Sequence[str]], None]) -> None:
    """Call `restart` with the names of the members whose files changed, until cancelled."""
    folders = [REPOSITORY / folder for folder in FOLDERS]
    sources = PythonFilter(extra_extensions=(".html",))
    async for changes in awatch(*folders, watch_filter=sources, debounce=DEBOUNCE_MS):
        names = {name for _, path in changes for name in affected(Path(path).relative_to(REPOSITORY))}
        if names:
            restart(sorted(names))


def affected(path: Path) -> set[str]:
    """The members of the stack that run the code of a file, given by its path from the root of the repository."""
    match path.parts:
        case ("services", service, module, *_) if service in SERVICES:
            if module == "worker.py":
                return {f"{service}-worker"}
            return {_GATEWAY} if module in {"api", "api.py"} else {f"{service}-worker", _GATEWAY}
        case ("shared", *_) | ("services", "__init__.py"):
            return {*(f"{service}-worker" for service in SERVICES), _GATEWAY}
        case ("deploy", "local", module) if module in _OF_THE_GATEWAY:
            return {_GATEWAY}
        case _:
            return set()
