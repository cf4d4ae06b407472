"""`tidemill serve` and `deploy`: the scoring endpoint, and models from elsewhere behind it."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill_app.cli import Output, command
from tidemill_app.wiring import connected


@command("serve")
@click.option(
    "--endpoint", "files", multiple=True, metavar="FILE.py[:FUNCTION]", help="A job file; default: every submitted job."
)
@click.option("--host", default=None, help="Address to listen on. [default: TIDEMILL_SERVE_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 0 takes a free one. [default: 8080]")
@click.option(
    "--api-key-file", type=str, default=None, metavar="FILE", help="Keys, one a line; or TIDEMILL_API_KEY_FILE."
)
@click.option("--tls-cert", type=str, default=None, metavar="PEM", help="Certificate; or TIDEMILL_TLS_CERTFILE.")
@click.option("--tls-key", type=str, default=None, metavar="PEM", help="Its key; or TIDEMILL_TLS_KEYFILE.")
@click.option("--redis/--no-redis", "keep_redis", default=True, help="Keep the features in Redis too. [default: yes]")
@click.option(
    "--measure/--no-measure",
    default=True,
    help="See that a job <endpoint>-served measures the answers as labels come for them. [default: yes]",
)
@click.option("--drain", type=float, default=1.0, show_default=True, help="Seconds to go on answering after SIGTERM.")
def serve(
    out: Output,
    files: tuple[str, ...],
    host: str | None,
    port: int | None,
    api_key_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    keep_redis: bool,
    measure: bool,
    drain: float,
) -> None:
    """Answer scoring requests over HTTP, following the log: also for jobs submitted or changed later, unless
    --endpoint names some. Off loopback an API key and TLS are required."""
    from serving.access import check_certificate, check_listening, read_keys
    from serving.server import listen, make, run, tune
    from tidemill_app import config
    from tidemill_app.alive import alive
    from tidemill_app.endpoints import of_files
    from tidemill_app.measuring import Measuring
    from tidemill_app.online_features import Keeper
    from tidemill_app.scoring import ScoringService

    settings = config.load(out.home)
    host = host or settings.serve_host
    port = settings.serve_port if port is None else port
    keys = read_keys(api_key_file) if api_key_file else settings.api_keys
    cert, private = tls_cert or settings.tls_certfile, tls_key or settings.tls_keyfile
    check_certificate(cert, private)
    check_listening(host, keys, bool(cert))
    with connected(out) as platform, alive(platform.home, "serve"):
        endpoints = of_files(files) if files else None
        sock = listen(host, port)
        keeper = Keeper(platform) if keep_redis else None
        measuring = Measuring(platform)
        service = ScoringService(platform, endpoints, keys, keeper.add if keeper else lambda job: None, measuring.add)
        server = make(service.door, cert=cert or None, key=private or None, drain=drain)
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if cert else 'http'}://{shown}:{sock.getsockname()[1]}"
        service.start()
        if measure:
            measuring.start()
        tune()
        try:
            names = ", ".join(service.scorers) or "none yet; models, and jobs submitted from now on"
            run(server, sock, lambda: out.line({"url": url, **service.summary()}, f"serving on {url} ({names})"))
        finally:
            if keeper is not None:
                keeper.close()
            measuring.close()
            service.close()


@command("keep-features")
@click.argument("jobs", nargs=-1)
def keep_features(out: Output, jobs: tuple[str, ...]) -> None:
    """Keep the feature tables of jobs in Redis, until told to stop. Without JOBS, names come on standard input."""
    from tidemill_app.online_features import keep

    with connected(out) as platform:
        keep(platform, jobs)


@command("deploy")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the model.")
@click.option("--version", default=None, help="Its version. [default: the next number]")
def deploy(out: Output, file: Path, name: str, version: str | None) -> None:
    """Publish an ONNX model: stored, signed, and served by every server that follows this log."""
    from tidemill_app.deploy import deploy as publish

    with connected(out) as platform:
        event = publish(platform, file, name, version)
    out.answer(event, f"{event.model}@{event.version} published ({event.version_digest[:16]})")
