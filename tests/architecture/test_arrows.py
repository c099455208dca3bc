"""Which room may know which library, beside the arrows that import-linter holds."""

import ast
import re
from pathlib import Path

import pytest

from services import SERVICES
from tests.architecture import tree

# Library → the rooms that may import it.
ROOMS = {
    "faust": ("services/*/worker*", "shared/messaging/*"),
    "mode": ("services/*/worker*", "shared/messaging/*"),
    "aiokafka": ("shared/messaging/*", "shared/process/*"),
    "fastapi": ("services/*/api*", "shared/http/*", "shared/process/*", "shared/programs/routes.py"),
    "starlette": ("services/*/api*", "shared/http/*", "shared/process/operations.py"),
    "uvicorn": ("shared/http/*",),
    "asyncpg": ("services/*/store*", "shared/*"),
    "pydantic_settings": ("services/*/settings.py", "shared/process/*"),
    "prometheus_client": ("shared/*",),
    "aiosmtplib": ("services/notifications/channels/email/*",),
    "dkim": ("services/notifications/channels/email/*",),
    "http_ece": ("services/notifications/channels/*",),
    "liquid": ("services/notifications/*",),
}

# What a pure decision cannot need: input, output, the clock, chance, other threads.
NOT_IN_RULES = {
    *("asyncio", "concurrent", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "sys"),
    *("tempfile", "threading", "time", "urllib", "uuid_utils", "structlog", "httpx", *ROOMS),
}
CLOCKS = {"now", "today", "utcnow", "uuid1", "uuid4", "uuid7", "urandom"}


def may(path: Path, rooms: tuple[str, ...]) -> bool:
    return any(part.match(room) for room in rooms for part in (path, *path.parents))


def libraries(path: Path, besides: str | None = None) -> set[str]:
    """The top-level names of what a file imports, but not of names that begin with `besides`."""
    return {name.partition(".")[0] for name in tree.imports(path) if besides is None or not name.startswith(besides)}


def test_a_library_is_known_in_its_rooms_only():
    strangers = {
        path: [library for library in libraries(path) & ROOMS.keys() if not may(path, ROOMS[library])]
        for path in tree.python("services", "shared")
    }
    assert {path: found for path, found in strangers.items() if found} == {}


RULES = [path for path in tree.python("services") if re.match(r"services/\w+/rules\b", path.as_posix())]


def called(path: Path) -> set[str]:
    """The names of what a file calls: of `a.b()`, b."""
    calls = [node.func for node in ast.walk(tree.syntax(path)) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return names | {call.attr for call in calls if isinstance(call, ast.Attribute)}


def test_there_are_rules_in_every_service():
    assert {path.parts[1] for path in RULES} == set(SERVICES)


@pytest.mark.parametrize("path", RULES, ids=str)
def test_rules_are_pure(path: Path):
    assert libraries(path, besides="urllib.parse.") & NOT_IN_RULES == set()
    assert called(path) & CLOCKS == set()
    assert not [node for node in ast.walk(tree.syntax(path)) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]


def test_settings_are_built_at_the_door_only():
    doors = {Path("shared/process/door.py"), *(Path(f"services/{service}/__main__.py") for service in SERVICES)}
    builders = [path for path in tree.python("services", "shared") if called(path) & {"Settings", "settings"}]
    assert set(builders) <= doors


def test_nothing_but_settings_is_read_from_the_environment():
    def reads(path: Path) -> bool:
        attributes = {node.attr for node in ast.walk(tree.syntax(path)) if isinstance(node, ast.Attribute)}
        return bool({"environ", "getenv"} & (attributes | {name.rpartition(".")[2] for name in tree.imports(path)}))

    assert [path for path in tree.python("services", "shared") if reads(path)] == []
