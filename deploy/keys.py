"""Create, list and revoke the API keys that every service accepts: `python -m deploy.keys`."""

import argparse
import fcntl
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from pydantic import ValidationError

from shared.http.auth.api_keys import KeyEntry, KeysFile, issue
from shared.http.auth.principal import KEY_SCOPES, Scope

FILE_VARIABLE: Final = "WAFA_API_KEYS_FILE"
PEPPER_VARIABLE: Final = "WAFA_API_KEYS_PEPPER"

_LONGEST_NAME: Final = 200


class KeysError(Exception):
    """The operation failed; the message is one line."""


def create_key(path: Path, scopes: Sequence[str], name: str, *, pepper: str | None = None) -> str:
    """Add a new key to the file, which is created if it is missing, and return the key.

    The pepper is a secret that is not stored in the file and that every service needs too; by default it is the
    environment variable `WAFA_API_KEYS_PEPPER`.

    Raises:
        KeysError: an unknown scope, a bad name, or a file that cannot be read or written.
    """
    granted = _scopes(scopes)
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise KeysError(f"a name has 1 to {_LONGEST_NAME} printable characters")
    if pepper is None:
        pepper = os.environ.get(PEPPER_VARIABLE, "")
    with _locked(path):
        key, entry = issue(name, granted, datetime.now(UTC), pepper)
        _write(path, KeysFile(keys=(*_read(path).keys, entry)))
    return key


def list_keys(path: Path) -> Sequence[KeyEntry]:
    """The keys of the file, oldest first; none if there is no file.

    Raises:
        KeysError: the file cannot be read.
    """
    return _read(path).keys


def revoke_key(path: Path, key_id: str) -> None:
    """Remove the key: the services refuse it once they read the file again.

    Raises:
        KeysError: there is no such key, or the file cannot be read or written.
    """
    with _locked(path):
        keys = _read(path).keys
        kept = tuple(entry for entry in keys if entry.id != key_id)
        if len(kept) == len(keys):
            raise KeysError(f"there is no key {key_id}")
        _write(path, KeysFile(keys=kept))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 (the operation failed) or 2 (wrong arguments)."""
    options = _parser().parse_args(arguments)
    path = options.file or os.environ.get(FILE_VARIABLE)
    if not path:
        return _complain(f"the keys file is missing: give --file, or set {FILE_VARIABLE}", 2)
    try:
        options.run(Path(path), options)
    except KeysError as error:
        return _complain(str(error), 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="python -m deploy.keys", description=__doc__)
    parser.add_argument("--file", help=f"the keys file (default: {FILE_VARIABLE})")
    commands = parser.add_subparsers(required=True, metavar="create|list|revoke")
    create = commands.add_parser("create", help="create a key and print it once")
    create.add_argument("--name", required=True, help="who or what it is for")
    create.add_argument("--scopes", required=True, help="separated by commas: " + ",".join(sorted(KEY_SCOPES)))
    create.set_defaults(run=_create)
    listing = commands.add_parser("list", help="show the keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print a JSON object per line")
    listing.set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="make a key invalid")
    revoke.add_argument("id", help="the middle part of the key: wafa_<id>_…")
    revoke.set_defaults(run=_revoke)
    return parser


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(message, 2))


def _create(path: Path, options: argparse.Namespace) -> None:
    print(create_key(path, options.scopes.split(","), options.name))
    print("Keep it now: only its hash is stored.", file=sys.stderr)


def _list(path: Path, options: argparse.Namespace) -> None:
    for entry in list_keys(path):
        if options.json:
            print(entry.model_dump_json(include={"id", "name", "scopes", "created_at"}))
        else:
            print(f"{entry.id}  {entry.created_at:%Y-%m-%d %H:%M}  {','.join(entry.scopes):<30}  {entry.name}")


def _revoke(path: Path, options: argparse.Namespace) -> None:
    revoke_key(path, options.id)


def _scopes(names: Sequence[str]) -> tuple[Scope, ...]:
    scopes_by_name = {scope.value: scope for scope in KEY_SCOPES}
    stripped = [name.strip() for name in names]
    unknown = [name for name in stripped if name not in scopes_by_name]
    if unknown or not stripped:
        raise KeysError(f"unknown scope {unknown[0]!r}" if unknown else "a key needs a scope")
    return tuple(scopes_by_name[name] for name in stripped)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Lock the file: two concurrent commands would lose a key."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> KeysFile:
    try:
        return KeysFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return KeysFile()
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise KeysError(f"{path}: not a keys file: {error.errors()[0]['msg']}") from error


def _write(path: Path, content: KeysFile) -> None:
    """Replace the file atomically and durably, readable by its owner only."""
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            _keep_owner(target, file.fileno())
            file.write(content.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KeysError(f"{path}: {error.strerror}") from error


def _keep_owner(target: Path, draft: int) -> None:
    """Keep the owner if root edits the file of a service's user, who must still be able to read it."""
    if target.exists():
        status = target.stat()
        if status.st_uid != os.geteuid():
            os.fchown(draft, status.st_uid, status.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _complain(message: str, code: int) -> int:
    print(f"deploy.keys: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
