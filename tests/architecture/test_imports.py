"""Importing a module has no effect: no file is written, no socket opened, no process or thread started."""

import json
import subprocess
import sys

from tests.architecture import tree

# Runs in an interpreter of its own, and prints what the imports did. Third-party libraries are
# imported first: what they do is theirs.
PROBE = """
import importlib, json, sys, threading

wanted, libraries = json.load(sys.stdin)
for name in libraries:
    importlib.import_module(name)

import pydantic_settings

effects = []
watching = False
WATCHED = ("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.putenv", "shutil.")


def watch(event, arguments):
    if not watching:
        return
    is_write = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if is_write or event.startswith(WATCHED):
        effects.append(f"{event} {arguments!r}")


class Built(pydantic_settings.BaseSettings):
    pass


original = pydantic_settings.BaseSettings.__init__


def built(self, *arguments, **fields):
    effects.append(f"{type(self).__qualname__} was built")
    original(self, *arguments, **fields)


pydantic_settings.BaseSettings.__init__ = built
sys.addaudithook(watch)
threads = threading.active_count()
watching = True
for name in wanted:
    before = len(effects)
    importlib.import_module(name)
    effects[before:] = [f"{name}: {effect}" for effect in effects[before:]]
watching = False
if threading.active_count() != threads:
    effects.append("a thread was started")
json.dump(effects, sys.stdout)
"""


def effects(wanted: list[str], libraries: list[str]) -> list[str]:
    """What importing some modules does, after some libraries were imported."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE],
        input=json.dumps([wanted, libraries]),
        env={"PYTHONPATH": str(tree.ROOT)},
        cwd=tree.ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_importing_a_module_has_no_effect():
    paths = list(tree.python("services", "shared"))
    ours = {"services", "shared"}
    named = {name.rpartition(".")[0] or name for path in paths for name in tree.imports(path)}
    libraries = sorted(name for name in named if name.partition(".")[0] not in ours)
    wanted = [tree.module(path) for path in paths]
    assert effects(wanted, [name for name in libraries if name != "__future__"]) == []
    assert "services.points.__main__" in wanted


def test_the_probe_sees_effects():
    wanted = ["tests.architecture.effectful"]
    assert {effect.split(":", 1)[1].split()[0] for effect in effects(wanted, ["socket", "tempfile", "subprocess"])} == {
        *("socket.__new__", "subprocess.Popen", "open", "Settings"),
    }
