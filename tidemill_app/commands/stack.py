"""`tidemill up`, `status`, `logs`, `doctor`, `down`: the embedded stack."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from tidemill.errors import NotFoundError, UnavailableError
from tidemill_app import config
from tidemill_app.cli import Output, command, human_bytes
from tidemill_app.home import Home

if TYPE_CHECKING:
    from tidemill_app.stack.lifecycle import StackStatus


@command()
@click.option("--kafka-port", type=click.IntRange(1, 65535), help="Kafka's port (default: one found free, then kept).")
@click.option("--redis-port", type=click.IntRange(1, 65535), help="Redis's port (default: one found free, then kept).")
@click.option("--flink/--no-flink", default=None, help="A Flink cluster too, from now on; or no more.")
@click.option("--taskmanagers", type=click.IntRange(1, 8), help="Flink's TaskManagers (default: 1).")
@click.option("--flink-port", type=click.IntRange(1, 65535), help="Port of Flink's page and REST address.")
def up(
    out: Output,
    kafka_port: int | None,
    redis_port: int | None,
    flink: bool | None,
    taskmanagers: int | None,
    flink_port: int | None,
) -> None:
    """Start Kafka and Redis on this machine and wait until both answer; with --flink a Flink cluster too.

    Running it again changes nothing that runs, and starts what died; another port for what runs is refused. A part that
    TIDEMILL_BOOTSTRAP, TIDEMILL_REDIS or TIDEMILL_FLINK names is not started.
    """
    import msgspec

    from tidemill_app.stack import lifecycle

    settings = config.load(out.home)
    if flink is False and taskmanagers:
        raise click.UsageError("--taskmanagers belongs to --flink")
    chosen = {"kafka_port": kafka_port, "redis_port": redis_port, "flink_port": flink_port}
    settings = msgspec.structs.replace(settings, **{name: port for name, port in chosen.items() if port})
    with out.progress("looking at the home") as tell:
        found = lifecycle.up(settings, tell, taskmanagers=_taskmanagers(Home(settings.home), flink, taskmanagers))
    out.answer(found, lambda: _show(found) + "\n" + _how_to_reach(found))


def _taskmanagers(home: Home, flink: bool | None, asked: int | None) -> int | None:
    """How many TaskManagers the home is to have; None: as many as it has."""
    if flink is False:
        return 0
    if asked or not flink:
        return asked
    record = home.read()
    return record.taskmanagers or 1 if record else 1


@command()
def status(out: Output) -> None:
    """How every part is, where it is, and what disk it takes."""
    from tidemill_app.stack import lifecycle

    found = lifecycle.status(config.load(out.home))
    out.answer(found, lambda: _show(found))


@command()
@click.option("--purge", is_flag=True, help="Remove the home and everything in it.")
@click.option("--yes", is_flag=True, help="Do not ask. On a terminal --purge does.")
def down(out: Output, purge: bool, yes: bool) -> None:
    """End what `up` started. Data stays, unless --purge is given."""
    from tidemill_app.stack import lifecycle

    settings = config.load(out.home)
    there = Home(settings.home).path
    if purge and not yes and not out.as_json and there.exists() and sys.stdin.isatty():
        out.confirm(f"Remove {there} and all that is in it, its topics, models and keys, for good?")
    with out.progress("ending the stack") as tell:
        ended = lifecycle.down(settings, purge, tell)
    home = str(Home(settings.home).path)
    text = f"Ended {', '.join(ended)}." if ended else "Nothing ran."
    out.answer({"home": home, "ended": ended, "purged": purge}, text + (f" Removed {home}." if purge else ""))


@command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many of the last lines."
)
def logs(out: Output, name: str | None, follow: bool, lines: int) -> None:
    """Show the last lines of the parts' logs, or of one part's."""
    from tidemill_app.log_lines import LogLines

    folder = Home(config.load(out.home).home).logs
    files = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not files:
        raise UnavailableError("no logs yet", where=str(folder), fix="Run `tidemill up`.")
    if name is not None and name not in files:
        raise NotFoundError(f"no log of {name!r}", wanted=" or ".join(files))
    chosen = {name: files[name]} if name is not None else files
    logs = {part: LogLines(path, lines) for part, path in chosen.items()}
    while True:
        for part, log in logs.items():
            for line in log.read():
                _log_line(out, part, line, len(chosen) > 1)
        if not follow:
            return
        time.sleep(0.2)


def _log_line(out: Output, part: str, line: str, several: bool) -> None:
    out.line({"part": part, "line": line}, f"{part}: {line}" if several else line)


@command()
def doctor(out: Output) -> int:
    """Check Java, jars, ports, disk and versions. Exit code 1 if something must be mended."""
    from tidemill_app.stack.doctor import examine

    findings = examine(config.load(out.home))
    well = all(finding.ok for finding in findings)

    def text() -> str:
        return "\n".join(
            f"{'ok  ' if f.ok else 'FAIL'}  {f.name}: {f.found}"
            + (f"\n      fix: {f.fix}" if f.fix and not f.ok else "")
            for f in findings
        )

    out.answer({"ok": well, "findings": findings}, text)
    return 0 if well else 1


def _show(found: StackStatus) -> str:
    rows: list[tuple[Any, ...]] = [("PART", "STATE", "ADDRESS", "PID", "MEMORY", "DISK")]
    for part in found.parts:
        disk = found.disk_bytes.get(part.name)
        rows.append(
            (
                part.name,
                part.state,
                part.address or "-",
                part.pid or "-",
                human_bytes(part.memory_bytes) if part.memory_bytes else "-",
                human_bytes(disk) if disk is not None and part.state != "external" else "-",
            )
        )
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    total = sum(found.disk_bytes.values())
    names = {part.name for part in found.parts}
    others = ", ".join(f"{name} {human_bytes(size)}" for name, size in found.disk_bytes.items() if name not in names)
    return "\n".join([*lines, f"home {found.home}, {human_bytes(total)} on disk" + (f" ({others})" if others else "")])


def _how_to_reach(found: StackStatus) -> str:
    address = {part.name: part.address for part in found.parts}
    lines = ["", "Reach them with any client:"]
    if bootstrap := address.get("kafka"):
        lines.append(f'  kafka-python      KafkaConsumer("TOPIC", bootstrap_servers="{bootstrap}")')
        lines.append(f'  confluent-kafka   Consumer({{"bootstrap.servers": "{bootstrap}", "group.id": "GROUP"}})')
    if url := address.get("redis"):
        lines.append(f'  redis             Redis.from_url("{url}")')
    if page := address.get("flink-jobmanager"):
        lines.append(f"  Flink             {page} (its page in a browser, and the REST address that jobs go to)")
    lines.append("End with `tidemill down`.")
    return "\n".join(lines)
