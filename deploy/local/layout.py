"""The files of a stack, all in one data directory."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DEFAULT_DATA = REPOSITORY / ".local"


@dataclass(frozen=True)
class Layout:
    """The files of a stack. Stacks with different roots share nothing."""

    root: Path

    @property
    def env_file(self) -> Path:
        """The file that scripts source to reach the stack."""
        return self.root / "wafa.env"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor while it runs."""
        return self.root / "lock"

    @property
    def state_file(self) -> Path:
        """The state that the supervisor wrote last."""
        return self.root / "state.json"

    @property
    def addresses_file(self) -> Path:
        """The chosen ports, and the addresses of the stack's own brokers."""
        return self.root / "addresses.json"

    @property
    def credentials_file(self) -> Path:
        """The signing key of tokens and the admin's API key."""
        return self.root / "credentials.json"

    @property
    def api_keys(self) -> Path:
        """The API keys that the services accept, hashed."""
        return self.root / "api-keys.json"

    @property
    def logs(self) -> Path:
        """One log per program."""
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL."""
        return self.root / "postgres"

    @property
    def kafka(self) -> Path:
        """Apache Kafka's log and configuration (its jars are beside it, since they are not data)."""
        return self.root / "kafka" / "data"

    def purge(self) -> None:
        """Delete all data of the stack. Downloaded jars stay."""
        for folder in (self.postgres, self.kafka, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (
            *(self.env_file, self.state_file, self.addresses_file),
            *(self.credentials_file, self.api_keys, self.api_keys.with_name(f"{self.api_keys.name}.lock")),
        ):
            file.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 600 atomically: a reader sees the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 600
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)
