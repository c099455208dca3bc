"""Every versioned document is one of shared/programs: no service has a table, or routes, of its own for one."""

import re
from pathlib import Path

import pytest

from services import SERVICES
from tests.architecture import tree
from tests.support import postgres

TABLES_SQL = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name IN ('version', 'document', 'effective_at')
GROUP BY table_name HAVING count(*) = 3
"""


@pytest.mark.parametrize("service", SERVICES)
async def test_a_versioned_document_has_no_table_of_its_own(service: str, postgres_url: str):
    async with postgres.database(postgres_url, service, max_size=1) as pool:
        tables = {row["table_name"] for row in await pool.fetch(TABLES_SQL)}
    assert tables == {"document_version"}


def test_the_table_of_programs_is_known_to_shared_programs_only():
    strangers = [
        path
        for path in tree.python("services", "shared", "deploy")
        if "document_version" in tree.text(path) and path.parts[:2] != ("shared", "programs")
    ]
    assert strangers == []


def test_a_versioned_document_has_no_routes_of_its_own():
    own = [path for path in tree.python("services") if re.search(r"/publish\"|\{version\}\"", tree.text(path))]
    assert own == []
    users = [path for path in tree.python("services") if "shared.programs.routes.Place" in tree.imports(path)]
    assert {
        Path("services/points/api/earning_rules.py"),
        Path("services/referrals/api/programs.py"),
        Path("services/tiers/api/programs.py"),
    } <= set(users)
