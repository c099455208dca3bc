"""The worked examples hold for the slow model and for the machine."""

import pytest

from tests.tiers.judging import machine
from tests.tiers.oracles import model, written


@pytest.fixture(params=[model.judge, machine.judge], ids=["model", "machine"], autouse=True)
def _judged_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "judge", request.param)
