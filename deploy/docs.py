"""Writes the generated parts of docs/operations.md: `python -m deploy.docs [--check]`.

A part is between `<!-- NAME -->` and `<!-- /NAME -->`; the rest of the page is written by hand.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from services import SERVICES
from shared.process.settings import ServiceSettings
from shared.telemetry import METRICS

PAGE: Final = Path(__file__).parents[1] / "docs" / "operations.md"


def settings_of(service: str) -> type[ServiceSettings]:
    """The Settings class of a service."""
    settings: type[ServiceSettings] = importlib.import_module(f"services.{service}.settings").Settings
    return settings


def variable(settings: type[ServiceSettings], name: str) -> str:
    """The environment variable that a field is read from."""
    alias = settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"{settings.model_config.get('env_prefix', '')}{name.upper()}"


def render(text: str) -> str:
    """The page with its generated parts updated.

    Raises:
        ValueError: the page has no place for a part.
    """
    for name, part in {"settings": _settings(), "metrics": _metrics()}.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = place.subn(lambda match, part=part: f"{match[1]}{part}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"{PAGE.name} needs exactly one part {name}; it has {count}")
    return text


def _settings() -> str:
    """A table of the settings of all services, and one of the settings of single services."""
    shared = ServiceSettings.model_fields
    own = [(service, name) for service in SERVICES for name in settings_of(service).model_fields if name not in shared]
    head = ("variable", "type", "default", "meaning")
    return "\n".join(
        [
            "Every service (`<SERVICE>` is its name in capitals):\n",
            _table(head, (_row(_placeholder(name), field) for name, field in shared.items())),
            "\nOne service only:\n",
            _table(head, (_row(variable(at, name), at.model_fields[name]) for at, name in _located(own))),
        ]
    )


def _located(own: Iterable[tuple[str, str]]) -> Iterable[tuple[type[ServiceSettings], str]]:
    return ((settings_of(service), name) for service, name in own)


def _placeholder(name: str) -> str:
    """The variable of a shared field, with `<SERVICE>` for the service's name."""
    return variable(settings_of(SERVICES[0]), name).replace(SERVICES[0].upper(), "<SERVICE>")


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    return f"`{name}`", _type(field), _default(field), field.description or ""


def _type(field: FieldInfo) -> str:
    limits = [_limit(limit) for limit in field.metadata]
    return ", ".join([_name(field.annotation), *filter(None, limits)])


def _name(annotation: Any) -> str:  # noqa: ANN401 an annotation is any object
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    alternatives = [each for each in get_args(annotation) if each is not NoneType]
    if alternatives:
        return " or ".join(map(_name, alternatives))
    names = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", Path: "path", SecretStr: "secret"}
    return names.get(annotation, "URL")


def _limit(limit: object) -> str:
    match limit:
        case Ge(bound):
            return f"≥ {bound}"
        case Gt(bound):
            return f"> {bound}"
        case Le(bound):
            return f"≤ {bound}"
        case Lt(bound):
            return f"< {bound}"
        case _:
            return ""


def _default(field: FieldInfo) -> str:
    default = field.default
    text = default.get_secret_value() if isinstance(default, SecretStr) else default
    if text is None or text == "":
        return ""
    return f"`{str(text).lower() if isinstance(text, bool) else text}`"


def _metrics() -> str:
    def row(metric: Any) -> tuple[str, ...]:  # noqa: ANN401 the metrics' common class is private
        described = next(iter(metric.describe()))
        suffix = "_total" if described.type == "counter" else ""
        # The library has no public access to the names of labels.
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001
        return f"`{described.name}{suffix}`", described.type, labels, described.documentation

    return _table(("metric", "type", "labels", "meaning"), map(row, METRICS))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.docs", description="Generated parts of operations.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    current = render(text)
    if text == current:
        return 0
    if options.check:
        print(f"{PAGE.name} is out of date: run python -m deploy.docs", file=sys.stderr)
        return 1
    PAGE.write_text(current, encoding="utf-8")
    print(f"{PAGE.name} is current now")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
