"""The parts of PostgreSQL's protocol that show the transactions of a connection."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_LONGEST: Final = 4_096
"""Maximum bytes of a message that are parsed; the rest is skipped."""

_NEGOTIATION: Final = frozenset({80877103, 80877104})
"""Requests for TLS and GSS, which come before the startup message and are answered by one byte."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its type (b"" for a startup message), the beginning of its body, and its end in the stream."""

    type: bytes
    body: bytes
    end: int


@dataclass(slots=True)
class Parser:
    """Splits a stream into messages; `starts` means that it begins with a startup message, as a client's does."""

    starts: bool = False
    _position: int = field(default=0, init=False)
    """Position of the buffer in the stream."""
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _skip: int = field(default=0, init=False)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete; a long message counts once its beginning has arrived."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._position += skipped
        self._buffer += data[skipped:]
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        head = 0 if self.starts else 1
        if len(self._buffer) < head + 4:
            return None
        length = head + int.from_bytes(self._buffer[head : head + 4])
        wanted = min(length, _LONGEST)
        if len(self._buffer) < wanted:
            return None
        type_, body = bytes(self._buffer[:head]), bytes(self._buffer[head + 4 : wanted])
        if self.starts and int.from_bytes(body[:4]) not in _NEGOTIATION:
            self.starts = False
        here = min(length, len(self._buffer))
        del self._buffer[:here]
        self._skip = length - here
        self._position += here
        return Message(type_, body, self._position + self._skip)


def application(startup: Message) -> str:
    """The `application_name` of a startup message; empty where there is none."""
    words = startup.body[4:].split(b"\0")
    names = dict(zip(words[::2], words[1::2], strict=False))
    return names.get(b"application_name", b"").decode()


def prepares(message: Message) -> tuple[bytes, bytes] | None:
    """Name and text of the statement that a client's message prepares; None for other messages."""
    if message.type != b"P":
        return None
    name, _, text = message.body.partition(b"\0")
    return name, text.partition(b"\0")[0]


def runs(message: Message) -> bytes | None:
    """Name of the prepared statement that a client's message runs; None for other messages."""
    return message.body.split(b"\0", 2)[1] if message.type == b"B" else None


def is_commit(message: Message) -> bool:
    """Whether a client's message requests COMMIT, as a simple query or as a prepared statement."""
    prepared = prepares(message)
    text = message.body.partition(b"\0")[0] if message.type == b"Q" else prepared[1] if prepared else b""
    return text.strip(b" ;\n").upper() == b"COMMIT"


def is_committed(message: Message) -> bool:
    """Whether a server's message confirms a COMMIT (for an aborted transaction it would be ROLLBACK)."""
    return message.type == b"C" and message.body.partition(b"\0")[0] == b"COMMIT"


def is_in_transaction(message: Message) -> bool | None:
    """The transaction status in a server's ReadyForQuery; None for other messages."""
    return message.body[:1] != b"I" if message.type == b"Z" else None
