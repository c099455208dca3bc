"""The tier program as a kind of versioned document."""

from typing import Final

from services.tiers.rules.program.checking import check
from services.tiers.rules.program.compiled import Program
from services.tiers.rules.program.document import ProgramDocument
from services.tiers.rules.program.lint import lint
from shared.programs.kind import Kind

KIND: Final = Kind("tier_program", ProgramDocument, check, lint, Program.of)
