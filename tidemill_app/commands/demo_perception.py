"""`tidemill demo-perception`: from a doubtful digit, over people's answers, to the corrected model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tidemill_app import config
from tidemill_app.cli import Output, command
from tidemill_app.commands.demo import start


@command("demo-perception")
@click.option("--budget", type=click.FloatRange(0.5), default=50.0, show_default=True, help="Money for answers.")
@click.option(
    "--pause", type=click.FloatRange(0), default=0.3, show_default=True, help="Seconds a simulated answer takes."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("TIDEMILL_DATA", "../shared/data")),
    help="Folder with crowd, by which annotators err (default: TIDEMILL_DATA, or ../shared/data).",
)
@click.option("--train/--no-train", default=True, help="Train networks too, where there is torch.  [default: train]")
@click.option("--report", type=click.Path(path_type=Path), default=Path("perception-report.html"), show_default=True)
@click.option("--fresh", is_flag=True, help="Remove this home's stack first, if it has one.")
def demo_perception(
    out: Output, budget: float, pause: float, data: Path, train: bool, report: Path, fresh: bool
) -> None:
    """Digits come on a stream; doubtful ones become tasks; people answer; the live model learns each label."""
    from tidemill_app.demo_graph import example
    from tidemill_app.demo_perception import EXAMPLE, GUEST, PerceptionDemo
    from tidemill_app.demo_perception_curve import by_chance, story
    from tidemill_app.demo_perception_page import facts, measured, page
    from tidemill_app.home import write_atomically
    from tidemill_app.job_file import load_job
    from tidemill_app.wiring import connected

    settings = config.load(out.home)
    start(out, settings, fresh)
    with connected(out) as platform, out.progress("reading the digits") as tell:
        run = PerceptionDemo(platform, budget=budget, data=data, pause=pause, train=train, tell=tell)
        run.prepare()
        found = run.run()
        tell("reading the log again; labelling at random beside")
        head, agree = load_job(example(EXAMPLE)), load_job(example(EXAMPLE), "agree")
        told = story(platform.log, head, run.digits, found.answers, found.seen)
        chance = by_chance(head, agree, run.digits, run.people, max(told.curve[-1].spent, run.spent))
        where = {"join": run.invitation, "code": run.codes[GUEST], "home": str(out.home or settings.home)}
        write_atomically(report, page(found, told, chance, run.people, run.digits, where).encode())
    figures = facts(found, told, chance)
    lines = "\n".join(f"{name:<44}{value}" for name, value in figures.items())
    join = f"A person can join as {GUEST}, in a browser: {where['join']}"
    answer = (
        figures
        | measured(found, told, chance)
        | {"report": str(report.absolute()), "join": where["join"], "code": where["code"]}
    )
    out.answer(answer, f"{lines}\n\n{join}\nReport: {report.absolute()}")
