import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import pytest

from deploy.keys import KeysError, create_key, list_keys, revoke_key
from shared.http.auth.api_keys import ApiKeys, KeysFile, issue
from shared.http.auth.principal import Kind, Principal, Scope
from tests.http.conftest import JsonLog

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_key_is_found_with_its_scopes(keys_file: Path):
    key = create_key(keys_file, ["support", "read"], "desk")
    entry = list_keys(keys_file)[0]
    expected = Principal(Kind.KEY, entry.id, frozenset({Scope.READ, Scope.SUPPORT}))
    assert ApiKeys(keys_file).find(key) == expected


def test_the_file_contains_no_secret(keys_file: Path):
    key = create_key(keys_file, ["read"], "desk")
    secret = key.split("_")[2]
    assert secret not in keys_file.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key[:-1] + "g",
        lambda key: key.upper(),
        lambda key: "wafa_ffffffffffff_" + key.split("_")[2],
        lambda key: key + "\n",
        lambda key: key + "é",
    ],
)
def test_any_other_key_is_unknown(keys_file: Path, change: Callable[[str], str]):
    key = create_key(keys_file, ["read"], "desk")
    assert ApiKeys(keys_file).find(change(key)) is None


def test_secrets_are_salted(keys_file: Path):
    create_key(keys_file, ["read"], "one")
    create_key(keys_file, ["read"], "two")
    first, second = list_keys(keys_file)
    assert (first.salt, first.hash) != (second.salt, second.hash)


def test_the_pepper_is_part_of_the_hash(keys_file: Path):
    key = create_key(keys_file, ["read"], "desk", pepper="pepper")
    assert ApiKeys(keys_file, "pepper").find(key) is not None
    assert ApiKeys(keys_file).find(key) is None
    assert ApiKeys(keys_file, "other").find(key) is None


def test_the_file_is_read_again_when_it_changes(keys_file: Path):
    keys = ApiKeys(keys_file)
    assert keys.find("wafa_a_" + "0" * 48) is None
    first = create_key(keys_file, ["read"], "first")
    assert keys.find(first) is not None
    second = create_key(keys_file, ["read"], "second")
    assert keys.find(second) is not None
    revoke_key(keys_file, first.split("_")[1])
    assert keys.find(first) is None
    assert keys.find(second) is not None
    keys_file.unlink()
    assert keys.find(second) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"id": "a"}]}', '{"version": 2, "keys": []}'])
def test_an_unreadable_file_leaves_the_last_valid_content_and_is_logged_once(
    keys_file: Path, json_log: JsonLog, content: str
):
    keys = ApiKeys(keys_file)
    key = create_key(keys_file, ["read"], "desk")
    assert keys.find(key) is not None
    keys_file.write_text(content)
    assert keys.find(key) is not None
    assert keys.find(key) is not None
    assert [line["event"] for line in json_log()] == ["file_unreadable"]


def test_an_entry_is_read_as_it_was_written():
    _, entry = issue("desk", [Scope.READ], NOW)
    file = KeysFile(keys=(entry,))
    assert KeysFile.model_validate_json(file.model_dump_json()) == file
    assert json.loads(file.model_dump_json())["keys"][0]["scopes"] == ["read"]


def test_a_lookup_takes_microseconds(keys_file: Path):
    for name in range(20):
        key = create_key(keys_file, ["read"], f"key {name}")
    keys = ApiKeys(keys_file)
    keys.find(key)
    best = min(_time(keys, key) for _ in range(50))
    assert best < 100e-6


def _time(keys: ApiKeys, key: str):
    begun = perf_counter()
    keys.find(key)
    return perf_counter() - begun


def test_a_key_of_a_customer_is_refused(keys_file: Path, json_log: JsonLog):
    with pytest.raises(ValueError, match="belongs to no customer"):
        issue("mine", [Scope.CUSTOMER], NOW)
    with pytest.raises(KeysError, match="unknown scope 'customer'"):
        create_key(keys_file, ["customer"], "mine")
    good, bad = create_key(keys_file, ["read"], "good"), create_key(keys_file, ["redeem"], "bad")
    # As if somebody had written it into the file.
    keys_file.write_text(keys_file.read_text().replace('"redeem"', '"customer", "read"'))
    keys = ApiKeys(keys_file)
    assert keys.find(bad) is None
    assert keys.find(good) is not None
    [line] = json_log()
    assert (line["event"], line["key_id"]) == ("api_key_refused", bad.split("_")[1])
    revoke_key(keys_file, bad.split("_")[1])
    assert [entry.name for entry in list_keys(keys_file)] == ["good"]
