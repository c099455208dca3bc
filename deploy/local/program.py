"""A program of the stack: its command, user and environment, and how it is stopped."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")


class StartError(Exception):
    """A program of the stack did not start. The message is one line for the user."""


@dataclass(frozen=True)
class Program:
    """A process to run. `env` is added to the environment of the parent.

    `stop_signal` asks it to end; after `grace` seconds it is killed. The kernel sends it `death_signal` when its parent
    ends.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 20.0
    death_signal: signal.Signals = signal.SIGKILL

    def command(self) -> list[str]:
        """The command line that binds its life to that of this process (on Linux: of the calling thread)."""
        uid, gid = -1, -1
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        numbers = [str(number) for number in (os.getpid(), int(self.death_signal), uid, gid)]
        return [sys.executable, "-I", "-S", str(LAUNCHER), *numbers, "--", *self.argv]

    def environment(self) -> dict[str, str]:
        """The complete environment of the process."""
        return {**os.environ, **self.env}


def start(program: Program, log: Path) -> subprocess.Popen[bytes]:
    """Start a program in its own session; its output is appended to `log`.

    It ends with the calling thread, so call it from a thread that stays.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            program.command(),
            env=program.environment(),
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], program: Program) -> None:
    """Stop a process by its signal; kill it after its grace period."""
    if process.poll() is None:
        process.send_signal(program.stop_signal)
    try:
        process.wait(program.grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of a log, for the message of a failed start."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
