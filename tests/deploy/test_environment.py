import subprocess
from pathlib import Path

import pytest

from deploy.local import environment
from deploy.local.layout import Layout
from deploy.local.program import StartError

VALUES = {"WAFA_URL": "http://127.0.0.1:8000", "WAFA_JWT_KEY": 'it\'s a $(secret) # with "quotes"', "WAFA_EMPTY": ""}


@pytest.mark.parametrize("way", ['. "$0"', 'set -a; . "$0"; set +a'])
def test_a_shell_that_sources_the_file_hands_every_value_to_its_children(tmp_path: Path, way: str):
    layout = Layout(tmp_path / "a folder")
    environment.write(layout, VALUES)
    script = f'{way}; printf "%s|%s|%s\\n" "$WAFA_URL" "$WAFA_JWT_KEY" "$WAFA_EMPTY"; env'
    shown = subprocess.run(["sh", "-c", script, layout.env_file], capture_output=True, text=True, env={}, check=True)
    assert shown.stdout.startswith("|".join(VALUES.values()))
    assert f"WAFA_JWT_KEY={VALUES['WAFA_JWT_KEY']}" in shown.stdout.splitlines()


def test_the_file_reads_back_as_written(tmp_path: Path):
    environment.write(Layout(tmp_path), VALUES)
    assert environment.read(Layout(tmp_path)) == VALUES


def test_only_the_owner_can_read_it_even_after_a_replacement(tmp_path: Path):
    layout = Layout(tmp_path)
    environment.write(layout, {})
    layout.env_file.chmod(0o644)
    environment.write(layout, VALUES)
    assert oct(layout.env_file.stat().st_mode & 0o777) == "0o600"
    assert list(tmp_path.iterdir()) == [layout.env_file]


def test_reading_before_the_first_start_is_an_error(tmp_path: Path):
    with pytest.raises(StartError, match="has not been started yet"):
        environment.read(Layout(tmp_path))
