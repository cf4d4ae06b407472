"""`tidemill demo-graph`: learning on live graphs, on real flights and, where the data is, on who trusts whom."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from tidemill_app import config
from tidemill_app.cli import Output, command
from tidemill_app.commands.demo import start


@command("demo-graph")
@click.option("--limit", type=click.IntRange(1), default=70_000, show_default=True, help="Flights to replay.")
@click.option(
    "--rate", type=click.FloatRange(0), default=4000.0, show_default=True, help="Events per second; 0: no limit."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("TIDEMILL_DATA", "../shared/data")),
    help="Folder with bitcoin_otc (default: TIDEMILL_DATA, or ../shared/data); without it only flights are shown.",
)
@click.option("--report", type=click.Path(path_type=Path), default=Path("graph-report.html"), show_default=True)
@click.option("--fresh", is_flag=True, help="Remove this home's stack first, if it has one.")
def demo_graph(out: Output, limit: int, rate: float, data: Path, report: Path, fresh: bool) -> None:
    """Replay flights, and ratings, through a live stack: models learn on graphs as these grow, and answer."""
    from tidemill_app import graphs
    from tidemill_app.demo_graph import GraphDemo
    from tidemill_app.demo_graph_page import facts, page
    from tidemill_app.wiring import connected

    settings = config.load(out.home)
    begun = time.monotonic()
    start(out, settings, fresh)
    with connected(out) as platform, out.progress("reading the data") as tell:
        run = GraphDemo(platform, limit=limit, rate=rate, data=data, tell=tell)
        run.prepare()
        run.run()
        found = run.findings(time.monotonic() - begun, str(out.home or settings.home))
        tell("drawing the graphs")
        made = {job: graphs.graph_of(platform, job) for name, job in run.jobs.items() if name in run.scoring}
        found.seconds = time.monotonic() - begun
        graphs.save_page(report, page(found, made))
    told = facts(found)
    lines = "\n".join(f"{name:<52}{value}" for name, value in told.items())
    note = "" if run.trust else f"\nNo bitcoin_otc in {data}: only flights are shown (TIDEMILL_DATA names the folder)."
    out.answer(told | {"report": str(report.absolute())}, f"{lines}{note}\n\nReport: {report.absolute()}")
