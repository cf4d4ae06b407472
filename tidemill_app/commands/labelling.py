"""`tidemill labelling`: the labelling service, and its projects, items and people, from the command line."""

from __future__ import annotations

import contextlib
import logging
import sys

import click

from tidemill_app.cli import Output, command
from tidemill_app.commands.label_studio import label_studio
from tidemill_app.commands.labelling_project import (
    assign,
    export,
    figures,
    invite,
    items,
    members,
    project,
    restrict,
    revoke,
    schema,
    settings,
    token,
)


@click.group("labelling")
def labelling() -> None:
    """People label the items of a stream: serve, project, invite, members, items, schema, figures."""


@command("serve")
@click.option("--host", default=None, help="Address to listen on. [default: TIDEMILL_LABELLING_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 0 takes a free one. [default: 8070]")
@click.option("--tls-cert", default=None, metavar="PEM", help="Certificate; or TIDEMILL_TLS_CERTFILE.")
@click.option("--tls-key", default=None, metavar="PEM", help="Its key; or TIDEMILL_TLS_KEYFILE.")
@click.option(
    "--estimate-after",
    type=click.FloatRange(min=0.0, max=86_400.0),
    default=5.0,
    metavar="SECONDS",
    help="Silence after which a project's consensus is estimated exactly; 0: never. [default: 5]",
)
@click.option("--scoring", default="", metavar="URL", help="The scoring server whose live model gives pre-labels.")
@click.option("--scoring-key-file", default=None, metavar="FILE", help="The key that it wants.")
@click.option("--model", default="", help="The model to ask, of every project. [default: of the project's name]")
def serve(
    out: Output,
    host: str | None,
    port: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    estimate_after: float,
    scoring: str,
    scoring_key_file: str | None,
    model: str,
) -> None:
    """Hand out tasks and take answers over HTTP, by login. Off loopback TLS is required.

    Several may run at once, on this home or with a copy of its keys.
    """
    from serving.access import check_certificate, check_tls, read_keys
    from serving.labelling.door import LabellingDoor
    from serving.labelling.prelabels import PATIENCE, Prelabels
    from serving.server import listen, make, run
    from tidemill_app import config
    from tidemill_app.alive import alive
    from tidemill_app.labelling_service import labelling as opened
    from tidemill_app.live_prelabels import ScoringAsker
    from tidemill_app.wiring import when_connected

    known = config.load(out.home)
    host = host or known.labelling_host
    port = known.labelling_port if port is None else port
    cert, key = tls_cert or known.tls_certfile, tls_key or known.tls_keyfile
    check_certificate(cert, key)
    check_tls(host, bool(cert))
    scoring_key = read_keys(scoring_key_file, "--scoring-key-file")[0] if scoring_key_file else ""
    # What nobody waits for any more is to hold no thread up for the next that is asked.
    asker = ScoringAsker(scoring, key=scoring_key, model=model, seconds=PATIENCE) if scoring else None
    logging.getLogger("tidemill.labelling").addHandler(logging.StreamHandler(sys.stderr))
    with (
        when_connected(out) as platform,
        alive(platform.home, "labelling"),
        contextlib.closing(Prelabels(asker)) as prelabels,
        opened(platform, serving=True, quiet=estimate_after, prelabels=prelabels) as service,
    ):
        sock = listen(host, port)
        door = LabellingDoor(service, secure=bool(cert))
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if cert else 'http'}://{shown}:{sock.getsockname()[1]}"
        with service.book.all() as projects:
            names = [p.name for p in projects]
        try:
            run(
                make(door, cert=cert or None, key=key or None),
                sock,
                lambda: out.line(
                    {"url": url, "projects": names},
                    f"labelling on {url}, managing on {url}/manage ({', '.join(names) or 'no project yet'})",
                ),
            )
        finally:
            door.close()


_PROJECTS = (project, invite, token, revoke, members, restrict, items, assign, schema, settings, figures, export)
for _command in (serve, label_studio, *_PROJECTS):
    labelling.add_command(_command)
