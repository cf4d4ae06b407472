"""`tidemill run list|show|compare`: training runs, their figures, and two beside one another on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from tidemill.time import to_rfc3339
from tidemill_app.cli import Output, command
from tidemill_app.tables import table
from tidemill_app.wiring import connected


@click.group("run")
def run() -> None:
    """Training runs."""


@command("list")
def list_(out: Output) -> None:
    """List the runs: state, data, model."""
    from tidemill_app.run_table import runs

    with connected(out) as platform:
        found = runs(platform.log)
    rows: list[dict[str, Any]] = [
        {
            "run": name,
            "state": r.now.state,
            "step": r.now.step,
            "workers": r.now.workers,
            "dataset": r.now.dataset,
            "model": r.now.model,
            "began": r.began,
            "reason": r.now.reason,
        }
        for name, r in found.items()
    ]
    shown = [[r["run"], r["state"], r["step"] or "", r["dataset"], r["model"], to_rfc3339(r["began"])] for r in rows]
    head = ["run", "state", "step", "data", "model", "began"]
    out.answer(rows, table(head, shown) if rows else "No runs yet.")


@command("show")
@click.argument("name", metavar="RUN")
@click.option("--lines", default=10, show_default=True, help="Lines of its log, the last ones.")
def show(out: Output, name: str, lines: int) -> None:
    """One run: its configuration, its newest figures, and its log."""
    from tidemill_app import run_table

    with connected(out) as platform:
        found = run_table.find(platform.log, name)
        curves = run_table.curves(platform.log, name)
        said = run_table.lines(platform.log, name)[-lines:] if lines else []
    last = {figure: values[-1][1] for figure, values in curves.items()}
    facts: dict[str, Any] = {
        "run": name,
        "state": found.now.state,
        "step": found.now.step,
        "dataset": found.now.dataset,
        "model": found.now.model,
        "reason": found.now.reason,
        "config": found.config,
        "figures": last,
        "curves": curves,
        "log": [line.line for line in said],
    }
    text = [f"{name}: {found.now.state}" + (f", {found.now.reason}" if found.now.reason else "")]
    text += [f"  data   {found.now.dataset}", f"  model  {found.now.model}"]
    text += [f"  {figure:<24} {value:.6g}" for figure, value in run_table.folded(last).items()]
    text += [f"  {line.level}: {line.line}" for line in said]
    out.answer(facts, "\n".join(text))


@command("compare")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--page", type=click.Path(path_type=Path), help="Write a page with their curves and configurations.")
def compare(out: Output, runs: tuple[str, ...], page: Path | None) -> None:
    """Runs beside one another: what differs in their configurations, and their last figures."""
    from tidemill_app.run_page import compared, write
    from tidemill_app.run_table import folded

    with connected(out) as platform:
        facts = compared(platform.log, runs)
    if page is not None:
        write(facts, page)
    by_run = {r: folded({name: of[r] for name, of in facts.figures.items() if r in of}) for r in facts.runs}
    names = dict.fromkeys(name for of in by_run.values() for name in of)
    rows = [[name, *(_short(by_run[r].get(name)) for r in facts.runs)] for name in names]
    rows += [[name, *(_short(values.get(r)) for r in facts.runs)] for name, values in facts.differences.items()]
    plain = msgspec.to_builtins(facts) | {"page": str(page) if page else ""}
    out.answer(plain, table(["", *facts.runs], rows) + (f"\n\n{page}" if page else ""))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "" if value is None else str(value)


for _command in (list_, show, compare):
    run.add_command(_command)
