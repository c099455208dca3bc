"""Sessions of the real server, with whole messages, and detection of waits for locks."""

import select
import socket
import struct
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tests.simulation.watch import Watch

_PATIENCE: Final = (0.004, 0.01, 0.02, 0.05, 0.1, 0.2, *(0.5 for _ in range(60)))
_CANCEL: Final = 80877102
_TURN: Final = {b"S", b"Q", b"F"}  # Sync, Query, FunctionCall: each is answered by a ReadyForQuery
_AUTHENTICATED: Final = {0, 12}  # AuthenticationOk, and the end of SASL


class ServerGoneError(Exception):
    """The server closed the session."""


@dataclass(eq=False)
class Session:
    """A session that consecutive connections use, and that is cleared in between.

    `greeting` is the server's answer to the authentication.
    """

    socket: socket.socket
    startup: bytes = b""
    greeting: bytes = b""
    pid: int = 0
    status: bytes = b"I"
    prepared: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    """Name and server's answer of each prepared statement."""
    blockers: set[int] = field(default_factory=set)
    """The sessions that hold the lock that its statement waits for."""
    _owed: int = 0
    _copying: bool = False
    """Whether the server waits for rows."""
    _copied: bool = False
    """Whether the rows were sent before the server asked."""
    _asked: bool = False
    _flushed: bool = False
    """Whether a statement's description is expected, which no ReadyForQuery follows."""
    _skips: bool = False
    """Whether the server waits for a Sync after an error."""
    _answer: bytearray = field(default_factory=bytearray)
    _read: int = 0
    _welcome: int = 0

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.status != b"I"

    def send(self, data: bytes) -> None:
        """Send complete messages of the client."""
        if not self.startup:
            self.startup, self._owed = data, 1
        else:
            for kind, _ in messages(data):
                self._owed += kind in _TURN
                self._flushed = kind == b"H" or (self._flushed and kind != b"S")
                self._skips = self._skips and kind != b"S"
                if kind in {b"c", b"f"}:
                    self._copying, self._copied = False, not self._copying
        self._asked = False
        self.socket.sendall(data)

    @property
    def is_due(self) -> bool:
        """Whether an answer of the server is due."""
        return self._flushed or (self._owed > 0 and not self._copying and not self._asked)

    def collect(self, watch: Watch, ours: set[int]) -> bytes | None:
        """The complete answer; None if it waits for a lock of one of the sessions `ours`.

        Raises:
            ServerGoneError: the session has ended.
        """
        for patience in _PATIENCE:
            while self._poll(patience):
                data = self.socket.recv(1 << 18)
                if not data:
                    raise ServerGoneError
                self._answer += data
                self._parse()
                if not self.is_due:
                    answer, self._answer, self._read = bytes(self._answer), bytearray(), 0
                    self.blockers = set()
                    return answer
            self.blockers = watch.blockers(self.pid) & ours if self.pid else set()
            if self.blockers:
                return None
        raise AssertionError("the database does not answer")

    def _poll(self, seconds: float) -> bool:
        return bool(select.select([self.socket], [], [], seconds)[0])

    def _parse(self) -> None:
        while len(self._answer) - self._read >= 5:
            kind, length = struct.unpack_from("!cI", self._answer, self._read)
            if len(self._answer) - self._read <= length:
                return
            body = self._read + 5
            match kind:
                case b"Z":
                    self._owed -= 1
                    self._copied = False
                    self.status = bytes(self._answer[body : body + 1])
                    if not self.greeting:
                        self.greeting = bytes(self._answer[self._welcome : self._read + length + 1])
                case b"G":
                    self._copying, self._copied = not self._copied, False
                case b"T" | b"n" | b"E" if self._flushed:
                    self._flushed, self._skips = False, kind == b"E"
                case b"R":
                    self._asked = struct.unpack_from("!I", self._answer, body)[0] not in _AUTHENTICATED
                    self._welcome = self._read
                case b"K":
                    self.pid = struct.unpack_from("!I", self._answer, body)[0]
                case _:
                    pass
            self._read += length + 1

    def query(self, watch: Watch, text: str) -> bytes:
        """Run statements of the simulation itself."""
        self.send(simple(text))
        answer = self.collect(watch, set())
        assert answer is not None
        return answer

    def clear(self, watch: Watch) -> None:
        """End the statement and the transaction of a client that is gone, and reset the session."""
        if self._copying:
            self.send(message(b"f", b"\0"))
            self.collect(watch, set())
        if self.is_due:
            watch.cancel(self.pid)
            self.collect(watch, set())
        if self._skips:
            self.send(message(b"S", b""))
            self.collect(watch, set())
        if self.is_in_transaction:
            self.query(watch, "ROLLBACK")
        self.query(watch, "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL")


def messages(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each message of a client."""
    parsed: list[tuple[bytes, bytes]] = []
    place = 0
    while place < len(data):
        kind, length = struct.unpack_from("!cI", data, place)
        parsed.append((kind, data[place + 5 : place + 1 + length]))
        place += length + 1
    return parsed


def message(kind: bytes, body: bytes) -> bytes:
    """Encode a message."""
    return struct.pack("!cI", kind, len(body) + 4) + body


def simple(text: str) -> bytes:
    """Encode a simple query."""
    return message(b"Q", text.encode() + b"\0")


class Sessions:
    """Idle sessions, by their startup message."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: dict[bytes, list[Session]] = {}

    def take(self, startup: bytes) -> Session:
        """A session for a client with this startup message."""
        idle = self._idle.get(startup)
        return idle.pop() if idle else Session(self.dial())

    def give_back(self, session: Session, watch: Watch) -> None:
        """Return a session whose client is gone."""
        if session.greeting:
            session.clear(watch)
            self._idle.setdefault(session.startup, []).append(session)
        else:
            session.socket.close()

    def dial(self) -> socket.socket:
        """A new socket to the server."""
        parts = urlsplit(self._url)
        assert parts.hostname is not None
        connected = socket.create_connection((parts.hostname, parts.port or 5432), timeout=30)
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def close(self) -> None:
        """End all sessions."""
        for idle in self._idle.values():
            for session in idle:
                session.socket.close()
        self._idle.clear()


def is_cancel(data: bytes) -> bool:
    """Whether data is a cancel request."""
    return len(data) == 16 and struct.unpack_from("!I", data, 4)[0] == _CANCEL
