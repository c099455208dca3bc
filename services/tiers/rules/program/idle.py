"""Conditions that change nothing: within a tier, and because another tier has them too."""

from collections.abc import Iterator, Sequence

from services.tiers.rules.program.document import ProgramDocument, TierDocument
from services.tiers.rules.program.implications import Compared, compared, first_implied
from services.tiers.rules.program.wording import list_in_words

Doubt = tuple[tuple[str | int, ...], str]
"""A path from a tier to what is doubtful, and a message."""


def idle_lists(tier: TierDocument) -> Iterator[Doubt]:
    """Lists of conditions of a tier that its other lists make superfluous."""
    enter, keep = compared(tier.enter), compared(tier.keep)
    yield from _superfluous("enter", enter)
    yield from _superfluous("keep", keep)
    for number, together in enumerate(keep):
        easier = first_implied(enter, together)
        if easier is not None and not enter[easier].implies(together):
            message = f"it is harder than list {easier + 1} of `enter`, which keeps the tier too: it changes nothing"
            yield ("keep", number), message


def skipped_tiers(document: ProgramDocument) -> Iterator[tuple[int, Doubt]]:
    """Tiers, by rank, that whoever reaches a lower one reaches too, always or by some of its lists."""
    lists = [compared(tier.enter) for tier in document.tiers]
    for rank in range(2, len(lists)):
        for lower in range(rank - 1, 0, -1):
            doubt = _reached_with(lists[rank], document.tiers[lower].id, lists[lower], document.currency)
            if doubt is not None:
                yield rank, doubt
                break


def _reached_with(enter: Sequence[Compared], lower: str, lists: Sequence[Compared], currency: str) -> Doubt | None:
    """The doubt about a tier that is entered by these lists, beside the lists of a lower one."""
    too = [(together, number) for together in lists if (number := first_implied(enter, together)) is not None]
    if not too:
        return None
    if len(too) == len(lists):
        return ("enter",), f"whoever reaches tier {lower} reaches this one at once: nobody is promoted to tier {lower}"
    together, number = too[0]
    words = list_in_words(together.conditions, currency)
    return ("enter", number), f"it asks no more than tier {lower} does with {words}: the order of tiers does not rise"


def _superfluous(field: str, lists: Sequence[Compared]) -> Iterator[Doubt]:
    for number, together in enumerate(lists):
        for other, easier in enumerate(lists):
            if other != number and together.implies(easier) and (other < number or not easier.implies(together)):
                yield (field, number), f"list {other + 1} holds whenever this one does: it changes nothing"
                break
