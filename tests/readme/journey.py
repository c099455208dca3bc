"""Every command block of the README, run as it stands in a fresh checkout: `make test-readme`.

Not among the ordinary tests: it sets up an environment from the lock files and replays the sample, minutes of work.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copy2
from tempfile import TemporaryDirectory, TemporaryFile

import pytest

from tests.architecture import tree
from tests.readme.blocks import (
    EXPECTED,
    README,
    REFERRAL_PROGRAMS,
    REFERRALS_EXPECTED,
    RUN,
    TIER_PROGRAMS,
    TIERS_EXPECTED,
    UNWANTED,
    Block,
    blocks,
)

PAGE = README.read_text(encoding="utf-8")
UP_SECONDS = 900.0
BLOCK_SECONDS = 420.0  # a machine may be busy

pytestmark = pytest.mark.timeout(1800)


class Reader:
    """A user who has just fetched the sources and types what the README says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "terminal-1.log"
        for path in tree.files():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            copy2(tree.ROOT / path, folder / path)

    @property
    def env(self) -> dict[str, str]:
        """A shell's environment, without variables of Wafa or of this Python."""
        own = ("WAFA_", "PYTEST", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
        return {name: value for name, value in os.environ.items() if not name.startswith(own)}

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Run a command in a terminal of its own."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, script: str, lines: str = "", seconds: float = BLOCK_SECONDS) -> str:
        """Run a script to its end; returns its output.

        Raises:
            AssertionError: it failed, or did not end in time.
        """
        log = self.folder / "terminal-2.log"
        with log.open("w") as output, TemporaryFile("w+") as given:
            given.write(lines)
            given.seek(0)
            done = subprocess.Popen(
                ["bash", "-eu", "-o", "pipefail", "-c", script],
                cwd=self.folder,
                env=self.env,
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = done.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(done.pid, signal.SIGKILL)
                raise AssertionError(f"not done after {seconds:.0f} s:\n{log.read_text(errors='replace')}") from None
        assert code == 0, log.read_text(errors="replace")
        return log.read_text(errors="replace")

    def printed(self) -> str:
        """The output of the first terminal."""
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with TemporaryDirectory(prefix="wafa-readme-") as folder:  # see tests/conftest.py
        yield Reader(Path(folder))


def words(line: str) -> list[str]:
    """The words of a line, without table borders."""
    return re.findall(r"[\w,]+", line)


def commands(text: str) -> list[str]:
    """The commands of a block with one command per line, without comments."""
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def stack(reader: Reader) -> Iterator[subprocess.Popen[bytes]]:
    """`make run`, the first command of the page, until it says what to try; in the end Ctrl-C."""
    first = blocks(PAGE)[0]
    assert commands(first.text) == ["make run", "make test"]
    process = reader.start("make run")
    try:
        deadline = time.monotonic() + UP_SECONDS
        while "Ctrl-C stops it" not in reader.printed():
            assert process.poll() is None, reader.printed()
            assert time.monotonic() < deadline, reader.printed()
            time.sleep(0.5)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        try:
            process.wait(180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_make_run_shows_what_the_page_shows(stack: subprocess.Popen[bytes], reader: Reader):
    (shown,) = [block for block in blocks(PAGE) if block.first.startswith("Baskets ")]
    printed = [words(line) for line in reader.printed().splitlines()]
    for line in shown.text.splitlines():
        assert words(line) in printed, reader.printed()
    assert not UNWANTED.search(reader.printed())


def test_make_test_is_the_suite_that_ci_runs(reader: Reader):
    recipe = reader.run("make -n test")
    assert re.search(r'pytest .*-m "not kafka and not deep"', recipe)


RUN_HERE = [block for block in blocks(PAGE)[1:] if block.language in RUN]


@pytest.mark.parametrize("given", RUN_HERE, ids=lambda block: f"line {block.line}")
def test_a_block_runs_as_it_stands(given: Block, stack: subprocess.Popen[bytes], reader: Reader):
    if given.language == "python":
        output = reader.run(". .local/wafa.env; .venv/bin/python -", given.text)
    else:
        output = reader.run(given.text)
    for pattern in EXPECTED[given.first]:
        assert re.search(pattern, output, re.MULTILINE), output
    assert not UNWANTED.search(output), output
    assert stack.poll() is None


def test_both_first_events_have_their_effect(stack: subprocess.Popen[bytes], reader: Reader):
    """The orders of the shell block and of the Python block: 129 points and 20."""
    ask = 'curl -s -H "Authorization: Bearer $WAFA_ADMIN_TOKEN" $WAFA_URL/v1/customers/layla/points'
    drain = ".venv/bin/python -m deploy.local drain >&2"
    assert '"available":149,' in reader.run(f"{drain}; . .local/wafa.env; {ask}")


@pytest.mark.parametrize(
    ("page", "expected"),
    [(TIER_PROGRAMS, TIERS_EXPECTED), (REFERRAL_PROGRAMS, REFERRALS_EXPECTED)],
    ids=["tiers", "referrals"],
)
def test_a_program_is_drafted_tried_and_published(
    page: Path, expected: tuple[str, ...], stack: subprocess.Popen[bytes], reader: Reader
):
    [block] = [own for own in blocks(page.read_text(encoding="utf-8")) if own.language in RUN]
    output = reader.run(block.text)
    for pattern in expected:
        assert re.search(pattern, output, re.MULTILINE), output
    assert not UNWANTED.search(output), output
    assert stack.poll() is None


def test_ctrl_c_stops_it(stack: subprocess.Popen[bytes], reader: Reader):
    os.killpg(stack.pid, signal.SIGINT)
    stack.wait(180)
    assert reader.printed().rstrip().splitlines()[-1].startswith(("Stopped.", "make: ***")), reader.printed()
    assert "\nStopped.\n" in reader.printed()
