import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import keys
from shared.http.auth.api_keys import ApiKeys
from shared.http.auth.principal import Scope


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "secrets" / "keys.json"
    monkeypatch.setenv(keys.FILE_VARIABLE, str(path))
    monkeypatch.delenv(keys.PEPPER_VARIABLE, raising=False)
    return path


def test_create_prints_a_key_that_works_and_nothing_else(file: Path, capsys: pytest.CaptureFixture[str]):
    assert keys.main(["create", "--name", "shop backend", "--scopes", "read, redeem"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    principal = ApiKeys(file).find(printed.strip())
    assert principal is not None
    assert principal.scopes == {Scope.READ, Scope.REDEEM}


def test_list_shows_everything_but_secrets(file: Path, capsys: pytest.CaptureFixture[str]):
    key = keys.create_key(file, ["support", "read"], "desk")
    assert keys.main(["list"]) == 0
    assert keys.main(["list", "--json"]) == 0
    text, line = capsys.readouterr().out.splitlines()
    shown = json.loads(line)
    assert set(shown) == {"id", "name", "scopes", "created_at"}
    assert (shown["id"], shown["name"], shown["scopes"]) == (key.split("_")[1], "desk", ["read", "support"])
    assert shown["id"] in text
    assert "desk" in text
    stored = keys.list_keys(file)[0]
    assert key.split("_")[2] not in text + line
    assert stored.hash not in text + line


def test_the_list_of_a_missing_file_is_empty(file: Path, capsys: pytest.CaptureFixture[str]):
    assert keys.main(["list", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert not file.exists()


def test_a_revoked_key_is_refused(file: Path):
    gone, stays = keys.create_key(file, ["read"], "one"), keys.create_key(file, ["read"], "two")
    verifying = ApiKeys(file)
    assert verifying.find(gone) is not None
    assert keys.main(["revoke", gone.split("_")[1]]) == 0
    assert verifying.find(gone) is None
    assert verifying.find(stays) is not None


def test_only_the_owner_can_read_the_file_and_no_temporary_file_stays(file: Path):
    keys.create_key(file, ["read"], "one")
    keys.create_key(file, ["read"], "two")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in file.parent.iterdir()} == {"keys.json", "keys.json.lock"}


def test_a_link_stays_a_link(file: Path, tmp_path: Path):
    real = tmp_path / "real.json"
    file.parent.mkdir()
    file.symlink_to(real)
    keys.create_key(file, ["read"], "one")
    assert file.is_symlink()
    assert len(keys.list_keys(real)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_of_the_file_keeps_it(file: Path):
    keys.create_key(file, ["read"], "one")
    os.chown(file, 12345, 12345)
    keys.create_key(file, ["read"], "two")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12345)


def test_keys_created_concurrently_are_all_stored(file: Path):
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda number: keys.create_key(file, ["read"], f"key {number}"), range(24)))
    verifying = ApiKeys(file)
    assert all(verifying.find(key) for key in created)
    assert len(keys.list_keys(file)) == 24


def test_the_pepper_is_read_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(keys.PEPPER_VARIABLE, "pepper")
    key = keys.create_key(file, ["read"], "one")
    assert ApiKeys(file).find(key) is None
    assert ApiKeys(file, "pepper").find(key) is not None


@pytest.mark.parametrize(
    "arguments, code",
    [
        ([], 2),
        (["destroy"], 2),
        (["create"], 2),
        (["create", "--name", "x"], 2),
        (["create", "--name", "x", "--scopes", "read", "more"], 2),
        (["list", "--yaml"], 2),
        (["revoke"], 2),
        (["create", "--name", "x", "--scopes", "everything"], 1),
        (["create", "--name", "x", "--scopes", "customer"], 1),
        (["create", "--name", "x", "--scopes", ""], 1),
        (["create", "--name", " ", "--scopes", "read"], 1),
        (["create", "--name", "a\nb", "--scopes", "read"], 1),
        (["create", "--name", "x" * 201, "--scopes", "read"], 1),
        (["revoke", "nobody"], 1),
    ],
)
def test_bad_input_is_a_one_line_error_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
):
    try:
        answer = keys.main(arguments)
    except SystemExit as end:
        answer = end.code
    said = capsys.readouterr()
    assert answer == code
    assert said.out == ""
    assert said.err.startswith("deploy.keys: ")
    assert said.err.count("\n") == 1
    assert not file.exists()


def test_without_a_file_the_error_says_how_to_name_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv(keys.FILE_VARIABLE, raising=False)
    assert keys.main(["list"]) == 2
    assert "--file" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{}]}'])
def test_a_damaged_file_is_not_overwritten(file: Path, capsys: pytest.CaptureFixture[str], content: str):
    file.parent.mkdir()
    file.write_text(content)
    assert keys.main(["create", "--name", "x", "--scopes", "read"]) == 1
    assert keys.main(["list"]) == 1
    assert capsys.readouterr().err.count("\n") == 2
    assert file.read_text() == content


def test_a_folder_in_the_place_of_the_file(file: Path, capsys: pytest.CaptureFixture[str]):
    file.mkdir(parents=True)
    assert keys.main(["create", "--name", "x", "--scopes", "read"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_module_is_a_command(file: Path):
    command = [sys.executable, "-m", "deploy.keys", "--file", str(file)]
    done = subprocess.run(
        [*command, "create", "--name", "x", "--scopes", "admin"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert ApiKeys(file).find(done.stdout.strip()) is not None
