"""Earning rules as a kind of versioned document."""

from typing import Final

from services.points.rules.program.checking import check
from services.points.rules.program.document import Document
from services.points.rules.program.lint import lint
from services.points.rules.program.ruleset import RuleSet
from shared.programs.kind import Kind

EARNING_RULES: Final = Kind("earning_rules", Document, check, lint, RuleSet.of)
