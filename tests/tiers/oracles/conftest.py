"""The worked examples hold for the slow model and for the machine."""

import pytest

from tests.tiers.judging import machine
from tests.tiers.oracles import model, written


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if hasattr(metafunc.module, "at_end"):  # the door of the worked examples
        metafunc.fixturenames.append("judged_by")
        metafunc.parametrize("judged_by", [model.judge, machine.judge], ids=["model", "machine"], indirect=True)


@pytest.fixture
def judged_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model or the machine, as `written.at_end` judges."""
    monkeypatch.setattr(written, "judge", request.param)
