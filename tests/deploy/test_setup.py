"""The lock files, and the script that installs them."""

import re
import tomllib
from pathlib import Path

import pytest

from deploy import setup
from deploy.local.layout import REPOSITORY

LOCKED = sorted((REPOSITORY / "requirements").glob("*.txt"))
PINNED = re.compile(r"^([a-z0-9_.-]+)(?:\[[^]]*\])?==\S+", re.MULTILINE)


def names(file: Path) -> set[str]:
    return set(PINNED.findall(file.read_text()))


def wanted(*groups: str) -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    given = [*project["project"]["dependencies"]] if not groups else []
    given += [requirement for group in groups for requirement in project["dependency-groups"][group]]
    return {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower() for requirement in given}


def test_every_dependency_in_pyproject_is_locked():
    assert wanted() <= names(REPOSITORY / "requirements" / "runtime.txt")
    assert wanted() | wanted("local", "sample", "test", "lint", "lock") <= names(setup.EVERYTHING)
    assert wanted("sample-data") == names(setup.SAMPLE_DATA)
    assert wanted("lock") == names(setup.INSTALLER)


@pytest.mark.parametrize("file", LOCKED, ids=lambda file: file.name)
def test_a_lock_file_pins_every_package_with_hashes_and_names_no_address(file: Path):
    text = file.read_text()
    packages = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all(PINNED.match(package) and "--hash=sha256:" in package for package in packages), packages
    assert "://" not in text
    assert "--index-url" not in text


def test_packages_in_several_lock_files_have_one_version():
    runtime, everything = ((REPOSITORY / "requirements" / name).read_text() for name in ("runtime.txt", "dev.txt"))
    pins = set(re.findall(r"^[a-z0-9_.-]+==\S+", runtime, re.MULTILINE))
    assert pins <= set(re.findall(r"^[a-z0-9_.-]+==\S+", everything, re.MULTILINE))


def test_the_environment_is_rebuilt_when_a_lock_file_changes(tmp_path: Path):
    file = tmp_path / "lock.txt"
    file.write_text("a==1\n")
    before = setup.fingerprint([file])
    assert setup.fingerprint([file]) == before
    file.write_text("a==2\n")
    assert setup.fingerprint([file]) != before
