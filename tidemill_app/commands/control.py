"""`tidemill control`: the control server, and `control token create|list|revoke`: who may use it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click

from tidemill_app import config
from tidemill_app.cli import Output, command
from tidemill_app.home import Home
from tidemill_app.tables import table

if TYPE_CHECKING:
    from tidemill_app.tokens import Tokens


@command("control", cls=click.Group, invoke_without_command=True)
@click.option("--host", default=None, help="Address to listen on. [default: TIDEMILL_CONTROL_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port; 0 takes a free one. [default: 8090]")
@click.option("--tls-cert", default=None, metavar="PEM", help="Certificate; or TIDEMILL_TLS_CERTFILE.")
@click.option("--tls-key", default=None, metavar="PEM", help="Its key; or TIDEMILL_TLS_KEYFILE.")
def control(out: Output, host: str | None, port: int | None, tls_cert: str | None, tls_key: str | None) -> None:
    """Let others submit and run jobs over HTTP, by token. Off loopback TLS is required.

    Whoever has a token with scope `submit` can run code here, with the rights of this account.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    from serving.access import check_certificate, check_tls
    from serving.server import listen, make, run
    from tidemill_app.control import ControlDoor
    from tidemill_app.tokens import Tokens

    settings = config.load(out.home)
    host = host or settings.control_host
    port = settings.control_port if port is None else port
    cert, key = tls_cert or settings.tls_certfile, tls_key or settings.tls_keyfile
    check_certificate(cert, key)
    check_tls(host, bool(cert))
    home = Home(settings.home)
    home.create()
    names = [token.name for token in Tokens(home).all()]
    sock = listen(host, port)
    log = logging.getLogger("tidemill.control")
    log.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    door = ControlDoor(home)
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if cert else 'http'}://{shown}:{sock.getsockname()[1]}"
    known = f"tokens: {', '.join(names)}" if names else "no token yet: tidemill control token create NAME --scope read"
    try:
        run(
            make(door, cert=cert or None, key=key or None),
            sock,
            lambda: out.line({"url": url, "tokens": names}, f"control on {url} ({known})"),
        )
    finally:
        door.close()


@click.group("token")
def token() -> None:
    """Who may use the control server: create, list, revoke."""


@command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="read, submit, operate, or admin for all of them."
)
def create(out: Output, name: str, scopes: tuple[str, ...]) -> None:
    """Make a token and print it, this once: only its digest is kept. Scopes add up."""
    text = _tokens(out).create(name, list(scopes))
    out.answer({"name": name, "scopes": sorted(set(scopes)), "token": text}, text)


@command("list")
def list_tokens(out: Output) -> None:
    """The tokens there are, without what opens."""
    from tidemill.time import SECOND, to_rfc3339

    rows = [
        {"name": t.name, "scopes": t.scopes, "created": to_rfc3339(int(t.created * SECOND))} for t in _tokens(out).all()
    ]
    out.answer(
        rows, table(["name", "scopes", "created"], [[r["name"], ", ".join(r["scopes"]), r["created"]] for r in rows])
    )


@command("revoke")
@click.argument("name")
def revoke(out: Output, name: str) -> None:
    """Let a token in no longer; a running server heeds it at once."""
    _tokens(out).revoke(name)
    out.answer({"revoked": name}, f"{name} is not let in any more.")


def _tokens(out: Output) -> Tokens:
    from tidemill_app.tokens import Tokens

    return Tokens(Home(config.load(out.home).home))


for _command in (create, list_tokens, revoke):
    token.add_command(_command)
assert isinstance(control, click.Group)
control.add_command(token)
