"""The versions of the tier program, by the instants from which they are in force."""

from bisect import bisect_right
from datetime import datetime
from typing import Self

from services.tiers.rules.program.compiled import Program
from shared.programs.kind import Book


class Versions(Book[Program]):
    """The versions that a batch needs; one of them is in force since ever."""

    def after(self, moment: datetime) -> tuple[datetime, Program] | None:
        """The next version that comes into force strictly after an instant, with its instant; None if there is none."""
        place = bisect_right(self._starts, moment)
        return self._versions[place] if place < len(self._versions) else None

    def following(self, number: int) -> tuple[datetime, Program] | None:
        """The version that comes into force next after a version, with its instant; None if there is none."""
        if number not in self or self._versions[-1][1].version == number:
            return None
        return self.after(self.effective_at(number))

    def effective_at(self, number: int) -> datetime:
        """The instant from which a version is in force."""
        return next(start for start, version in self._versions if version.version == number)

    def with_draft(self, effective_at: datetime, program: Program) -> Self:
        """These versions and a draft, as if it were published to be in force from an instant on."""
        return type(self)([*self._versions, (effective_at, program)])
