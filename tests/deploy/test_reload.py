"""Which processes restart when a file changes."""

import asyncio
from pathlib import Path

import pytest

from deploy.local import reload
from services import SERVICES

ALL = {"gateway", *(f"{service}-worker" for service in SERVICES)}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("services/points/rules/program/lint.py", {"points-worker", "gateway"}),
        ("services/tiers/worker.py", {"tiers-worker"}),
        ("services/tiers/api.py", {"gateway"}),
        ("services/points/api/holds.py", {"gateway"}),
        ("services/notifications/rendering/layout.html", {"notifications-worker", "gateway"}),
        ("services/__init__.py", ALL),
        ("shared/contracts/shop.py", ALL),
        ("deploy/local/openapi.py", {"gateway"}),
        ("deploy/local/stack.py", set()),
        ("deploy/keys.py", set()),
        ("services/nobody/rules.py", set()),
    ],
)
def test_the_processes_that_run_a_file(path: str, names: set[str]):
    assert reload.affected(Path(path)) == names


async def test_a_change_of_a_source_file_restarts_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reload, "REPOSITORY", tmp_path)
    monkeypatch.setattr(reload, "DEBOUNCE_MS", 50)
    for folder in (*reload.FOLDERS, "services/tiers"):
        (tmp_path / folder).mkdir(exist_ok=True)
    restarted: list[str] = []
    watching = asyncio.create_task(reload.watch(restarted.extend))
    async with asyncio.timeout(20):
        while not restarted:  # until the watch has begun
            (tmp_path / "services/tiers/notes.txt").touch()
            (tmp_path / "services/tiers/worker.py").touch()
            await asyncio.sleep(0.1)
    watching.cancel()
    assert set(restarted) == {"tiers-worker"}
