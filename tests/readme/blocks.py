"""The README's fenced blocks: which are commands, and what each is expected to print."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.architecture.tree import ROOT

README: Final = ROOT / "README.md"
TIER_PROGRAMS: Final = ROOT / "docs" / "tier-programs.md"
REFERRAL_PROGRAMS: Final = ROOT / "docs" / "referral-programs.md"
"""Pages whose only block that runs is run after those of the README."""

RUN: Final = frozenset({"sh", "python"})
SHOWN: Final = frozenset({"text"})
"""Output and diagrams: nothing to run."""

COMMANDS: Final = re.compile(
    r"^\s*(?:\$ |make |curl |python3? |\.venv/|pip |uv |export |docker |kcat |echo |\. \.local)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int

    @property
    def first(self) -> str:
        """Its first line, which identifies it."""
        return self.text.partition("\n")[0]


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page, in their order.

    Raises:
        ValueError: a fence is never closed.
    """
    parsed: list[Block] = []
    language: str | None = None
    begun, lines = 0, list[str]()
    for number, line in enumerate(markdown.splitlines(), start=1):
        fence = re.match(r"\s*```+\s*(\S*)", line)
        if fence is None:
            lines.append(line)
        elif language is None:
            language, begun, lines = fence[1], number, []
        else:
            parsed.append(Block(language, "\n".join(lines), begun))
            language = None
    if language is not None:
        raise ValueError(f"the block of line {begun} is never closed")
    return parsed


EXPECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "make run     # set up, start everything, replay a real grocer's year, show what came of it, stay up": (),
    'echo \'{"specversion":"1.0","id":"1","source":"/shop","type":"shop.purchase.completed.v1",'
    '"time":"2026-03-01T10:00:00Z","data":{"customer_id":"layla","order_id":"A-1","currency":"USD",'
    '"total":"129.90"}}\' |': (
        r"^published 1 to shop\.purchases$",
        r"^everything is handled",
        r'"customer_id":"layla","available":129,',
    ),
    "import json, os, uuid": (),
    ". .local/wafa.env": (r'"version":2,', r'"warnings":', r'"effective_at":"20'),
    ". .local/wafa.env     # WAFA_KAFKA_BOOTSTRAP, WAFA_DATABASE_URL_POINTS, WAFA_API_KEYS_FILE, …": (
        r"^0 topics created, 9 existed already$",
        r"^given = due: ok$",
        r"^receipts rebuild to their digest: ok$",
        r'"status":"ready"',
    ),
}
"""Regular expressions that the output of a block has to match, by the block's first line."""

TIERS_EXPECTED: Final = (
    r"^version 2, warnings: \[",
    r'"state":"done","progress":1\.0,"result":\{"customers":[0-9]+,',
    r'^\{"data":\[.*"next":',
    r"^published$",
    r'^\{"tier":"member","name":"عضو",.*"program_version":1\}',
)
"""The same of the block of `TIER_PROGRAMS`."""

UNWANTED: Final = re.compile(r'"status":[45]\d\d|"code":"|Traceback|command not found|No such file', re.MULTILINE)
"""Output that no block may print: problem documents (curl exits with 0), tracebacks, missing commands."""

REFERRALS_EXPECTED: Final = (
    r"^version 2, warnings: \[\]$",
    r'"state":"done"',
    r"^published$",
    r'^\{"data":\[.*"next":',
    r'^\{"clicks":[0-9]+,"sign_ups":[0-9]+,',
)
"""The same of the block of `REFERRAL_PROGRAMS`."""
