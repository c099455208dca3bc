from datetime import date
from pathlib import Path

import pytest

from deploy.local import show, state
from deploy.local.layout import Layout
from deploy.local.pages import A_CUSTOMER
from deploy.local.state import Phase, StackState
from deploy.sample.grocer import Year


def test_the_customer_to_try_is_in_the_smallest_sample():
    assert Year.read(date(2026, 11, 22)).of_households(1).households == (int(A_CUSTOMER),)


@pytest.mark.parametrize(
    ("phase", "message", "expected"),
    [
        (Phase.STOPPED, "", ("Stopped.\n", "")),
        (Phase.STOPPED, "7 left", ("", "Stopped, but not everything was handled: 7 left\n")),
        (Phase.FAILED, "no port", ("", "")),
    ],
)
def test_the_end_reports_unhandled_events(
    layout: Layout, capsys: pytest.CaptureFixture[str], phase: Phase, message: str, expected: tuple[str, str]
):
    state.write(layout, StackState(1, phase, message))
    show.print_end(layout)
    assert capsys.readouterr() == expected


def test_a_killed_supervisor_is_reported(layout: Layout, capsys: pytest.CaptureFixture[str]):
    state.write(layout, StackState(1, Phase.READY))
    show.print_end(layout)
    assert "unexpectedly" in capsys.readouterr().err


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)
