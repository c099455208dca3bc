"""The state of points has one writer, `Books`: rules and handlers read it, and change it by the verbs of the books."""

import ast
from pathlib import Path

import pytest

from tests.architecture import tree

WRITER = Path("services/points/rules/books/books.py")
ROOMS = {"rules", "handlers"}
OWNED = {"state", "changes"}
MUTATORS = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


def is_owned(node: ast.AST) -> bool:
    """Whether an expression is a field of the books' state or changes, or an item of one: `books.state.orders[key]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Attribute):
        return False
    owner = node.value
    return (isinstance(owner, ast.Attribute) and owner.attr in OWNED) or (
        isinstance(owner, ast.Name) and owner.id in OWNED
    )


def writes(source: ast.AST) -> list[int]:
    """The lines that write to the state or the changes of books."""
    lines: list[int] = []
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            lines += [node.lineno] if is_owned(node) else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            lines += [node.lineno] if is_owned(node.func.value) else []
    return lines


def test_only_the_books_write_the_state_of_points():
    rooms = [path for path in tree.python("services") if path.parts[1] == "points" and path.parts[2] in ROOMS]
    found = {path: writes(tree.syntax(path)) for path in rooms if path != WRITER}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert writes(tree.syntax(WRITER))


@pytest.mark.parametrize(
    "line",
    [
        "books.state.orders[key] = order",
        "state.lots.setdefault(customer, {})[lot.id] = lot",
        "del self._books.state.waiting[key]",
        "books.changes.repeats += 1",
        "changes.refusals.append(refusal)",
        "books.state.holds[customer].update(holds)",
    ],
)
def test_a_write_is_noticed(line: str):
    assert writes(ast.parse(line))
    assert not writes(ast.parse("order = books.state.orders[key]; seen.add(order); state = load(books.changes.births)"))
