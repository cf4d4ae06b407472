"""The jars of Kafka and of Flink's connector: exact versions, each checked against a digest kept here, without Maven.

`kafka.jars` names every jar the broker needs and its SHA-256, `flink.jars` what Flink needs beyond its own package. A
jar is fetched once, checked, and kept in a folder all homes share; it is checked again each time a part starts.
`python -m tidemill_app.stack.jars kafka|flink` resolves the file anew and prints it (when a version is changed here).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from tidemill.errors import DigestError, TidemillError, UnavailableError

KAFKA = "org.apache.kafka:kafka_2.13:4.1.2"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl"
"""Joins Kafka's logging calls to log4j; at the version of log4j that Kafka brings. Without it the broker is silent."""

CONNECTOR = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
"""Flink's Kafka connector with all it needs in one jar; its version names the Flink it is for after the dash."""

TRIES = 4


class Jar(msgspec.Struct, frozen=True):
    """One pinned jar."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def pinned(name: str = "kafka") -> tuple[Jar, ...]:
    """The jars of `kafka.jars` or `flink.jars`, one `SHA256 GROUP:ARTIFACT:VERSION` on a line."""
    lines = Path(__file__).with_name(f"{name}.jars").read_text().splitlines()
    jars = []
    for line in lines:
        if line and not line.startswith("#"):
            digest, coordinate = line.split()
            jars.append(Jar(digest, *coordinate.split(":")))
    return tuple(jars)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(jars: tuple[Jar, ...], folder: Path) -> dict[str, str]:
    """What is wrong with the jars in a folder, by name: `missing` or `wrong digest`. Empty if all is well."""
    faults = {}
    for jar in jars:
        path = folder / jar.file_name
        if not path.is_file():
            faults[jar.file_name] = "missing"
        elif digest(path) != jar.sha256:
            faults[jar.file_name] = "wrong digest"
    return faults


def fetch(
    cache: Path,
    repository: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    jars: tuple[Jar, ...] | None = None,
) -> list[Path]:
    """All `jars` (Kafka's unless others are named), in `cache/jars`, each with the right digest; what is missing or
    damaged there is fetched.

    `progress` is called with how many are done and of how many.

    Raises:
        DigestError: a fetched jar is not the one that was pinned. It is not kept.
        UnavailableError: the repository does not answer.
    """
    jars = pinned() if jars is None else jars
    folder = cache / "jars"
    faults = check(jars, folder)
    wanted = [jar for jar in jars if jar.file_name in faults]
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
        done = len(jars) - len(wanted)
        progress(done, len(jars))
        # The working folder stands in the cache, so that the finished jar is moved within one file system.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work, ThreadPoolExecutor(4) as pool:
            context = _context(Path(work), repository)
            for _ in pool.map(lambda jar: _fetch_one(context, jar, folder), wanted):
                done += 1
                progress(done, len(jars))
    return [folder / jar.file_name for jar in jars]


def _context(work: Path, repository: str) -> Any:
    from jgo.maven import MavenContext, PythonResolver

    remote = {"configured": repository.rstrip("/")} if repository else None
    return MavenContext(resolver=PythonResolver(), repo_cache=work, remote_repos=remote, timeout=30)


def _fetch_one(context: Any, jar: Jar, folder: Path) -> None:
    fault: Exception | None = None
    for attempt in range(TRIES):
        time.sleep(0.5 * attempt)
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        try:
            path = artifact.resolve()
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; "not found" is a RuntimeError
            fault = error
            artifact.cached_path.unlink(missing_ok=True)
            continue
        found = digest(path)
        if found == jar.sha256:
            os.replace(path, folder / jar.file_name)
            return
        # A transfer cut short looks the same as a jar that was tampered with: try again, then refuse.
        path.unlink()
        fault = DigestError("the jar is not the one pinned", where=str(jar), wanted=jar.sha256, got=found)
    if isinstance(fault, TidemillError):
        raise fault
    raise UnavailableError(
        f"cannot be fetched: {fault}",
        where=str(jar),
        fix="Check the network, or name a Maven repository that can be reached in TIDEMILL_MAVEN.",
    )


def _kafka_artifacts(context: Any) -> list[Any]:
    from jgo.parse import Coordinate

    inputs, others = context.resolver.resolve([context.create_dependency(Coordinate.parse(KAFKA))])
    artifacts = [d.artifact for d in [*inputs, *others] if d.scope in (None, "compile", "runtime")]
    # Resolved together with Kafka, its own dependency management would replace Kafka's client with an older one.
    log4j = next(a.version for a in artifacts if a.artifactId == "log4j-core")
    return [*artifacts, context.project(*LOGGING.split(":")).at_version(log4j).artifact()]


def resolve_pins(name: str = "kafka") -> str:
    """What Kafka needs, or Flink beyond its package, resolved anew, as the text of `kafka.jars` or `flink.jars`."""
    work = Path(tempfile.mkdtemp(prefix="tidemill-pins-"))
    try:
        context = _context(work, "")
        if name == "kafka":
            root, artifacts = KAFKA, _kafka_artifacts(context)
        else:
            group, artifact, version = CONNECTOR.split(":")
            root, artifacts = CONNECTOR, [context.project(group, artifact).at_version(version).artifact()]
        with ThreadPoolExecutor(4) as pool:
            paths = list(pool.map(lambda a: a.resolve(), artifacts))
        pins = [f"{digest(p)} {a.groupId}:{a.artifactId}:{a.version}" for a, p in zip(artifacts, paths, strict=True)]
        head = f"# {root} and all it needs. Made by: python -m tidemill_app.stack.jars {name}\n"
        return head + "\n".join(sorted(pins, key=lambda line: line.split()[1])) + "\n"
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    print(resolve_pins(*sys.argv[1:2]), end="")
