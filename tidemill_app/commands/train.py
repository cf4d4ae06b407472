"""`tidemill train RUN.py`: train a model on a data set, or on labels as they come."""

from __future__ import annotations

import click
import msgspec

from tidemill_app.cli import Output, command
from tidemill_app.training_run import RESTARTS
from tidemill_app.wiring import connected


@command("train")
@click.argument("run", metavar="RUN.py[:FUNCTION]")
@click.option("--workers", default=1, show_default=True, help="Processes that train together, on this machine.")
@click.option("--resume", is_flag=True, help="Go on with the newest run of that name, from its last checkpoint.")
@click.option("--restarts", default=RESTARTS, show_default=True, help="How often killed workers are begun anew.")
@click.option("--include", multiple=True, metavar="GLOB", help="Further files beside the run's to pack.")
def train(out: Output, run: str, workers: int, resume: bool, restarts: int, include: tuple[str, ...]) -> None:
    """Train as the function in RUN.py says, and publish the weights. Ctrl-C commits a checkpoint and stops; --resume
    goes on from it, and from a kill."""
    from tidemill_app.job_file import Target
    from tidemill_app.run_table import folded
    from tidemill_app.training_run import train as begin

    target = Target.parse(run)
    with connected(out) as platform:
        spec, ended = begin(
            platform,
            target,
            workers=workers,
            resume=resume,
            restarts=restarts,
            include=include,
            shown=out.interactive,
        )
    figures = ", ".join(f"{name} {value:.4f}" for name, value in sorted(folded(ended.figures).items()))
    text = f"run {spec.run}: {ended.state} at step {ended.step}" + (f"; {figures}" if figures else "")
    if ended.model:
        text += f"\npublished {ended.model}@{ended.version}, content {ended.content_digest[:16]}"
    if ended.state == "stopped":
        text += "\nTo go on: the same command with --resume"
    out.answer({"run": spec.run, "dataset": spec.dataset} | msgspec.structs.asdict(ended), text)
