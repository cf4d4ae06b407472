"""`tidemill submit`, `jobs`, `job show|logs|stop|start|savepoint|rescale|remove`, `engines`: running streaming jobs.

Where `TIDEMILL_CONTROL` names a control server, it is asked, and nothing else is needed here."""

from __future__ import annotations

import click

from tidemill_app.cli import Output, command
from tidemill_app.jobs import (
    MAX_LINES,
    MAX_WAIT,
    Outcome,
    Remove,
    Rescale,
    Savepoint,
    Start,
    Stop,
    client_of,
    jobs_of,
    options_taken,
    provided,
)
from tidemill_app.tables import table

_WAIT = click.FloatRange(0, MAX_WAIT)


@command("submit")
@click.argument("file", metavar="FILE[:FUNCTION]")
@click.option("--engine", default="local", show_default=True, help="Where it runs; see `tidemill engines`.")
@click.option("--include", multiple=True, metavar="GLOB", help="Files to pack beside the code that is imported.")
@click.option(
    "--option", "given", multiple=True, metavar="NAME=VALUE", help="A setting of the engine; see `tidemill engines`."
)
@click.option("--parallelism", type=click.IntRange(1, 32_768), help="How many tasks share the work (flink).")
@click.option("--reset", is_flag=True, help="Forget the saved state of a stopped job of that name and learn again.")
@click.option(
    "--wait", type=_WAIT, default=60.0, show_default=True, help="Seconds to wait until it runs; 0 does not wait."
)
def submit(
    out: Output,
    file: str,
    engine: str,
    include: tuple[str, ...],
    given: tuple[str, ...],
    parallelism: int | None,
    reset: bool,
    wait: float,
) -> None:
    """Submit the streaming job in a Python file.

    Packed and signed are the file, what it imports from beside it, and what --include names; the answer lists it.
    """
    from tidemill_app.job_file import Target

    target = Target.parse(file)
    options = _options(given) | ({} if parallelism is None else {"parallelism": str(parallelism)})
    with jobs_of(out) as jobs:
        done = jobs.submit(target, engine, include=include, options=options, reset=reset, wait=wait)
    out.answer(
        done,
        f"{done.job}: {done.state} on {done.engine}. Packed: {', '.join(done.files)}.\n"
        + "".join(f"Note: {note}\n" for note in done.notes)
        + f"See `tidemill job show {done.job}` and `tidemill job logs {done.job} -f`.",
    )


