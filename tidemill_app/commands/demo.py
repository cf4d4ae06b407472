"""`tidemill demo`: the whole thread on real flights, on a live page, with a report at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidemill_app import config
from tidemill_app.cli import Output, command

if TYPE_CHECKING:
    from tidemill_app.demo import Watch
    from tidemill_app.wiring import Platform


def start(out: Output, settings: config.Settings, fresh: bool) -> None:
    """Bring the stack of a demo up, without what was there before where it is to be `fresh`."""
    from tidemill_app.stack import lifecycle

    with out.progress("starting the stack") as tell:
        if fresh:
            lifecycle.down(settings, True, tell)
        lifecycle.up(settings, tell)


@command("demo")
@click.option("--limit", type=click.IntRange(0), default=0, help="Flights to replay; 0 for the whole year.")
@click.option(
    "--rate", type=click.FloatRange(0), default=8000.0, show_default=True, help="Events per second; 0: no limit."
)
@click.option("--compare", type=click.IntRange(0), default=60_000, show_default=True, help="Flights River learns too.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@click.option("--fresh", is_flag=True, help="Remove this home's stack first, if it has one.")
def demo(out: Output, limit: int, rate: float, compare: int, report: Path, fresh: bool) -> None:
    """Replay a year of flights through a live stack: a model learns from Kafka and answers scoring requests."""
    from tidemill_app.demo import Demo
    from tidemill_app.demo_report import findings, summary
    from tidemill_app.report import write
    from tidemill_app.wiring import connected

    settings = config.load(out.home)
    begun = time.monotonic()
    start(out, settings, fresh)
    with connected(out) as platform:
        with out.progress("reading the flights") as tell:
            run = Demo(platform, limit=limit, rate=rate, tell=tell)
            watch = run.prepare()
        with page(out) as draw:
            run.run(watch, draw)
        compared = _compare(out, platform, run, compare)
        found = findings(platform, watch, compared, time.monotonic() - begun, str(out.home or settings.home))
        write(found, report)
        facts = summary(watch, compared, time.monotonic() - begun)
        steps = "\n".join(f"  {step}" for step in found.next_steps)
        lines = "\n".join(f"{name:<44}{value}" for name, value in found.facts.items())
        out.answer(
            facts | {"report": str(report.absolute()), "url": watch.url},
            f"{lines}\n\nReport: {report.absolute()}\nThe stack is still up. Go on:\n{steps}",
        )


def _compare(out: Output, platform: Platform, run: Any, limit: int) -> Any:
    from tidemill_app.demo import ENDPOINT, JOB, job_file
    from tidemill_app.job_file import load_job
    from tidemill_app.models import versions
    from tidemill_app.river_figure import compare

    endpoint = load_job(job_file()).endpoint
    found = versions(platform, None)
    if not limit or endpoint is None or not found:
        return None
    learning_rate = found[-1]["params"]["lr"]
    with out.progress(f"River learns the first {limit:,} flights, for comparison"):
        names = endpoint.feature_names
        return compare(platform.log, f"predictions.{JOB}", f"labels.{ENDPOINT}", names, limit=limit, lr=learning_rate)


class page:
    """The live page on a terminal; a line now and then elsewhere, and nothing with `--json`."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._live: Any = None
        self._said = 0.0

    def __enter__(self) -> Any:
        if self._out.interactive:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        return self.draw

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def draw(self, watch: Watch) -> None:
        """Show the watch as it is now."""
        from tidemill_app.demo_report import live_rows, live_table

        if self._live is not None:
            self._live.update(live_table(watch))
        elif not self._out.as_json and time.monotonic() - self._said > 10.0:
            self._said = time.monotonic()
            shown = {name: value for name, value in live_rows(watch) if value}
            click.echo("  ".join(f"{n}: {v}" for n, v in list(shown.items())[:6]), err=True)
