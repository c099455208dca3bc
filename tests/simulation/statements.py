"""Descriptions of messages to the database, and of its answers."""

import re
import struct
from typing import Final

from tests.simulation.sessions import message, messages

_BRIEF = 70
_SAVEPOINT: Final = re.compile(r"__asyncpg_savepoint_[0-9a-f]+__")


def label(data: bytes, prepared: dict[bytes, str]) -> str:
    """The statement of messages, or "" where they have none."""
    for kind, body in messages(data):
        if kind == b"Q":
            return brief(body[:-1]).rstrip(";")
        if kind == b"B":
            return prepared.get(body.split(b"\0")[1], "?")
    return ""


def brief(statement: bytes) -> str:
    """The beginning of a statement on one line, without the driver's savepoint number."""
    return _SAVEPOINT.sub("savepoint", " ".join(statement.decode().split()))[:_BRIEF]


def renamed(data: bytes, names: dict[bytes, bytes]) -> bytes:
    """Replace the names of statements by those of the session."""
    if not names or data[:1] != b"B":
        return data
    parts: list[bytes] = []
    for kind, body in messages(data):
        renamed = body
        if kind == b"B":
            portal, name, rest = body.split(b"\0", 2)
            renamed = b"\0".join((portal, names.get(name, name), rest))
        parts.append(message(kind, renamed))
    return b"".join(parts)


def outcome(answer: bytes) -> str:
    """The command tag or error code of an answer."""
    place, words = 0, []
    while place + 5 <= len(answer):
        kind, length = struct.unpack_from("!cI", answer, place)
        body = answer[place + 5 : place + 1 + length]
        if kind == b"C":
            words.append(body[:-1].decode())
        elif kind == b"E":
            words += [field[1:].decode() for field in body.split(b"\0") if field[:1] == b"C"]
        place += length + 1
    return " ".join(words) or "ok"
