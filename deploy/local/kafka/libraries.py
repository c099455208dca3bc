"""The jars of Apache Kafka, downloaded once by Maven."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.local.program import StartError

POM = Path(__file__).with_name("pom.xml")
FETCH_SECONDS = 900.0


def libraries(cache: Path) -> Path:
    """The folder with Kafka's jars under `cache`; Maven fills it once per version of the pom.

    Raises:
        StartError: Maven or Java is missing, or Maven failed.
    """
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    folder = cache / f"lib-{version}"
    if folder.exists():
        return folder
    for tool in ("mvn", "java"):
        if shutil.which(tool) is None:
            raise StartError(f"Apache Kafka needs `{tool}` (Debian: apt-get install maven default-jre-headless)")
    partial = (
        cache / f"lib-{version}.{os.getpid()}"
    )  # renamed when complete, so that an incomplete folder is never used
    copied = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"],
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
        check=False,
    )
    if copied.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise StartError(f"Maven could not fetch Apache Kafka:\n{copied.stdout[-2000:]}{copied.stderr[-2000:]}")
    try:
        partial.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return folder
