"""Bring a stack up, say how it is, bring it down.

`up` may be run at any time and by two at once: what runs stays as it is, what died is started again on the same ports
with the same data, and only processes of this home are ever ended.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidemill.errors import ConfigError, UnavailableError
from tidemill_app.alive import living
from tidemill_app.config import Settings
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import flink, flink_files, ports, process
from tidemill_app.stack.kafka import KafkaPart
from tidemill_app.stack.parts import Context, Part
from tidemill_app.stack.redis import RedisPart
from tidemill_app.stack.supervisor import SupervisorPart

BROKERS: tuple[Part, ...] = (KafkaPart(), RedisPart())

SETTLE_SECONDS = 60.0
"""How long a process that runs already may stay silent."""


def all_parts(record: StackRecord, settings: Settings) -> tuple[Part, ...]:
    """The parts of a home in the order they are started; they are ended in the opposite one."""
    return (*BROKERS, *flink.parts(record, settings), SupervisorPart())


class PartStatus(msgspec.Struct, kw_only=True):
    """How one part is now. `state` is `running`, `starting` (a process that does not answer), `external`,
    `unreachable` (external and silent), or `stopped`."""

    name: str
    state: str
    address: str = ""
    pid: int = 0
    memory_bytes: int = 0
    uptime_seconds: float = 0.0
    log: str = ""


class StackStatus(msgspec.Struct, kw_only=True):
    """How a stack is now."""

    home: str
    parts: list[PartStatus]
    ports: dict[str, int]
    disk_bytes: dict[str, int]

    @property
    def all_answer(self) -> bool:
        return all(part.state in ("running", "external") for part in self.parts)


def up(
    settings: Settings,
    tell: Callable[[str], None] = lambda message: None,
    parts: tuple[Part, ...] | None = None,
    taskmanagers: int | None = None,
) -> StackStatus:
    """Start what does not run yet of `parts` (all of this home), and wait until every one answers.

    `taskmanagers` says how many a Flink cluster in this home has from now on, 0 that there is none; None leaves it.

    Raises:
        ConfigError: the home cannot be used, a port that was asked for is taken, or not the one of a part that runs, or
            Flink is not installed.
        UnavailableError: a part does not start, or one that someone else runs does not answer.
    """
    home = Home(settings.home)
    home.create()
    with home.locked():
        record = home.read() or StackRecord()
        context = Context(home=home, settings=settings, record=record, tell=tell)
        record.taskmanagers = record.taskmanagers if taskmanagers is None else taskmanagers
        everything = all_parts(record, settings)
        record.external = [part.name for part in everything if part.external(settings)]
        _check_flink(everything, record)
        for part in everything if parts is None else parts:
            _refuse_other_ports(part, context)
        _end_unwanted(everything, context)
        waiting: list[process.Service] = []
        began: list[str] = []
        try:
            for part in everything if parts is None else parts:
                if part.needs:
                    _wait(waiting, context)
                if part.name in record.external:
                    _must_answer(part, context)
                elif not _settled(part, context):
                    _assign_ports(part, context)
                    service = part.prepare(context)
                    home.write(record)
                    tell(f"starting {part.name}")
                    began.append(part.name)
                    process.start(service, home.run, home.logs)
                    waiting.append(service)
            _wait(waiting, context)
        except BaseException:
            # What this call began and could not bring up is not left half-alive; what ran before is.
            for name in reversed(began):
                process.stop(home.run, name)
            raise
        home.write(record)
    return status(settings)


def _check_flink(parts: tuple[Part, ...], record: StackRecord) -> None:
    """Say that Flink is missing before anything is started."""
    if any(part.name == "flink-jobmanager" and part.name not in record.external for part in parts):
        flink_files.package()


def _end_unwanted(parts: tuple[Part, ...], context: Context) -> None:
    """End what runs of a Flink cluster that this home had more of."""
    for name in reversed(_names(context.home, parts)):
        if name.startswith("flink-") and name not in {part.name for part in parts}:
            context.tell(f"ending {name}")
            process.stop(context.home.run, name)


def _wait(waiting: list[process.Service], context: Context) -> None:
    while waiting:
        context.tell(f"waiting for {waiting[0].name} to answer")
        process.wait_ready(waiting.pop(0), context.home.run, context.home.logs)


def _settled(part: Part, context: Context) -> bool:
    """Whether the part runs and answers; False if it does not run, or was just dying.

    Raises:
        UnavailableError: it runs and stays silent.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while process.running(context.home.run, part.name) is not None:
        if part.answers(context):
            return True
        context.tell(f"waiting for {part.name}, which runs, to answer")
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"runs but does not answer after {SETTLE_SECONDS:.0f} s",
                where=part.name,
                fix=f"See `tidemill logs {part.name}`; `tidemill down` and `tidemill up` start it anew.",
            )
        time.sleep(0.05)
    return False


def _must_answer(part: Part, context: Context) -> None:
    if not part.answers(context):
        raise UnavailableError(
            "does not answer",
            where=f"{part.name} at {part.external(context.settings)}",
            fix=f"Check the address and the security settings, or unset TIDEMILL_{_VARIABLE[part.name]}.",
        )


_VARIABLE = {"kafka": "BOOTSTRAP", "redis": "REDIS", "flink-jobmanager": "FLINK"}


