"""Writes the generated documents of the contract: `python -m shared.contracts.generate [--check]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.contracts.documents import asyncapi, schemas
from shared.contracts.documents.page import page
from shared.contracts.registry import TYPES

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final = Path("shared/contracts/schemas")


def documents() -> dict[Path, str]:
    """Every document by its path relative to the root; deterministic."""
    contents = {SCHEMAS / f"{event.name}.json": schemas.of_data(event) for event in TYPES.values()}
    contents[SCHEMAS / "cloudevent.json"] = schemas.of_envelope()
    contents[SCHEMAS / "asyncapi.json"] = asyncapi.document()
    texts = {path: json.dumps(content, ensure_ascii=False, indent=2) + "\n" for path, content in contents.items()}
    return texts | {Path("docs/events.md"): page()}


def stale(root: Path = ROOT) -> list[Path]:
    """The documents that are out of date: changed, missing, or left over."""
    wanted = documents()
    changed = [path for path, text in wanted.items() if _read(root / path) != text]
    left_over = [path.relative_to(root) for path in sorted((root / SCHEMAS).glob("*.json"))]
    return changed + [path for path in left_over if path not in wanted]


def write(root: Path = ROOT) -> list[Path]:
    """Write the documents; returns the paths that changed."""
    wanted = documents()
    changed = stale(root)
    for path in changed:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return changed


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shared.contracts.generate", description="Contract documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    check: bool = parser.parse_args(arguments).check
    changed = stale() if check else write()
    for path in changed:
        sys.stdout.write(f"{path}\n")
    return 1 if check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
