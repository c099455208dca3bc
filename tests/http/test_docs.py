"""`/docs` without a browser: the files are unchanged, and the page loads nothing from other hosts."""

import hashlib
import re
from pathlib import Path

import httpx
import pytest

from shared.http import docs

FOLDER = Path(docs.__file__).with_name("swagger_ui")
SUMS = dict(reversed(line.split()) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
OWN = {"README.md", "SHA256SUMS", "index.html", "start.js"}


@pytest.mark.parametrize("name", SUMS)
def test_a_vendored_file_is_unchanged(name: str):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SUMS[name]


def test_every_vendored_file_has_a_hash_and_a_license():
    assert {file.name for file in FOLDER.iterdir()} == set(SUMS) | OWN
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} <= set(SUMS)


def test_the_version_on_the_page_is_that_of_the_script():
    version = re.search(r"# Swagger UI (\S+)", (FOLDER / "README.md").read_text())
    assert version is not None
    assert f'"{version[1]}"' in (FOLDER / "swagger-ui-bundle.js").read_text(encoding="utf-8")


async def test_every_file_that_the_page_names_is_served_under_its_policy(client: httpx.AsyncClient):
    page = await client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert {"docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js", "openapi.json"} <= set(named)
    for address in named:
        assert not re.match(r"\w+://|//", address)
        if not address.startswith("data:"):
            answer = await client.get(f"/{address}")
            assert answer.status_code == 200, address
    for address in ("/docs", "/docs/swagger-ui-bundle.js", "/docs/start.js"):
        policy = (await client.get(address)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert not re.search(r"https?:|\*", policy)


async def test_other_files_of_the_folder_are_not_served(client: httpx.AsyncClient):
    for name in ("SHA256SUMS", "README.md", "index.html", "..%2Fdocs.py", "../docs.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404, name
