"""Bad input prints one line and sets the exit code; successful commands print little."""

import pytest

from services.notifications.__main__ import DOOR
from shared.process import door
from tests.process.conftest import Command

NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "command"),
        (("dance",), "invalid choice: 'dance'"),
        (("positions",), "action"),
        (("positions", "set", "shop.purchases", "first", "0"), "invalid int value: 'first'"),
        (("positions", "set", "shop.purchases", "0", "-1"), "0 or more"),
        (("positions", "set", "shop.weather", "0", "1"), "points reads shop.purchases"),
        (("dead-letters", "list", "--reason", "boredom"), "invalid choice: 'boredom'"),
        (("dead-letters", "show"), "id"),
        (("dead-letters", "show", "x"), "invalid int value"),
        (("dead-letters", "replay"), "either ids, or --reason"),
        (("dead-letters", "replay", "1", "--reason", "not_json"), "either ids, or --reason"),
    ],
)
def test_invalid_input_prints_one_line(command: Command, database_url: str, arguments: tuple[str, ...], words: str):
    result = command(*arguments)
    assert result.code == door.EXIT_USAGE
    assert words in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WAFA_POINTS_PORT", "abc", "settings: WAFA_POINTS_PORT: "),
        ("WAFA_KAFKA_SESSION_TIMEOUT_MS", "5", "settings: WAFA_KAFKA_SESSION_TIMEOUT_MS: "),
        ("WAFA_DATABASE_URL_POINTS", "", "settings: WAFA_DATABASE_URL_POINTS is not set"),
        ("WAFA_DATABASE_URL_POINTS", "nonsense", "DSN"),
    ],
)
def test_an_invalid_setting_prints_one_line_with_its_name(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
):
    monkeypatch.setenv("WAFA_DATABASE_URL_POINTS", NOBODY)
    monkeypatch.setenv(name, value)
    result = command("migrate")
    assert result.code == door.EXIT_USAGE
    assert words in result.err
    assert result.err.count("\n") == 1


def test_settings_that_contradict_each_other_print_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in {"HOST": "mail.example.org", "USER": "wafa"}.items():
        monkeypatch.setenv(f"WAFA_NOTIFICATIONS_SMTP_{name}", value)
    assert DOOR.open(["migrate"]) == door.EXIT_USAGE
    said = capsys.readouterr().err
    assert "WAFA_NOTIFICATIONS_SMTP_TLS" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["migrate", "worker", "api"])
def test_a_database_that_does_not_answer_asks_for_a_restart(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv("WAFA_DATABASE_URL_POINTS", NOBODY)
    result = command(name)
    assert result.code == 70
    assert result.err.startswith("ConnectionRefusedError: ")
    assert result.err.count("\n") == 1


def test_migrating_again_does_nothing(command: Command, database_url: str):
    assert command("migrate") == command("migrate")


def test_help_is_no_failure(command: Command):
    result = command("--help")
    assert result.code == 0
    assert "dead-letters" in result.out
