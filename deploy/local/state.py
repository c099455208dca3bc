"""What the supervisor says of itself in a file, for the commands that ask: `up`, `status`, `down`."""

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Final

from pydantic import TypeAdapter

from deploy.local.layout import Layout, write_private


class Phase(StrEnum):
    """Where a stack or one of its members stands."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class MemberState:
    """One program of the stack: its process, how often it was started again, and what it said if it failed."""

    name: str
    phase: Phase
    pid: int | None = None
    restarts: int = 0
    message: str = ""


@dataclass(frozen=True)
class StackState:
    """The stack as its supervisor (process `pid`) last wrote it."""

    pid: int
    phase: Phase
    message: str = ""
    members: Sequence[MemberState] = ()


_STATE: Final = TypeAdapter(StackState)


class AlreadyRunsError(Exception):
    """Another supervisor holds the lock of this data directory."""


@contextmanager
def locked(layout: Layout) -> Generator[None]:
    """Hold the lock of a data directory. The kernel lets go of it however the holder ends.

    Raises:
        AlreadyRunsError: somebody else holds it.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    with layout.lock_file.open("a+") as file:
        if not _try_lock(file):
            raise AlreadyRunsError
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def running_pid(layout: Layout) -> int | None:
    """The process id of the supervisor that holds this data directory, or None."""
    try:
        with layout.lock_file.open("r+") as file:
            if _try_lock(file):
                return None
            return int(file.read() or 0) or None
    except FileNotFoundError:
        return None


def write(layout: Layout, state: StackState) -> None:
    """Replace the state file."""
    write_private(layout.state_file, _STATE.dump_json(state, indent=2).decode() + "\n")


def read(layout: Layout) -> StackState | None:
    """The state file, or None when there is none."""
    try:
        return _STATE.validate_json(layout.state_file.read_bytes())
    except FileNotFoundError:
        return None


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
