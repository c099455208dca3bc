"""What the terminal shows when the stack starts: addresses, the replay, and what to try."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence

from aiokafka.errors import KafkaError
from rich.console import Console

from deploy.local import environment, state
from deploy.local.drain import DrainTimeoutError, Left, drain
from deploy.local.layout import DEFAULT_DATA, REPOSITORY, Layout
from deploy.local.pages import A_CUSTOMER
from deploy.local.program import StartError
from deploy.local.readers import UNREACHABLE
from deploy.local.state import Phase

CURLS = (
    f'curl -s -H "Authorization: Bearer $WAFA_ADMIN_TOKEN" "$WAFA_URL/v1/customers/{A_CUSTOMER}/points"',
    'curl -s -H "Authorization: Bearer $WAFA_ADMIN_TOKEN" "$WAFA_URL/v1/points/trial-balance"',
)
POLL_SECONDS = 0.1
DRAIN_SECONDS = 3600.0  # the whole year takes minutes; remaining work is shown meanwhile


def print_ready(layout: Layout) -> None:
    """Print that the stack is ready, and its address."""
    env = environment.read(layout)
    current = state.read(layout)
    print(f"Wafa runs at {env['WAFA_URL']} ({current.message if current else ''}).", flush=True)


def replay_sample(layout: Layout, sample: str, console: Console) -> None:
    """Replay households (a number, or "all"), wait until all events are handled, and print the results.

    Raises:
        StartError: the sample is not installed, or the stack does not answer or does not handle the events.
    """
    from deploy.sample.grocer import SampleMissingError  # noqa: PLC0415 - pyarrow is slow to import
    from deploy.sample.referral_codes import ReferralCodeError  # noqa: PLC0415 - see above
    from deploy.sample.replay import options  # noqa: PLC0415 - see above
    from deploy.sample.report import replay_and_report  # noqa: PLC0415 - see above

    env = environment.read(layout)

    async def drained() -> None:
        with console.status("Handling what was published") as shown:
            await drain(env, DRAIN_SECONDS, lambda left: shown.update(_in_short(left)))

    try:
        asyncio.run(replay_and_report(options(extent(sample)), env, console, drained))
    except (SampleMissingError, ReferralCodeError, DrainTimeoutError, KafkaError, *UNREACHABLE) as error:
        raise StartError(f"the replay did not get through: {error or type(error).__name__}") from error


def _in_short(left: Sequence[Left]) -> str:
    """The remaining work in one line."""
    services = dict.fromkeys(backlog.service for backlog in left)
    return f"Handling what was published: {sum(backlog.count for backlog in left):,} left ({', '.join(services)})"


def extent(sample: str) -> list[str]:
    """The options of the replay for a number of households, or all."""
    return ["--baskets", "all"] if sample == "all" else ["--households", sample]


def print_end(layout: Layout) -> None:
    """Print how the stack ended, and what was not handled. A failed start has been reported already."""
    current = state.read(layout)
    if current is None or current.phase is Phase.FAILED:
        return
    if current.phase is not Phase.STOPPED:
        print(f"The supervisor ended unexpectedly; see {layout.logs}", file=sys.stderr)
    elif current.message:
        print(f"Stopped, but not everything was handled: {current.message}", file=sys.stderr)
    else:
        print("Stopped.")


def print_what_to_try(layout: Layout) -> None:
    """Print the addresses, and two commands that work as they are."""
    env = environment.read(layout)
    file = _shown(layout)
    lines = (
        "",
        f"APIs     {env['WAFA_URL']}   every route at {env['WAFA_URL']}/docs",
        f"Mail     {env['WAFA_MAIL_URL']}   caught, none delivered",
        f"Scripts  . {file}   addresses, databases, and WAFA_ADMIN_TOKEN, a key with every scope",
        "",
        "Try in another terminal:",
        f"  . {file}",
        *(f"  {line}" for line in CURLS),
        "",
        "Ctrl-C stops it; the data stays for the next run.",
    )
    print("\n".join(lines), flush=True)


def follow(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    """Print a line whenever a program of the stack changes its phase, until the supervisor ends."""
    before = _phases(layout)
    while process.poll() is None:
        phases = _phases(layout)
        for name, (phase, message) in phases.items():
            if before.get(name) != (phase, message):
                print(f"{name} {phase} {message}".rstrip(), flush=True)
        before = phases
        time.sleep(POLL_SECONDS)


def _phases(layout: Layout) -> dict[str, tuple[Phase, str]]:
    current = state.read(layout)
    return {member.name: (member.phase, member.message) for member in current.members} if current else {}


def _shown(layout: Layout) -> str:
    """The path of the env file, as short as possible."""
    return str(layout.env_file.relative_to(REPOSITORY) if layout.root == DEFAULT_DATA else layout.env_file)
