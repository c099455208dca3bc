"""The databases of the simulated services, emptied between two seeds."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from services.points.settings import Settings as PointsSettings
from services.points.worker import spec as points
from services.referrals.settings import Settings as ReferralsSettings
from services.referrals.worker import spec as referrals
from services.tiers.settings import Settings as TiersSettings
from services.tiers.worker import spec as tiers
from tests.simulation import referring
from tests.simulation.node import Service
from tests.simulation.sessions import Sessions
from tests.simulation.watch import Watch
from tests.support.postgres import make_database

# Published rows leave the outbox, and positions are overwritten: triggers keep what was committed.
_OBSERVED: Final = """
CREATE TABLE effect (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
    id text NOT NULL, source text NOT NULL, customer_id text NOT NULL
);
CREATE TABLE announced (id bigint PRIMARY KEY, topic text NOT NULL, key bytea NOT NULL, value bytea NOT NULL);
CREATE FUNCTION keep_announced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO announced VALUES (new.id, new.topic, new.key, new.value);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_announced AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION keep_announced();
CREATE TABLE moved_back (topic text, partition int, from_offset bigint, to_offset bigint);
CREATE FUNCTION keep_moved_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO moved_back VALUES (new.topic, new.partition, old.next_offset, new.next_offset);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_moved_back AFTER UPDATE ON position FOR EACH ROW WHEN (new.next_offset <= old.next_offset)
EXECUTE FUNCTION keep_moved_back();
-- By its session's number a transaction picks the row that it adds to: here by its worker's name, alike each time.
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.pg_backend_pid() RETURNS int LANGUAGE sql STABLE
RETURN abs(hashtext(current_setting('application_name')));
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = simulated, pg_catalog, public', current_database());
END $$;
"""

_TABLES: Final = """
SELECT string_agg(format($1, tablename), '; ' ORDER BY tablename) FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT IN ('schema_migration', 'document_version')
"""

_FIRST_VERSIONS: Final = "DELETE FROM document_version WHERE version > 1"

_TRUNCATE_EVERY: Final = 100


@dataclass
class Databases:
    """The services, with a connection into the database of each."""

    services: tuple[Service, ...]
    watches: Mapping[str, Watch]
    sessions: Sessions
    emptied: int = 0

    def empty(self) -> None:
        """Empty the databases; deleting a few rows is faster than truncating, until too many are dead."""
        command = "DELETE FROM %I" if self.emptied % _TRUNCATE_EVERY else "TRUNCATE %I"
        self.emptied += 1
        for watch in self.watches.values():
            watch.run(watch.value(_TABLES, command))
            watch.run(_FIRST_VERSIONS)
        referring.prepare(self.watches["referrals"])


@contextmanager
def databases(server_url: str) -> Iterator[Databases]:
    """New databases on a server."""
    with ExitStack() as stack:
        services = tuple(
            Service(spec, stack.enter_context(_database(server_url, spec.service)) + "?sslmode=disable")
            for spec in (points(PointsSettings()), tiers(TiersSettings()), referrals(ReferralsSettings()))
        )
        watches = {service.name: stack.enter_context(Watch(service.url)) for service in services}
        for watch in watches.values():
            watch.run(_OBSERVED)
        sessions = stack.enter_context(closing(Sessions(server_url)))
        yield Databases(services, watches, sessions)


@contextmanager
def _database(server_url: str, service: str) -> Iterator[str]:
    """The URL of a new database, dropped at the end of the context."""
    with asyncio.Runner() as runner:
        url = runner.run(make_database(server_url, service))
    yield url
    with Watch(server_url) as server:
        server.run(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
