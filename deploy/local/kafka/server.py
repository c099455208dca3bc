"""Apache Kafka as one process on the loopback interface."""

import base64
import subprocess
import time
import uuid
from pathlib import Path

from deploy.local import program
from deploy.local.kafka.libraries import libraries
from deploy.local.ports import LOOPBACK, answers, free_port, is_free
from deploy.local.program import Program, StartError

CACHE = Path(__file__).parents[3] / ".local" / "kafka"
# The optimizing compiler would take a quarter of a core for the first minutes.
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_SECONDS = 60.0

# The broker session is short because after a `kill -9` the quorum waits for the old session to end before it admits
# the same broker again.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller_port}
log.dirs={logs}
num.partitions=4
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
"""


class ApacheKafka:
    """A broker on a data directory. Its log survives `stop`, `kill` and `start`.

    `port` None: a free port. `cache` is the folder of the jars.
    """

    def __init__(self, data_dir: Path, port: int | None = None, cache: Path = CACHE) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port if port is not None else free_port()
        self.log = self.data_dir / "kafka.log"
        self._cache = cache
        self._controller_port_file = self.data_dir / "controller.port"
        self._properties = self.data_dir / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for Kafka clients."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Download the jars if necessary, format a new log directory, start, and wait until it serves.

        Raises:
            StartError: it did not start; the message has the end of its log.
        """
        self.prepare()
        self._process = program.start(self.program(), self.log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StartError(f"Apache Kafka did not start:\n{program.last_lines(self.log)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the broker; its log stays."""
        if self._process is not None:
            program.stop(self._process, self.program())
            self._process = None

    def kill(self) -> None:
        """Kill the broker (SIGKILL); the next start recovers its log."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def prepare(self) -> None:
        """Write the configuration of this start, and format the log directory if it is new."""
        logs = self.data_dir / "log"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        values = {"host": LOOPBACK, "port": self.port, "controller_port": self._controller_port(), "logs": logs}
        self._properties.write_text(PROPERTIES.format(**values))
        if (logs / "meta.properties").exists():
            return
        # Kafka's format of a random id: 16 bytes in base64, not beginning with a dash
        cluster_id = "w" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id, "-c", self._properties),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"the log directory of Apache Kafka could not be formatted: {done.stderr[-2000:]}")

    def program(self) -> Program:
        """The broker as a program."""
        argv = tuple(self._java("kafka.Kafka", self._properties))
        return Program(name="broker", argv=argv, cwd=self.data_dir, grace=30.0)

    def is_ready(self) -> bool:
        """Whether it serves clients: it opens its port after it has joined its own quorum."""
        return answers(self.port)

    def _java(self, main: str, *arguments: object) -> list[str]:
        classpath = f"{libraries(self._cache)}/*"
        return ["java", *JVM, "-cp", classpath, main, *map(str, arguments)]

    def _controller_port(self) -> int:
        """The port of the controller. It is kept, because the quorum stores its members with their addresses."""
        if self._controller_port_file.exists():
            port = int(self._controller_port_file.read_text())
            if is_free(port):
                return port
        port = free_port()
        self._controller_port_file.write_text(str(port))
        return port