def chosen_ports(settings: Settings) -> dict[str, int]:
    """The ports that the settings ask for, by name; 0: not said."""
    return {"kafka": settings.kafka_port, "redis": settings.redis_port, "flink": settings.flink_port}


def _refuse_other_ports(part: Part, context: Context) -> None:
    """A part that runs stays where it is: another port that is asked for is refused, before anything is started."""
    asked, record = chosen_ports(context.settings), context.record
    if part.name in record.external or process.running(context.home.run, part.name) is None:
        return
    for name in part.ports:
        if asked.get(name) and record.ports.get(name) not in (None, asked[name]):
            raise ConfigError(
                f"{name} runs already, on another port",
                where=str(context.home.path),
                wanted=f"port {asked[name]}",
                got=f"port {record.ports[name]}",
                fix=f"Run `tidemill down` first, then `tidemill up --{name}-port {asked[name]}`; data stays.",
            )


def _assign_ports(part: Part, context: Context) -> None:
    record, asked = context.record, chosen_ports(context.settings)
    for name in part.ports:
        if asked.get(name):
            record.ports[name] = asked[name]
            record.pinned = sorted({*record.pinned, name})
        number = record.ports.get(name)
        others = {n for other, n in record.ports.items() if other != name}
        if number in others:
            raise ConfigError("two parts on one port", where=f"port {number}", fix=f"Choose another for {name}.")
        if number is not None and not ports.is_free(number):
            if name in record.pinned:
                raise ConfigError(
                    "taken by another program",
                    where=f"port {number} of {name}",
                    fix=f"End that program, or choose another: tidemill up --{name}-port N.",
                )
            context.tell(f"port {number} of {name} is taken by another program; using a new one")
            number = None
        record.ports[name] = number or ports.find_free(others)


def down(settings: Settings, purge: bool = False, tell: Callable[[str], None] = lambda message: None) -> list[str]:
    """End this home's processes, last started first; with `purge` remove the home too. The names of those that ran.

    Raises:
        UserError: there is a folder, but it is not a home of ours; or it shall be removed and a server works in it.
            Nothing is ended then.
    """
    home = Home(settings.home)
    if not home.path.exists():
        return []
    if not home.is_ours():
        raise ConfigError("not a Tidemill home, so nothing is done", where=str(home.path), fix="Check --home.")
    with home.locked():
        parts = all_parts(home.read() or StackRecord(), settings)
        if purge:
            _refuse_under_servers(home, parts)
        ended = []
        for name in reversed(_names(home, parts)):
            tell(f"ending {name}")
            if process.stop(home.run, name):
                ended.append(name)
        if purge:
            tell("removing the home")
            home.purge()
    return ended


def _refuse_under_servers(home: Home, parts: tuple[Part, ...]) -> None:
    """Servers that people started are theirs to end: they answer requests, and what they keep is in the home."""
    ours = {file.pid for name in _names(home, parts) if (file := process.running(home.run, name)) is not None}
    servers = [pid for pid in living(home, "serve") if pid not in ours]
    if servers:
        raise ConfigError(
            "`tidemill serve` works in this home, and keeps there what it has not sent yet",
            where=str(home.path),
            got=f"process {', '.join(map(str, servers))}",
            fix="End it first, with Ctrl-C or SIGTERM. Nothing was ended or removed.",
        )


def _names(home: Home, parts: tuple[Part, ...]) -> list[str]:
    """Every process of this home: the parts in their order, then whatever else left a pid file."""
    known = [part.name for part in parts]
    return known + sorted({file.stem for file in home.run.glob("*.pid")} - set(known))


def status(settings: Settings) -> StackStatus:
    """How every part is now; changes nothing."""
    home = Home(settings.home)
    record = home.read() or StackRecord()
    context = Context(home=home, settings=settings, record=record)
    known = {part.name: part for part in all_parts(record, settings)}
    return StackStatus(
        home=str(home.path),
        parts=[_part_status(name, known.get(name), context) for name in _names(home, tuple(known.values()))],
        ports=dict(record.ports),
        disk_bytes=disk_used(home),
    )


def _part_status(name: str, part: Part | None, context: Context) -> PartStatus:
    home = context.home
    if part is not None and (address := part.external(context.settings)):
        return PartStatus(name=name, address=address, state="external" if part.answers(context) else "unreachable")
    found = process.running(home.run, name)
    log = home.logs / f"{name}.log"
    if found is None:
        return PartStatus(name=name, state="stopped", log=str(log) if log.exists() else "")
    import psutil

    try:
        memory = psutil.Process(found.pid).memory_info().rss
    except psutil.Error:
        memory = 0
    answers = part is None or part.answers(context)
    return PartStatus(
        name=name,
        state="running" if answers else "starting",
        address=part.address(context.record) if part else "",
        pid=found.pid,
        memory_bytes=memory,
        uptime_seconds=round(max(0.0, time.time() - found.started), 1),
        log=str(log),
    )


def disk_used(home: Home) -> dict[str, int]:
    """Bytes taken on disk by each folder of the home."""
    if not home.is_ours():
        return {}
    return {child.name: _size(child) for child in sorted(home.path.iterdir()) if child.is_dir()}


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            # Blocks, not length: Kafka's index files are long and mostly holes.
            total += path.lstat().st_blocks * 512
        except OSError:  # a segment was removed while we looked
            continue
    return total


def free_disk(path: Path) -> int:
    """Bytes free where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
