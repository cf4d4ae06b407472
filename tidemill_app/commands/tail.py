"""`tidemill tail`: what a stream or topic holds, and what comes."""

from __future__ import annotations

import click

from tidemill.errors import NotFoundError
from tidemill_app.cli import Output, command


@command("tail")
@click.argument("name", metavar="STREAM|TOPIC")
@click.option("-n", "last", type=click.IntRange(0), default=10, help="The last so many records (default: 10).")
@click.option("-f", "follow", is_flag=True, help="Go on with what comes.")
@click.option(
    "--from",
    "origin",
    default="end",
    metavar="WHERE",
    help="beginning, end (default), an offset, or a time of arrival.",
)
def tail(out: Output, name: str, last: int, follow: bool, origin: str) -> None:
    """Show the events of a stream, or of any topic: blocks unpacked, one event on a line.

    On each line: partition/offset, event time (in brackets: time of arrival), key, id, payload. What was erased is
    left out.
    """
    from connectors import arrow
    from tidemill.block import Place
    from tidemill_app import tailing
    from tidemill_app.erasing import erased_before
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        topics = platform.log.topics()
        spec = platform.catalogue().newest().get(name)
        topic = spec.topic if spec is not None else name
        if topic not in topics:
            import difflib

            near = difflib.get_close_matches(name, sorted({*topics, *(t.removeprefix("data.") for t in topics)}), 3)
            raise NotFoundError(
                f"no stream or topic {name!r}",
                fix=f"Did you mean {' or '.join(near)}?" if near else "tidemill stream list",
            )
        erased = erased_before(platform.log)
        for record in tailing.tail(platform.log, topic, origin=origin, last=last, follow=follow):
            for seen in tailing.show(record, arrow.decode):
                if Place(seen.topic, seen.partition, seen.offset, seen.row) in erased:
                    continue
                out.line(seen, tailing.one_line(seen))
