"""The same rooms in every service, and no others."""

import ast
from pathlib import Path

import pytest

from services import SERVICES
from tests.architecture import tree

FILES = {"__init__.py", "__main__.py", "settings.py", "worker.py"}
ROOMS = {"rules", "store", "handlers", "api"}  # a module, or a package once it is past 300 lines
FOLDERS = {"migrations"}

EXTRAS = {
    "notifications": {
        "channels": "SMTP and HTTP of providers are input and output as PostgreSQL is, but nothing that is stored",
        "rendering": "templates become text: slow, so neither a rule nor part of a transaction",
        "wording.py": "numbers, plurals and dates of each locale, for the templates",
        "sending": "the jobs that send what waits: they hold no transaction while a provider is slow",
        "documents": "the templates and journeys that ship with the product, version 1 of each",
    },
}


def rooms(service: str) -> set[str]:
    """What stands in a service's folder."""
    home = Path("services") / service
    return {path.relative_to(home).parts[0] for path in tree.files() if path.is_relative_to(home)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_rooms_of_the_house_and_no_others(service: str):
    found = rooms(service)
    missing = (FILES | FOLDERS) - found
    missing |= {room for room in ROOMS if not {room, f"{room}.py"} & found}
    known = FILES | FOLDERS | ROOMS | {f"{room}.py" for room in ROOMS} | EXTRAS.get(service, {}).keys()
    assert (missing, found - known) == (set(), set())


@pytest.mark.parametrize("service", SERVICES)
def test_a_room_is_a_module_or_a_package_never_both(service: str):
    assert [room for room in ROOMS if {room, f"{room}.py"} <= rooms(service)] == []


def test_every_extra_is_there():
    for service, extras in EXTRAS.items():
        assert extras.keys() <= rooms(service)


def test_there_are_no_services_beside_these():
    found = {path.parts[1] for path in tree.files() if path.parts[0] == "services" and len(path.parts) > 2}
    assert found == set(SERVICES)


def test_the_services_are_listed_once():
    """Whatever handles all services reads `services.SERVICES`, so that a new one is a folder and a word in the list."""

    def lists(path: Path) -> list[int]:
        collections = [node for node in ast.walk(tree.syntax(path)) if isinstance(node, ast.Tuple | ast.List | ast.Set)]
        return [
            node.lineno
            for node in collections
            if {part.value for part in node.elts if isinstance(part, ast.Constant)} >= set(SERVICES)
        ]

    found = {str(path): lists(path) for path in tree.python("deploy", "services", "shared")}
    assert [path for path, lines in found.items() if lines] == ["services/__init__.py"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_in_one_sentence_what_it_owns(service: str):
    path = Path("services") / service / "__init__.py"
    assert tree.text(path).count("\n") == 1
    assert tree.text(path).startswith('"""')


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_are_plain_sql_numbered_without_a_gap(service: str):
    home = Path("services") / service / "migrations"
    names = [path.name for path in tree.files() if path.is_relative_to(home)]
    assert [name[:5] for name in names] == [f"{number:04}_" for number in range(1, len(names) + 1)]
    assert all(name.endswith(".sql") for name in names)
    assert names
