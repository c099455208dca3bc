"""Every command block of the README is listed for the journey that runs it (`make test-readme`)."""

import re

import pytest

from tests.architecture import tree
from tests.readme.blocks import COMMANDS, EXPECTED, README, RUN, SHOWN, UNWANTED, blocks

PAGE = README.read_text(encoding="utf-8")


def test_every_block_says_whether_it_is_run():
    assert {block.line: block.language for block in blocks(PAGE) if block.language not in RUN | SHOWN} == {}


def test_every_block_of_commands_is_run_and_no_other():
    assert [block.first for block in blocks(PAGE) if block.language in RUN] == list(EXPECTED)


def test_output_blocks_contain_no_commands():
    assert [block.line for block in blocks(PAGE) if block.language in SHOWN and COMMANDS.search(block.text)] == []


@pytest.mark.parametrize(
    "command", ["make run", "$ ls", "  curl -s x", ". .local/wafa.env", "python -m x", "a\nmake x"]
)
def test_a_command_is_recognized(command: str):
    assert COMMANDS.search(command)


def test_an_unlisted_block_is_detected():
    page = PAGE + "\n```sh\nmake all-well\n```\n"
    assert [block.first for block in blocks(page) if block.first not in EXPECTED and block.language in RUN] == [
        "make all-well"
    ]


def test_a_block_ends_at_its_fence():
    assert [(block.language, block.text, block.line) for block in blocks("a\n```sh\nb\n\nc\n```\n```\n```\n")] == [
        ("sh", "b\n\nc", 2),
        ("", "", 7),
    ]
    with pytest.raises(ValueError, match="line 2"):
        blocks("a\n```sh\nb\n")


def test_a_problem_is_unwanted():
    assert UNWANTED.search('{"type":"about:blank","title":"Unauthorized","status":401,"code":"unauthorized"}')


def test_ci_runs_the_suite_and_the_readme():
    assert re.search(r"^make check$", tree.text(README.parent / ".ci/run"), re.MULTILINE)
    check = re.search(r"^check: ([a-z -]+) ##", tree.text(README.parent / "Makefile"), re.MULTILINE)
    assert check is not None
    assert {"lint", "test", "test-deep", "test-readme", "test-kafka"} == set(check[1].split())