def _options(given: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--option")
        options[name.strip()] = value.strip()
    return options


@command("jobs")
def jobs(out: Output) -> None:
    """List the jobs."""
    with jobs_of(out) as there:
        rows = there.all()
    out.answer(
        rows,
        table(
            ["job", "state", "events/s", "lag", "stepped", "dead", "last commit", "note"],
            [
                [
                    r["job"],
                    r["state"],
                    r.get("events_per_second", ""),
                    r.get("total_lag", ""),
                    r.get("stepped", ""),
                    r.get("dead", ""),
                    r.get("committed_at", ""),
                    r["reason"] or ("rebuilt by replay" if r.get("rebuilt_by_replay") else ""),
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
    with jobs_of(out) as jobs:
        facts = jobs.show(name)
    out.answer(facts, table(["", ""], [[k, v] for k, v in facts.items() if not isinstance(v, (dict, list)) or v]))


@command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines.")
@click.option("-n", "--lines", type=click.IntRange(0, MAX_LINES), default=50, show_default=True)
def logs(out: Output, name: str, follow: bool, lines: int) -> None:
    """What a job's process wrote."""
    with jobs_of(out) as jobs:
        for line in jobs.logs(name, lines, follow):
            out.line({"part": f"job-{name}", "line": line}, line)


@command("stop")
@click.argument("name")
@click.option(
    "--wait", type=_WAIT, default=60.0, show_default=True, help="Seconds to wait until it has stopped; 0 does not wait."
)
@click.option("--savepoint", is_flag=True, help="Print where the savepoint is (flink).")
def stop(out: Output, name: str, wait: float, savepoint: bool) -> None:
    """Stop a job: it commits, snapshots and ends. `job start` goes on from there."""
    with jobs_of(out) as jobs:
        _tell(out, jobs.stop(name, Stop(wait, savepoint)))


@command("start")
@click.argument("name")
@click.option(
    "--wait", type=_WAIT, default=60.0, show_default=True, help="Seconds to wait until it runs; 0 does not wait."
)
@click.option("--from-savepoint", metavar="PATH", default="", help="Go on at this savepoint instead (flink).")
def start(out: Output, name: str, wait: float, from_savepoint: str) -> None:
    """Start a stopped or failed job where it left off.

    With --from-savepoint what the job gave since then comes a second time, as it works on from there.
    """
    with jobs_of(out) as jobs:
        _tell(out, jobs.start(name, Start(wait, from_savepoint)))


@command("savepoint")
@click.argument("name")
@click.option(
    "--wait",
    type=click.FloatRange(0, MAX_WAIT, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the snapshot.",
)
def savepoint(out: Output, name: str, wait: float) -> None:
    """Have a running job commit and snapshot now (stop and start, so that the file is whole); prints the sequence."""
    with jobs_of(out) as jobs:
        done = jobs.savepoint(name, Savepoint(wait))
    out.answer(done, f"{name}: snapshot {done.checkpoint_sequence} taken; running again.")


@command("rescale")
@click.argument("name")
@click.argument("parallelism", type=click.IntRange(1, 32_768))
@click.option("--wait", type=_WAIT, default=60.0, show_default=True, help="Seconds to wait until it runs; 0 does not.")
def rescale(out: Output, name: str, parallelism: int, wait: float) -> None:
    """Have a job go on at another parallelism, where its engine can."""
    with jobs_of(out) as jobs:
        _tell(out, jobs.rescale(name, Rescale(parallelism, wait)))


@command("remove")
@click.argument("name")
@click.option("--purge", is_flag=True, help="Delete the topics that are its own, too; they are named first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(out: Output, name: str, purge: bool, yes: bool) -> None:
    """Remove a stopped job: its snapshots, its log and its entry here.

    Its topics stay; --purge deletes those that are its own (metrics, features, dead letters, progress). Its predictions
    and its model versions stay in any case, and a running `tidemill serve` goes on answering until it is started anew.
    """
    with jobs_of(out) as jobs:
        if purge and not yes and (topics := jobs.remove(name, Remove(purge=True, dry=True)).deleted):
            shown = "".join(f"  {topic}\n" for topic in topics)
            out.confirm(shown + "Delete these topics, and all that is in them, for good?")
        done = jobs.remove(name, Remove(purge))
    lines = [f"{name}: removed"]
    lines += [f"deleted: {', '.join(done.deleted)}"] if done.deleted else []
    lines += [f"still there: {', '.join(done.kept)}"] if done.kept else []
    out.answer(done, "\n".join(lines))


@command("engines")
def engines(out: Output) -> None:
    """What each engine provides, and the options that `submit --option` takes for it."""
    from tidemill.job import NEEDS

    client = client_of(out)
    options = ""
    if client is None:
        there = provided()
        options = "".join(
            f"\nOptions of {name}: {', '.join(taken)}" for name, taken in options_taken().items() if taken
        )
    else:
        with client:
            there = client.engines()
    rows = [[need, *("yes" if need in does else "no" for does in there.values()), NEEDS[need]] for need in NEEDS]
    out.answer(there, table(["need", *there, "meaning"], rows) + options)


def _tell(out: Output, done: Outcome) -> None:
    out.answer(done, f"{done.job}: {done.state}" + (f"\nSavepoint: {done.savepoint}" if done.savepoint else ""))


for _command in (show, logs, stop, start, savepoint, rescale, remove):
    job.add_command(_command)
