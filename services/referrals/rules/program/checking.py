"""What a new document is refused for: contradictions that no single field shows, and sizes.

Drafts are checked, and documents when they are published; versions that are already published are not checked again.
"""

from services.referrals.rules.program.document import ProgramDocument


def check(document: ProgramDocument) -> None:
    """Check that the parts of a document go together, and are not too many.

    Raises:
        DocumentError: they do not go together or are too many; it lists every fault.
    """
