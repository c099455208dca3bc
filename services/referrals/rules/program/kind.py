"""The referral program as a kind of versioned document."""

from typing import Final

from services.referrals.rules.program.checking import check
from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.document import ProgramDocument
from services.referrals.rules.program.lint import lint
from shared.programs.kind import Kind

KIND: Final = Kind("referral_program", ProgramDocument, check, lint, Program.of)
