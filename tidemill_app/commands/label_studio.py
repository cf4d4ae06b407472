"""`tidemill labelling label-studio`: Label Studio's ML backend, before the live model and the projects' topics."""

from __future__ import annotations

import logging
import sys

import click

from tidemill_app.cli import Output, command


@command("label-studio")
@click.option("--project", default="", help="The project of an address that names none.")
@click.option("--scoring", default="", metavar="URL", help="The scoring server whose live model gives pre-labels.")
@click.option("--scoring-key-file", default=None, metavar="FILE", help="The key that it wants.")
@click.option("--model", default="", help="The model to ask. [default: of the project's name]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--api-key-file", default=None, metavar="FILE", help="Keys, one a line; or TIDEMILL_API_KEY_FILE.")
@click.option("--tls-cert", default=None, metavar="PEM", help="Certificate; or TIDEMILL_TLS_CERTFILE.")
@click.option("--tls-key", default=None, metavar="PEM", help="Its key; or TIDEMILL_TLS_KEYFILE.")
def label_studio(
    out: Output,
    project: str,
    scoring: str,
    scoring_key_file: str | None,
    model: str,
    host: str,
    port: int,
    api_key_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
) -> None:
    """Answer Label Studio's /predict, /setup, /webhook and /health. Off loopback an API key and TLS are required.

    In Label Studio, connect the model URL/PROJECT, with a key as the password of basic authentication.
    """
    from serving.access import check_certificate, check_listening, read_keys
    from serving.labelling.label_studio import LabelStudioDoor, NoModel
    from serving.labelling.prelabels import Asker
    from serving.server import listen, make, run
    from tidemill_app import config
    from tidemill_app.alive import alive
    from tidemill_app.labelling_service import labelling as opened
    from tidemill_app.live_prelabels import ScoringAsker
    from tidemill_app.wiring import when_connected

    known = config.load(out.home)
    keys = read_keys(api_key_file) if api_key_file else known.api_keys
    cert, private = tls_cert or known.tls_certfile, tls_key or known.tls_keyfile
    check_certificate(cert, private)
    check_listening(host, keys, bool(cert))
    key = read_keys(scoring_key_file, "--scoring-key-file")[0] if scoring_key_file else ""
    asker: Asker = ScoringAsker(scoring, key=key, model=model) if scoring else NoModel()
    logging.getLogger("tidemill.labelling").addHandler(logging.StreamHandler(sys.stderr))
    with when_connected(out) as platform, alive(platform.home, "label-studio"), opened(platform) as service:
        sock = listen(host, port)
        door = LabelStudioDoor(service, asker, keys=keys, default=project)
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if cert else 'http'}://{shown}:{sock.getsockname()[1]}"
        try:
            server = make(door, cert=cert or None, key=private or None)
            run(server, sock, lambda: out.line({"url": url}, f"Label Studio's backend on {url}/PROJECT"))
        finally:
            door.close()
