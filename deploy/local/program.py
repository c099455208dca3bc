"""A program of the stack: what is started, as whom, and how it is stopped."""

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
    """A program of the stack did not come up. The message is one line for a person."""


@dataclass(frozen=True)
class Program:
    """One process to run. `env` is added to the environment of the starter.

    `stop_signal` asks it to end, `grace` is how many seconds that may take before it is killed, and
    `death_signal` is what the kernel sends it when its starter is gone.
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
        """The command line that starts it bound to the life of this process (of the calling thread, on Linux)."""
        uid, gid = -1, -1
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        numbers = [str(number) for number in (os.getpid(), int(self.death_signal), uid, gid)]
        return [sys.executable, "-I", "-S", str(LAUNCHER), *numbers, "--", *self.argv]

    def environment(self) -> dict[str, str]:
        """The whole environment that it gets."""
        return {**os.environ, **self.env}


def start(program: Program, log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; what it prints is appended to `log`.

    It ends with the thread that calls this, so call it from a thread that stays.
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
    """Ask a process to end, wait for its grace, and kill it if it is still there."""
    if process.poll() is None:
        process.send_signal(program.stop_signal)
    try:
        process.wait(program.grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of a log, for the message that says why a program did not come up."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
