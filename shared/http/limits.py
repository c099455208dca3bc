"""Limits on what a caller may cost: sizes, times and counts of every server."""

import resource
from dataclasses import dataclass
from typing import Final

LARGEST_HEAD: Final = 65_536
"""Maximum bytes of the request line and the headers together."""

MAX_HEADERS: Final = 128

MAX_PIPELINED: Final = 32
"""Maximum number of requests on one connection that wait for the response to an earlier one."""

LARGEST_FRAMING: Final = 262_144
"""Maximum bytes of a request besides its body: head, chunk sizes, chunk extensions, trailers."""

BYTES_PER_SECOND: Final = 16_384
"""Minimum rate of a caller in either direction, after the first seconds."""

_RESERVED_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Number of connections of a process, and timeouts of a connection in seconds.

    `head`: to receive the request line and headers, from the first byte (of a new connection: from its start).
    `body`: until a slow body must arrive at `BYTES_PER_SECOND`. `answer`: until a client that reads slowly must read
    at `BYTES_PER_SECOND`. `keep_alive`: to wait for the next request. `drain`: to discard what a client still sends,
    so that it can read the response that ends the connection.
    """

    connections: int = 1000
    keep_alive: float = 75.0
    head: float = 10.0
    body: float = 30.0
    answer: float = 30.0
    drain: float = 5.0

    def within_open_files(self) -> "Limits":
        """These limits, with no more connections than the process may have open files."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY or self.connections + _RESERVED_FILES <= allowed:
            return self
        connections = max(allowed - _RESERVED_FILES, 1)
        return Limits(connections, self.keep_alive, self.head, self.body, self.answer, self.drain)
