import asyncio, sys, os, tempfile
from pathlib import Path
from tests.prove import plan, run
def main():
    with tempfile.TemporaryDirectory(prefix="wafa-prove-") as folder:
        outcome = asyncio.run(run.run(int(os.environ.get("PROVE_SEED", "7")), plan.chosen(), Path(folder)))
    for c in outcome.checks:
        print(c.group, c.name, c.looked_at, c.found, *(o[:600] for o in c.offenders[:4]), sep=" | ")
    print(outcome.figures, outcome.seconds)
main()
