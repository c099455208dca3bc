"""Every SQL statement is a literal above the one function that runs it, and PostgreSQL takes it."""

import ast
import importlib
from pathlib import Path

import asyncpg
import pytest

from services import SERVICES
from tests.architecture import tree
from tests.support import postgres

RUNS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare"}


def constants(path: Path) -> list[ast.Assign | ast.AnnAssign]:
    """The assignments to `…_SQL` of a module, at its top level."""
    return [node for node in tree.syntax(path).body if _name(node) is not None]


def _name(node: ast.stmt) -> str | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name) and target.id.endswith("_SQL")]
    return names[0] if names else None


def users(path: Path, name: str) -> list[ast.stmt]:
    """The top-level statements of a module that use a constant."""
    return [
        node
        for node in tree.syntax(path).body
        if _name(node) != name and any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
    ]


WITH_SQL = [path for path in tree.python("services", "shared") if constants(path)]


def test_a_statement_is_a_literal():
    computed = [
        f"{path}:{_name(node)}"
        for path in WITH_SQL
        for node in constants(path)
        if not isinstance(node.value, ast.Constant)
    ]
    assert computed == []


def test_a_statement_stands_right_above_its_one_user():
    misplaced: list[str] = []
    for path in WITH_SQL:
        body = tree.syntax(path).body
        for node in constants(path):
            used_by = users(path, str(_name(node)))
            # Between a statement and its user there are statements at most.
            below = [other for other in body[body.index(node) + 1 :] if _name(other) is None]
            if len(used_by) != 1 or below[0] is not used_by[0]:
                misplaced.append(f"{path}:{_name(node)}")
    assert misplaced == []


def test_statements_of_a_service_stand_in_its_store():
    assert [
        path for path in WITH_SQL if path.parts[0] == "services" and "store" not in path.with_suffix("").parts
    ] == []


def test_no_statement_is_written_where_it_is_run():
    inline = [
        f"{path}:{node.lineno}"
        for path in tree.python("services", "shared")
        for node in ast.walk(tree.syntax(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RUNS
        and node.args
        and isinstance(node.args[0], ast.Constant | ast.JoinedStr | ast.BinOp)
    ]
    assert inline == []


def statements(root: str) -> dict[str, str]:
    """The statements below a folder, by module and name."""
    found: dict[str, str] = {}
    for path in WITH_SQL:
        if path.is_relative_to(root):
            module = importlib.import_module(tree.module(path))
            names = [str(_name(node)) for node in constants(path)]
            found |= {f"{module.__name__}.{name}": getattr(module, name) for name in names}
    return found


# Modules of the platform whose tables only some services have.
OF_SOME = {f"shared.postgres.{name}": {"tiers", "referrals"} for name in ("orders", "slices")}


def is_of(service: str, name: str) -> bool:
    """Whether a service has the tables of a statement of the platform."""
    return service in OF_SOME.get(name.rpartition(".")[0], SERVICES)


@pytest.mark.parametrize("service", SERVICES)
async def test_postgresql_takes_every_statement_of_a_service_and_of_the_platform(service: str, postgres_url: str):
    refused: dict[str, str] = {}
    shared = {name: statement for name, statement in statements("shared").items() if is_of(service, name)}
    wanted = statements(f"services/{service}") | shared
    async with postgres.database(postgres_url, service, max_size=1) as pool, pool.acquire() as connection:
        for name, statement in wanted.items():
            try:
                await connection.prepare(statement)
            except asyncpg.PostgresError as error:
                refused[name] = str(error)
    assert refused == {}
    assert statements(f"services/{service}")
