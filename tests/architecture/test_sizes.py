"""Small files, small functions, few parameters, and names that are nouns."""

import ast

from tests.architecture import tree

LINES_OF_A_FILE = 400  # 300 is the aim: past it a module becomes a package by noun
LINES_OF_A_FUNCTION = 70  # 40 is the aim
PARAMETERS = 5

NO_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "core", "lib", "tools"}


def test_a_file_is_short():
    lines = {path: tree.text(path).count("\n") for path in tree.python()}
    assert {path: count for path, count in lines.items() if count > LINES_OF_A_FILE} == {}


def test_a_function_is_short():
    lines = {
        f"{path}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in tree.python()
        for function in tree.functions(path)
    }
    assert {name: count for name, count in lines.items() if count > LINES_OF_A_FUNCTION} == {}


def parameters(function: tree.Function) -> list[str]:
    """A function's parameters, without `self` and `cls`."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [one.arg for one in every if one.arg not in {"self", "cls"}]


def is_route(function: tree.Function) -> bool:
    """Whether FastAPI calls it: its parameters are the request's parts."""
    calls = [node.func for node in function.decorator_list if isinstance(node, ast.Call)]
    verbs = {"get", "post", "put", "patch", "delete"}
    return any(isinstance(call, ast.Attribute) and call.attr in verbs for call in calls)


def test_a_function_has_few_parameters():
    found = {
        f"{path}:{function.name}": parameters(function)
        for path in tree.python("services", "shared")
        for function in tree.functions(path)
        if not is_route(function)
    }
    assert {name: names for name, names in found.items() if len(names) > PARAMETERS} == {}


def test_a_module_is_named_for_what_it_is():
    assert [path for path in tree.python() if NO_NAMES & {part.strip("_") for part in path.with_suffix("").parts}] == []
