"""What a caller may cost: sizes, times and counts that every server of Wafa holds to."""

import resource
from dataclasses import dataclass
from typing import Final

LARGEST_HEAD: Final = 65_536
"""Bytes of the request line and the headers together."""

MOST_HEADERS: Final = 128

MOST_PIPELINED: Final = 32
"""Requests of one connection that wait for the answer to an earlier one."""

LARGEST_FRAMING: Final = 262_144
"""Bytes of a request that are not its body: head, chunk sizes, chunk extensions, trailers."""

BYTES_PER_SECOND: Final = 16_384
"""The rate that a slow caller has to reach, in either direction, once its first seconds are over."""

_RESERVED_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a process serves, and how long each may take for what. All times are in seconds.

    `head` is for the request line and headers, from the first byte (of a new connection: from its start). `body` is
    the time until a slow body has to keep up with `BYTES_PER_SECOND`. `answer` is the same for a client that reads
    slowly. `keep_alive` is how long a connection may wait for its next request. `drain` is how long what a client
    still sends is thrown away, so that it can read the answer that ends the connection.
    """

    connections: int = 1000
    keep_alive: float = 75.0
    head: float = 10.0
    body: float = 30.0
    answer: float = 30.0
    drain: float = 5.0

    def within_open_files(self) -> "Limits":
        """The same, with no more connections than the process may have open files."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY or self.connections + _RESERVED_FILES <= allowed:
            return self
        connections = max(allowed - _RESERVED_FILES, 1)
        return Limits(connections, self.keep_alive, self.head, self.body, self.answer, self.drain)
