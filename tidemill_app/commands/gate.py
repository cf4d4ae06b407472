"""`tidemill gate NAME[@VERSION]`: judge trained weights against the champion; they go live where they are better."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from tidemill_app.cli import Output, command
from tidemill_app.tables import table
from tidemill_app.wiring import connected


@command("gate")
@click.argument("weights", metavar="NAME[@VERSION]")
@click.option("--model", default="", help="The name that is served. [default: that of the weights, without .weights]")
@click.option("--test", default="", metavar="NAME@VERSION", help="Data set to judge by. [default: the one trained on]")
@click.option("--split", default="test", show_default=True, help="Its part.")
@click.option("--newest/--no-newest", default=True, help="Judge by labels given since, too. [default: yes]")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--promote/--hold", default=True, help="Let what passes go live, or stay challenger. [default: promote]")
def gate(out: Output, weights: str, **asked: Any) -> None:
    """Export trained weights, hold them against the champion, and publish them where they are significantly better.
    Exit code 1 where they are refused; the reasons stand in topic `gates`."""
    from tidemill_app.run_file import need_torch

    need_torch()
    from tidemill_app.gating import Asked
    from tidemill_app.gating import gate as judge

    with connected(out) as platform:
        decided = judge(platform, weights, Asked(**asked))
    out.answer(msgspec.to_builtins(decided), said(decided))
    if not decided.accepted:
        sys.exit(1)


def said(decided: Any) -> str:
    """The decision for a person."""
    verdict = f"accepted, {decided.alias}" if decided.accepted else "REFUSED"
    against = decided.champion or "no champion"
    columns = ["check", "passed", "items", "learned", "candidate", "champion", "p"]
    rows = [
        ["yes" if check.get(c) is True else "no" if check.get(c) is False else _figure(check.get(c)) for c in columns]
        for check in decided.checks
    ]
    lines = [f"{decided.candidate} against {against}: {verdict}", *(f"  {reason}" for reason in decided.reasons)]
    return "\n".join([*lines, *([table(columns, rows)] if rows else [])])


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
