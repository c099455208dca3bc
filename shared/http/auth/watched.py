"""A file that is parsed once, and again when it changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


class WatchedFile(Generic[T]):
    """The parsed content of a file that others replace.

    Each check costs one `stat`, a few microseconds. A missing file counts as `absent`. If the file cannot be parsed,
    the last valid content stays in force and the error is logged once: a mistake in an edit must not lock everybody
    out.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], absent: T) -> None:
        self._path = path
        self._parse = parse
        self._absent = absent
        self._content = absent
        self._seen: tuple[int, int, int] | None = None

    def content(self) -> T:
        """The current content of the file."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._content = self._absent if seen is None else self._read()
        return self._content

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            _log.error("file_unreadable", path=str(self._path), error=str(error))
            return self._seen
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> T:
        try:
            return self._parse(self._path.read_bytes())
        except (OSError, ValueError) as error:
            _log.error("file_unreadable", path=str(self._path), error=str(error))
            return self._content
