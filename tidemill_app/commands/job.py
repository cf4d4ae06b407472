"""`tidemill submit`, `jobs`, `job show|logs|stop|start|savepoint|remove`, `engines`: running streaming jobs."""

from __future__ import annotations

import time
from typing import Any

import click

from tidemill.time import to_rfc3339
from tidemill_app.cli import Output, command
from tidemill_app.tables import table
from tidemill_app.wiring import connected


@command("submit")
@click.argument("file", metavar="FILE[:FUNCTION]")
@click.option("--engine", default="local", show_default=True, help="Where it runs; see `tidemill engines`.")
@click.option("--include", multiple=True, metavar="GLOB", help="Files to pack beside the code that is imported.")
@click.option("--reset", is_flag=True, help="Forget the saved state of a stopped job of that name and learn again.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait until it runs; 0 does not wait.")
def submit(out: Output, file: str, engine: str, include: tuple[str, ...], reset: bool, wait: float) -> None:
    """Submit the streaming job in a Python file.

    Packed and signed are the file, what it imports from beside it, and what --include names; the answer lists it.
    """
    from tidemill_app.job_file import Target
    from tidemill_app.submission import submit as submit_job
    from tidemill_app.submission import wait_until

    with connected(out) as platform:
        wish, files = submit_job(platform, Target.parse(file), engine, include=include, reset=reset)
        status = wait_until(platform, wish, wait) if wait else {}
    out.answer(
        {
            "job": wish.job,
            "engine": wish.engine,
            "bundle": wish.bundle,
            "files": files,
            "state": status.get("state", "submitted"),
        },
        f"{wish.job}: {status.get('state', 'submitted')} on {wish.engine}. Packed: {', '.join(files)}.\n"
        f"See `tidemill job show {wish.job}` and `tidemill job logs {wish.job} -f`.",
    )


@command("jobs")
def jobs(out: Output) -> None:
    """List the jobs."""
    with connected(out) as platform:
        rows = [_summary(platform, name) for name in sorted(platform.jobs().jobs)]
    out.answer(
        rows,
        table(
            ["job", "state", "events/s", "lag", "stepped", "dead", "last commit", "reason"],
            [
                [
                    r["job"],
                    r["state"],
                    r.get("events_per_second", ""),
                    r.get("total_lag", ""),
                    r.get("stepped", ""),
                    r.get("dead", ""),
                    r.get("committed_at", ""),
                    r.get("reason", ""),
                ]
                for r in rows
            ],
        )
        if rows
        else "No jobs yet. Submit one: tidemill submit examples/flights/job.py",
    )


@click.group("job")
def job() -> None:
    """Look after one job."""


@command("show")
@click.argument("name")
def show(out: Output, name: str) -> None:
    """Everything known of a job: state, lag per partition, rate, checkpoints, counts, last error."""
    with connected(out) as platform:
        facts = _summary(platform, name)
    out.answer(facts, table(["", ""], [[k, v] for k, v in facts.items() if not isinstance(v, (dict, list)) or v]))


@command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True)
@click.pass_context
def logs(context: click.Context, out: Output, name: str, follow: bool, lines: int) -> None:
    """What a job's process wrote."""
    from tidemill_app.commands.stack import logs as part_logs

    with connected(out) as platform:
        platform.jobs().get(name)
    context.invoke(
        part_logs, name=f"job-{name}", follow=follow, lines=lines, home_=str(out.home or ""), json_=out.as_json
    )


@command("stop")
@click.argument("name")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait until it has stopped; 0 does not wait.")
def stop(out: Output, name: str, wait: float) -> None:
    """Stop a job: it commits, snapshots and ends. `job start` goes on from there."""
    _want(out, name, "stopped", "stopped", wait)


@command("start")
@click.argument("name")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait until it runs; 0 does not wait.")
def start(out: Output, name: str, wait: float) -> None:
    """Start a stopped or failed job where it left off."""
    _want(out, name, "running", "running", wait)


@command("savepoint")
@click.argument("name")
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the snapshot.",
)
def savepoint(out: Output, name: str, wait: float) -> None:
    """Have a running job commit and snapshot now (stop and start, so that the file is whole); prints the sequence."""
    from tidemill_app.submission import savepoint as save

    with connected(out) as platform:
        sequence = save(platform, name, wait)
    out.answer({"job": name, "checkpoint_sequence": sequence}, f"{name}: snapshot {sequence} taken; running again.")


@command("remove")
@click.argument("name")
@click.option("--purge", is_flag=True, help="Delete the topics that are its own, too; they are named first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(out: Output, name: str, purge: bool, yes: bool) -> None:
    """Remove a stopped job: its snapshots, its log and its entry here.

    Its topics stay; --purge deletes those that are its own (metrics, features, dead letters, progress). Its predictions
    and its model versions stay in any case, and a running `tidemill serve` goes on answering until it is started anew.
    """
    from tidemill_app.removing import plan
    from tidemill_app.removing import remove as remove_job

    with connected(out) as platform:
        what = plan(platform, name)
        if purge and what.own and not yes and not out.as_json:
            click.echo("\n".join(f"  {topic}" for topic in what.own), err=True)
            click.confirm("Delete these topics, and all that is in them, for good?", abort=True, err=True)
        remove_job(platform, what, purge=purge)
    deleted, stay = (what.own, what.kept) if purge else ([], [*what.own, *what.kept])
    lines = [f"{name}: removed"]
    lines += [f"deleted: {', '.join(deleted)}"] if deleted else []
    lines += [f"still there: {', '.join(stay)}"] if stay else []
    out.answer({"job": name, "deleted": deleted, "kept": stay}, "\n".join(lines))


@command("engines")
def engines(out: Output) -> None:
    """What each engine provides."""
    from tidemill.job import NEEDS
    from tidemill_app.run_job import engines as all_engines

    there = all_engines()
    rows = [[need, *("yes" if need in e.provides else "no" for e in there.values()), NEEDS[need]] for need in NEEDS]
    out.answer({n: sorted(e.provides) for n, e in there.items()}, table(["need", *there, "meaning"], rows))


def _want(out: Output, name: str, wanted: str, state: str, wait: float) -> None:
    from tidemill_app.submission import set_wanted

    with connected(out) as platform:
        set_wanted(platform, name, wanted, wait)
    state = state if wait else f"to be {state}"
    out.answer({"job": name, "state": state}, f"{name}: {state}")


def _summary(platform: Any, name: str) -> dict[str, Any]:
    from tidemill_app.job_table import JobFiles

    wish = platform.jobs().get(name)
    status = JobFiles(platform.home, name).read_status()
    # A status file outlives its process: what is not running reports nothing now.
    state = status.get("state", "starting") if wish.wanted == "running" else wish.wanted
    facts: dict[str, Any] = {"job": name, "state": state, "engine": wish.engine, "file": wish.file}
    facts |= {k: v for k, v in status.items() if k not in ("job", "state")}
    lag = status.get("lag") or {}
    facts["total_lag"] = sum(v for v in lag.values() if v)
    for key, name_at in (("last_commit", "committed_at"), ("last_checkpoint", "checkpoint_at")):
        if status.get(key):
            facts[name_at] = to_rfc3339(status[key])
    if wish.wanted == "running" and status.get("reported", 0) and time.time() - status["reported"] > 10:
        facts["state"] = "not reporting"
    facts["reason"] = wish.reason
    facts["bundle"] = wish.bundle
    return facts


for _command in (show, logs, stop, start, savepoint, remove):
    job.add_command(_command)
