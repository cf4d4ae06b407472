"""`tidemill publish` and `tidemill label`: rows of files and data sets into streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tidemill.errors import ConfigError
from tidemill_app.cli import TEXT, Output, command

if TYPE_CHECKING:
    from tidemill_app.publishing import Pace, Published
    from tidemill_app.wiring import Platform


@command("publish")
@click.argument("stream", required=False)
@click.argument("file", required=False)
@click.option("--dataset", metavar="NAME", help="Instead of a file: a data set that is installed, as flights.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many rows.")
@click.option(
    "--kind", type=click.Choice(["csv", "tsv", "jsonl", "parquet"]), help="What FILE holds (default: by name)."
)
@click.option(
    "--format", type=click.Choice(["json", "arrow"]), default="json", help="A record for each event, or blocks."
)
@click.option("--block", type=click.IntRange(1, 1_000_000), default=1000, help="Rows of a block (default: 1000).")
@click.option("--allow-bad", is_flag=True, help="Leave out rows that do not fit, and count them.")
@click.option("--sort", is_flag=True, help="Sort by event time first (a data set always is).")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events a second.")
@click.option(
    "--speed", type=click.FloatRange(0, min_open=True), help="Event time against the clock: 60 is a minute a second."
)
@click.option("--no-advance", is_flag=True, help="More of the same time follows: promise nothing at the end.")
def publish(out: Output, stream: str | None, file: str | None, dataset: str | None, **options: Any) -> None:
    """Check the rows of FILE (- for JSON Lines on standard input) and send them to STREAM.

    The file is checked before its first row is sent. Publishing the same file again gives the same event ids, which
    jobs drop as duplicates as far back as they look.
    """
    from tidemill_app.wiring import connected

    if dataset is not None and not stream:
        with connected(out) as platform:
            _dataset(out, platform, dataset, options)
        return
    if not stream or not file or dataset is not None:
        raise ConfigError("what goes where?", wanted="STREAM FILE, STREAM -, or --dataset NAME")
    with connected(out) as platform:
        report = _file(out, platform, stream, file, options)
    out.answer(_facts(report), lambda: _text(report))


@command("label")
@click.argument("stream", type=TEXT)
@click.argument("event_id", type=TEXT)
@click.argument("value")
@click.option("--by", type=TEXT, help="Who says so.")
def label(out: Output, stream: str, event_id: str, value: str, by: str | None) -> None:
    """Say what the event EVENT_ID of STREAM turned out to be. VALUE is JSON, or else a text.

    A later label about the same event corrects the earlier one. Where no such event is found among the newest, or no
    job reads the labels, the label is given all the same, and you are warned.
    """
    import uuid

    from tidemill.events import LabelGiven
    from tidemill_app.labelling import doubts, value_of
    from tidemill_app.telling import tell
    from tidemill_app.wiring import connected

    given = value_of(value)
    with connected(out) as platform:
        catalogue, name = platform.catalogue(), stream.removeprefix("labels.")
        spec = catalogue.get(f"labels.{name}")
        event = LabelGiven(
            id=uuid.uuid4().hex, time=platform.clock.now(), source="/cli", about=event_id, value=given, by=by
        )
        tell(platform.log, spec.topic, event, event_id)
        warnings = doubts(platform.log, platform.jobs(), catalogue.get(name), spec, event_id)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    out.answer(
        {"id": event.id, "about": event_id, "value": given, "warnings": warnings},
        f"{event_id} of {stream} is {given!r}",
    )


def _file(out: Output, platform: Platform, stream: str, file: str, options: dict[str, Any]) -> Published:
    from itertools import islice

    from connectors import arrow
    from tidemill_app import publishing
    from tidemill_app.rows import digest_of, read_rows

    spec = platform.catalogue().get(stream)

    def rows() -> Any:
        return islice(read_rows(file, spec, kind=options["kind"]), options["limit"])

    with _bar(out, f"publishing to {stream}") as progress:
        return publishing.publish(
            platform.log,
            spec,
            rows,
            twice=file != "-",
            origin="" if file == "-" else digest_of(file)[:16],
            format=options["format"],
            arrow=arrow.encode,
            block_rows=options["block"],
            allow_bad=options["allow_bad"],
            sort=options["sort"],
            pace=_pace(options),
            advance=not options["no_advance"],
            progress=progress,
        )


def _dataset(out: Output, platform: Platform, name: str, options: dict[str, Any]) -> None:
    from connectors.datasets.catalogue import load
    from tidemill_app.replay import replay

    unfit = [f"--{n.replace('_', '-')}" for n in ("kind", "allow_bad", "no_advance") if options[n]]
    unfit += ["--format"] if options["format"] != "json" else []
    if unfit:
        raise ConfigError("does not go with --dataset", got=", ".join(unfit))
    dataset = load(name)
    catalogue = platform.catalogue()
    for each in dataset.streams:
        catalogue.declare(each.spec)
    with _bar(out, f"replaying {name}") as progress:
        sent = replay(
            platform.log,
            dataset,
            limit=options["limit"] or 0,
            pace=_pace(options),
            progress=lambda sent, time: progress(sent),
        )
    streams = [each.spec.name for each in dataset.streams]
    out.answer({"dataset": name, "sent": sent, "streams": streams}, f"{sent:,} events to {', '.join(streams)}")


def _pace(options: dict[str, Any]) -> Pace:
    from tidemill_app.publishing import Pace

    if options["rate"] and options["speed"]:
        raise ConfigError("a publication has one pace", wanted="--rate or --speed", got="both")
    return Pace(options["rate"], options["speed"])


@contextmanager
def _bar(out: Output, what: str) -> Iterator[Callable[[int], None]]:
    with out.progress(what) as tell:
        yield lambda sent: tell(f"{what}: {sent:,} events")


def _facts(report: Published) -> dict[str, Any]:
    refused = [{"line": line, "error": type(error).__name__, "message": str(error)} for line, error in report.refused]
    return {
        "stream": report.stream,
        "sent": report.sent,
        "records": report.records,
        "bad": report.bad,
        "refused": refused,
        "first": report.first,
        "last": report.last if report.first is not None else None,
        "disorder": report.disorder,
    }


def _text(report: Published) -> str:
    from tidemill.time import show_span, to_rfc3339

    lines = [f"{report.sent:,} events to {report.stream}"]
    if report.first is not None:
        lines[0] += f", {to_rfc3339(report.first)} to {to_rfc3339(report.last)}"
    if report.records != report.sent:
        lines[0] += f", in {report.records:,} records"
    if report.disorder:
        lines.append(
            f"Some events came up to {show_span(report.disorder)} after later ones: jobs that allow less lateness "
            "dead-letter those. --sort sends them in order."
        )
    if report.bad:
        lines.append(f"{report.bad:,} rows left out:")
        lines += [f"  line {line}: {error}" for line, error in report.refused]
    return "\n".join(lines)
