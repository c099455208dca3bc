"""What no file may hold, and how long the pages for people may be."""

import re
from pathlib import Path

import pytest

from tests.architecture import tree

LINES_OF_A_PAGE = 270

# In pieces, so that this file holds none of them.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        *(("pypi", "org"), ("python" + "hosted", "org"), ("registry", "npm" + "js"), ("npm" + "js", "com")),
        *(("repo1", "maven"), ("repo", "maven"), ("crates", "io"), ("proxy", "golang"), ("ruby" + "gems", "org")),
        *(
            ("docker", "io"),
            ("ghcr", "io"),
            ("quay", "io"),
            ("gcr", "io"),
            ("ana" + "conda", "org"),
            ("jit" + "pack", "io"),
        ),
    )
]
FOLDERS = ("work", "root", "home", "Users", "tmp")
MACHINES = re.compile(rf"(?<![\w.}}>])/(?:{'|'.join(FOLDERS)})/")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_path_of_a_machine_is_recognised(folder: str):
    assert MACHINES.search(f'open("/{folder}/wafa")')
    assert not MACHINES.search(f"deploy/{folder}/wafa")


def test_no_file_names_a_package_registry():
    hosts = re.compile("|".join(map(re.escape, REGISTRIES)))
    assert [path for path in readable() if hosts.search(tree.text(path))] == []


def test_no_file_names_a_path_of_a_machine():
    found = {path: MACHINES.findall(tree.text(path)) for path in readable()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def readable() -> list[Path]:
    """The files that are text."""
    return [path for path in tree.files() if b"\0" not in (tree.ROOT / path).read_bytes()[:8192]]


def test_pages_for_people_are_short():
    pages = ("README.md", "docs/architecture.md")
    lines = {page: tree.text(Path(page)).count("\n") for page in pages}
    assert {page: count for page, count in lines.items() if count > LINES_OF_A_PAGE} == {}


def test_links_between_pages_lead_somewhere():
    pages = [path for path in tree.files() if path.suffix == ".md" and not path.name.endswith(".template.md")]
    broken = [
        f"{page}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", tree.text(page))
        if not (tree.ROOT / page.parent / target).exists()
    ]
    assert broken == []


def test_the_licence_is_the_one_that_pyproject_names():
    licence = tree.text(Path("LICENSE"))
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert 'license = "Apache-2.0"' in tree.text(Path("pyproject.toml"))
