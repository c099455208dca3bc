"""The example of docs/tiers.md is what the machine and the slow model say."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.tiers.judging import machine
from tests.tiers.oracles import model
from tests.tiers.oracles.facts import order
from tests.tiers.oracles.model import Outcome
from tests.tiers.oracles.written import GOLD, MEMBER, program, spend, t, tier

PAGE = Path(__file__).parents[3] / "docs" / "tiers.md"
ROW = re.compile(r"^\| (\d{4}-\d\d-\d\d \d\d:\d\d) \| (\w+) \| (\w+) \| ([\d:-]+ [\d:]+)? ?\|", re.MULTILINE)

SILVER = tier("silver", spend("500"), keep=spend("200"), points_multiplier="1.25")
TOP = {**GOLD, "enter": spend("1500")}
NINETY_DAYS = {"kind": "rolling_days", "days": 90}
DOCUMENT = program(MEMBER, SILVER, TOP, period=NINETY_DAYS, to="one_step", grace_days=14, on_refund="revoke")
ORDERS = [*order(t("03-02 12:00"), "600"), *order(t("04-10 12:00"), "950", (t("04-20 12:00"), "100"))]
LATE = order(t("02-01 12:00"), "600")


def rows() -> list[list[tuple[datetime, str, str, datetime | None]]]:
    """The timelines of the page: instant, tier, reason and end."""
    tables = PAGE.read_text().split("| from | tier |")[1:]
    return [
        [(_at(at), own, why, _at(end) if end else None) for at, own, why, end in ROW.findall(table)] for table in tables
    ]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("judge", [model.judge, machine.judge], ids=["model", "machine"])
@pytest.mark.parametrize("number", [0, 1], ids=["in order", "late"])
def test_the_example_of_the_page(judge: Callable[..., Outcome], number: int):
    changes = [*ORDERS, *LATE] if number else ORDERS
    outcome = judge([(None, DOCUMENT)], changes, [], t("08-01"))
    told = [(entry.at, entry.tier, entry.reason, entry.valid_until) for entry in outcome.entries]
    assert len(rows()) == 2
    assert told == rows()[number]
