"""`tidemill new`: a stream and a job from a CSV of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill_app.cli import Output, command


@command("new")
@click.argument("name")
@click.option("--from", "sample", required=True, metavar="FILE", help="A CSV (or JSON Lines, Parquet) of your data.")
@click.option("--label", metavar="FIELD", help="The field to predict (default: where one is obvious).")
@click.option("--positive", metavar="VALUE", help="The value of it that is class 1.")
@click.option("--time", metavar="FIELD", help="The field that holds event time.")
@click.option("--id", metavar="FIELD", help="The field that holds the event's id.")
@click.option("--key", metavar="FIELD", help="The field that events are keyed by.")
@click.option("--into", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to (default: NAME).")
def new(
    out: Output, name: str, sample: str, label: str | None, positive: str | None, into: Path | None, **roles: str | None
) -> None:
    """Make a folder with a declared stream and a streaming job that learns from it."""
    from tidemill_app.scaffold import scaffold

    made = scaffold(name, sample, folder=into, label=label, positive=positive, home=out.home, **roles)
    lines = [f"Made {' and '.join(made.files)}", *(f"  {note}" for note in made.notes), "", "Go on with:"]
    out.answer(made._asdict(), "\n".join([*lines, *(f"  {step}" for step in made.next)]))
