"""Whether a simulated move is a promotion goes by what the event of the publication would be (answers.md T19)."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from services.tiers.rules.simulating import Tally, WhatIf, result_of
from tests.tiers import judged
from tests.tiers.oracles.written import GOLD, MEMBER, SILVER, program, spend, tier
from tests.tiers.programs import program as compiled

BRONZE = tier("bronze", spend("10"))


@pytest.mark.parametrize(
    ("draft", "before", "after", "counts"),
    [
        # Bronze is below Silver in the draft, though each is the second of its list.
        ([MEMBER, BRONZE, SILVER, GOLD], "silver", "bronze", (0, 1)),
        ([MEMBER, BRONZE, SILVER, GOLD], "member", "bronze", (1, 0)),
        # A tier that the draft lacks has the position that it had.
        ([MEMBER, BRONZE], "gold", "bronze", (0, 1)),
        ([MEMBER, BRONZE], "silver", "bronze", (0, 0)),
    ],
)
def test_a_move_is_what_its_event_is(draft: list[object], before: str, after: str, counts: tuple[int, int]):
    what_if = WhatIf(judged.versions(program()), compiled(program(*draft), version=2), datetime(2026, 1, 1, tzinfo=UTC))
    result = result_of(what_if, [Tally(Counter({(before, after): 1}))])
    assert (result["promoted"], result["demoted"]) == counts
    assert result["unchanged"] == 1 - sum(counts)
