"""Generated documents are ones that marketing could publish, one after the other."""

from hypothesis import HealthCheck, given

from services.tiers.rules.program.checking import check
from services.tiers.rules.program.document import ProgramDocument
from tests.support.depth import examples
from tests.tiers.oracles.histories import History, histories


@examples(20, deep=120, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_generated_versions_are_valid(history: History):
    before: set[str] = set()
    for _, version in history.versions:
        document = ProgramDocument.model_validate(version)
        check(document)
        tiers = {tier.id for tier in document.tiers}
        assert before - tiers <= document.moves.keys()
        before = tiers
