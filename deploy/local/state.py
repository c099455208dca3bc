"""The state file, through which the supervisor informs the commands `up`, `status` and `down`."""

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
    """The phase of a stack or of a member."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class MemberState:
    """The state of a member: its process id, number of restarts, and the message of its last failure."""

    name: str
    phase: Phase
    pid: int | None = None
    restarts: int = 0
    message: str = ""


@dataclass(frozen=True)
class StackState:
    """The state of the stack, as its supervisor (process `pid`) wrote it last."""

    pid: int
    phase: Phase
    message: str = ""
    members: Sequence[MemberState] = ()


_STATE: Final = TypeAdapter(StackState)


class AlreadyRunsError(Exception):
    """Another supervisor has locked the data directory."""


@contextmanager
def locked(layout: Layout) -> Generator[None]:
    """Lock a data directory. The kernel releases the lock however the process ends.

    Raises:
        AlreadyRunsError: another process has locked it.
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
    """The process id of the supervisor of this data directory, or None."""
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
    """Read the state file; None if there is none."""
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
