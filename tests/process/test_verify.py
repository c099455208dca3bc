"""`verify` at the terminal: a line for each check, and an exit code."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.notifications.__main__ import DOOR as NOTIFICATIONS
from services.points.__main__ import DOOR as POINTS
from services.referrals.__main__ import DOOR as REFERRALS
from services.tiers.__main__ import DOOR as TIERS
from shared.process import door
from shared.process.door import Door
from tests.support.postgres import make_database

# By service: its command line, its number of checks, a statement that breaks the database, and the resulting line.
SERVICES: dict[str, tuple[Door[Any], int, str, str]] = {
    "points": (
        *(POINTS, 11, "INSERT INTO account (customer_id, earned, sequence) VALUES ('ann', 7, 1)"),
        "sequences are gapless: FAILED: ann",
    ),
    "tiers": (
        *(TIERS, 14, "INSERT INTO refund VALUES ('ann', 'o', 'r', now(), 1, NULL)"),
        "refunds have their order, and none waits for a recorded one: FAILED: ann/o/r",
    ),
    "referrals": (
        *(REFERRALS, 18, "INSERT INTO referral_code VALUES ('ann', 'SHORT', now())"),
        "codes are unique and well formed, and one is given out: FAILED: SHORT",
    ),
    "notifications": (
        *(NOTIFICATIONS, 22, "INSERT INTO customer VALUES ('ann', '{}', now(), now())"),
        "nothing is left of erased customers: FAILED: ann",
    ),
}


@pytest.mark.parametrize("service", SERVICES)
def test_each_check_prints_a_line_with_its_offenders(
    service: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    opened, count, statement, line = SERVICES[service]
    url = asyncio.run(make_database(postgres_url, service))
    monkeypatch.setenv(f"WAFA_DATABASE_URL_{service.upper()}", url)
    monkeypatch.setattr(door, "_log", lambda _service, _level: None)
    assert opened.open(["verify"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == count
    assert all(item.endswith(": ok") for item in printed)
    asyncio.run(_execute(url, statement))
    assert opened.open(["verify", "--sample", "5"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == count
    assert line in printed


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("sample", ["-1", "many"])
def test_a_sample_is_a_number(sample: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        TIERS.open(["verify", "--sample", sample])
    assert ended.value.code == door.EXIT_USAGE
    assert "--sample" in capsys.readouterr().err
