"""`tidemill key show|trust|distrust`: whose code and models this home takes."""

from __future__ import annotations

import click

from tidemill_app import config
from tidemill_app.cli import Output, command
from tidemill_app.home import Home
from tidemill_app.tables import table


@click.group("key")
def key() -> None:
    """Whose code and models are taken: show, trust, distrust."""


@command("show")
def show(out: Output) -> None:
    """The home's own public key, and the keys it trusts besides."""
    from tidemill_app.trust import Trust

    home = Home(config.load(out.home).home)
    home.create()
    trust = Trust(home)
    own, others = trust.make(), trust.keys()
    rows = [[own, "this home's own"], *([key, name] for key, name in others.items())]
    out.answer({"own": own, "trusted": others}, table(["key", "name"], rows))


@command("trust")
@click.argument("public")
@click.option("--name", default="", help="Whose it is.")
def trust(out: Output, public: str, name: str) -> None:
    """Take code and models that the key PUBLIC (64 hexadecimal digits) has signed. A running `tidemill serve` takes up
    what it refused before; a job that was refused is started with `tidemill job start`."""
    from tidemill_app.trust import Trust

    home = Home(config.load(out.home).home)
    home.create()
    Trust(home).add(public, name)
    out.answer({"trusted": public, "name": name}, f"Code and models signed by {public} are taken from now on.")


@command("distrust")
@click.argument("public")
def distrust(out: Output, public: str) -> None:
    """Take what the key PUBLIC has signed no longer. What a service has loaded it keeps until it is started anew."""
    from tidemill_app.trust import Trust

    Trust(Home(config.load(out.home).home)).remove(public)
    out.answer({"distrusted": public}, f"Nothing signed by {public} is taken any more.")


for _command in (show, trust, distrust):
    key.add_command(_command)
