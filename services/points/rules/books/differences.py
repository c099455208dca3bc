"""The difference between what is due and what was given, rule by rule."""

from collections.abc import Mapping, Sequence

from services.points.rules.ledger.lots import Lot


def differences(
    due: Mapping[str, int], given: Mapping[str, int], lost: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """By rule: the points that are due beyond what was given, and those that have to be taken back.

    What a rule's own lots lost to expiry counts as taken back, and is never paid again.
    """
    more: dict[str, int] = {}
    less: dict[str, int] = {}
    for rule in {**due, **given}:
        change = due.get(rule, 0) - given.get(rule, 0)
        if change > 0:
            more[rule] = change
        elif (back := -change - lost.get(rule, 0)) > 0:
            less[rule] = back
    return more, less


def lost_of(lots: Sequence[Lot]) -> dict[str, int]:
    """By rule: the points that lots lost to expiry."""
    lost: dict[str, int] = {}
    for lot in lots:
        if lot.expired:
            lost[lot.rule] = lost.get(lot.rule, 0) + lot.expired
    return lost


def after(given: Mapping[str, int], more: Mapping[str, int], less: Mapping[str, int]) -> dict[str, int]:
    """By rule: the points given after a settling."""
    rules = {**given, **more}
    result = {rule: given.get(rule, 0) + more.get(rule, 0) - less.get(rule, 0) for rule in rules}
    return {rule: points for rule, points in result.items() if points}
