"""The database as processes see it, with faults on the way there and back."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.link import Link
from tests.simulation.loop import Loop, Process
from tests.simulation.sessions import Session, Sessions, is_cancel, message, messages, simple
from tests.simulation.statements import brief, label, outcome, renamed
from tests.simulation.watch import Watch

DEADLOCK: Final = "would deadlock, and is cancelled"
"""Locks are taken in one order everywhere, so a deadlock is a violation, although it would resolve."""

_RAISE: Final = "DO $$ BEGIN RAISE EXCEPTION 'simulated' USING ERRCODE = '{}'; END $$"


class Server:
    """The server as the processes see it: each statement is answered before any other task runs.

    `fault` returns the fault of each statement, "" for none.
    """

    def __init__(self, loop: Loop, watch: Watch, sessions: Sessions) -> None:
        self.loop = loop
        self.fault: Callable[[Link, str], str] = lambda _link, _label: ""
        self.crash: Callable[[Process], None] = lambda _process: None
        self.counts: Counter[str] = Counter()
        self.up = True
        self._watch = watch
        self._sessions = sessions
        self._written: list[Link] = []
        self._waiting: list[Link] = []
        self._ghosts: list[Session] = []
        self._used: set[Session] = set()
        loop.after = self.settle
        loop.connect = self._connect

    def _connect(self, factory: Callable[[], Any]) -> tuple[Link, Any]:
        if not self.up:
            raise ConnectionRefusedError("the database is down")
        protocol = factory()
        link = Link(self, protocol)
        if link.process is not None:
            link.process.links.append(link)
        protocol.connection_made(link)
        return link, protocol

    def written(self, link: Link) -> None:
        """Note that a link has data to send when the task pauses."""
        if link not in self._written:
            self._written.append(link)

    def settle(self) -> None:
        """Send written data, and deliver the answers."""
        while self._written:
            link = self._written.pop(0)
            data = bytes(link.out)
            link.out.clear()
            if data and not link.is_closing():
                self._exchange(link, data)

    def _exchange(self, link: Link, data: bytes) -> None:
        if link.session is None:
            if is_cancel(data):
                self._request_cancel(link, data)
                return
            link.session = self._sessions.take(data)
            self._used.add(link.session)
            if link.session.greeting:
                link.take(link.session.greeting)
                return
        elif data[:1] == b"P" and b"\0" not in data[5:6]:
            self._prepare(link, link.session, data)
            return
        elif data[:1] == b"C":
            link.take(message(b"3", b"") + message(b"Z", link.session.status))
            return
        else:
            link.label = label(data, link.statements)
            data = renamed(data, link.names)
            fault = self.fault(link, link.label) if link.label else ""
            if fault:
                self.counts[fault] += 1
                self._note(link, f"{link.label}: {fault}")
                data = self._spoil(link, link.session, data, fault)
        if data:
            self._perform(link, link.session, data)

    def _prepare(self, link: Link, session: Session, data: bytes) -> None:
        """Prepare a statement, unless the session has it already."""
        name, text = messages(data)[0][1].split(b"\0", 1)
        link.statements[name] = brief(text.split(b"\0")[0])
        link.label = ""
        if text in session.prepared:
            link.names[name], answer = session.prepared[text]
        else:
            session.send(data)
            collected = session.collect(self._watch, set())
            assert collected is not None
            answer = collected
            if answer[:1] == b"1":
                session.prepared[text] = (name, answer)
        link.take(answer)

    def _perform(self, link: Link, session: Session, data: bytes) -> None:
        session.send(data)
        if session.is_due:
            answer = session.collect(self._watch, self._pids())
            if answer is None:
                self._park(link, session)
                return
            self._answered(link, answer)
        if not session.is_in_transaction or link.label.startswith("ROLLBACK"):
            self.release()

    def _perform_late(self, link: Link, session: Session, data: bytes) -> None:
        """Perform a delayed statement, unless the client is gone."""
        if link.session is session:
            self._perform(link, session, data)

    def _answered(self, link: Link, answer: bytes) -> None:
        if link.label:
            self._note(link, f"{link.label} → {outcome(answer)}")
        link.take(answer)

    def _spoil(self, link: Link, session: Session, data: bytes, fault: str) -> bytes:
        """Apply a fault to a statement; returns the data to send instead."""
        match fault.split():
            case [_, "before"]:
                pass
            case [_, "after"]:
                session.send(data)
                answer = session.collect(self._watch, self._pids())
                if answer is None:
                    self._note(link, "waits for a lock, and its client is gone")
                else:
                    self._note(link, f"{link.label} → {outcome(answer)}, which nobody hears")
            case [_, "meanwhile"]:
                self._haunt(link, session, data)
            case ["slow"]:
                self.loop.call_later(0.01 * (1 + self.loop.trace.steps % 30), self._perform_late, link, session, data)
                return b""
            case ["error", state]:
                rollback = "ROLLBACK; " if link.label == "COMMIT" else ""
                return simple(rollback + _RAISE.format(state))
            case _:
                raise AssertionError(fault)
        link.lose(ConnectionResetError("simulated"))
        if fault.startswith("crash") and link.process is not None:
            self.crash(link.process)
        return b""

    def _haunt(self, link: Link, session: Session, data: bytes) -> None:
        """Execute a statement later, after its client is gone."""
        self._ghosts.append(session)
        link.session = None
        self.loop.call_later(0.05 + (self.loop.trace.steps % 40) / 10, self._arrive, session, data)

    def _arrive(self, session: Session, data: bytes) -> None:
        if session in self._ghosts:
            session.send(data)
            answer = session.collect(self._watch, set())
            assert answer is not None
            self.loop.trace.note(self.loop.time(), "world", f"a late statement → {outcome(answer)}")
            self._ghosts.remove(session)
            self._retire(session)

    def _park(self, link: Link, session: Session) -> None:
        """Let a statement wait for a lock; a second waiter for the same session is canceled, since they would race."""
        taken = {pid for item in self._waiting if item.session is not None for pid in item.session.blockers}
        reason = "waits for a lock"
        if session.blockers & taken:
            reason = "waits behind another one, and is cancelled"
        elif self._is_deadlocked(session):
            reason = DEADLOCK
        self.counts[reason] += 1
        self._note(link, f"{link.label} {reason}")
        if reason.endswith("cancelled"):
            self._watch.cancel(session.pid)
            answer = session.collect(self._watch, set())
            assert answer is not None
            self._answered(link, answer)
        else:
            link.waits = True
            self._waiting.append(link)

    def _is_deadlocked(self, session: Session) -> bool:
        holders = {item.session.pid: item.session.blockers for item in self._waiting if item.session is not None}
        seen: set[int] = set()
        behind = set(session.blockers)
        while behind:
            pid = behind.pop()
            if pid == session.pid:
                return True
            if pid not in seen:
                seen.add(pid)
                behind |= holders.get(pid, set())
        return False

    def release(self) -> None:
        """Let statements continue whose locks were released."""
        for link in list(self._waiting):
            session = link.session
            assert session is not None
            answer = session.collect(self._watch, self._pids())
            if answer is not None:
                self._waiting.remove(link)
                link.waits = False
                self._answered(link, answer)
                if not session.is_in_transaction:
                    self.release()
                    return

    def left(self, link: Link) -> None:
        """Clean up after a connection that ended."""
        if link in self._waiting:
            self._waiting.remove(link)
        if link.session is not None and link.session not in self._ghosts:
            self._retire(link.session)
        link.session = None

    def _retire(self, session: Session) -> None:
        self._used.discard(session)
        self._sessions.give_back(session, self._watch)
        self.release()

    def _request_cancel(self, link: Link, data: bytes) -> None:
        with self._sessions.dial() as connection:
            connection.sendall(data)
            assert connection.recv(1) == b""
        link.lose(None)
        self.release()

    def _pids(self) -> set[int]:
        return {item.pid for item in (*self._used, *self._ghosts) if item.pid}

    def _note(self, link: Link, what: str) -> None:
        who = link.process.name if link.process is not None else "world"
        self.loop.trace.note(self.loop.time(), who, what)

    def close(self) -> None:
        """Return all sessions."""
        for session in list(self._ghosts):
            self._ghosts.remove(session)
            self._retire(session)
        assert not self._used
