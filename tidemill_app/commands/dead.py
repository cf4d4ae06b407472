"""`tidemill dead list|show|replay`: events that a job could not use."""

from __future__ import annotations

from typing import Any

import click

from tidemill_app.cli import Output, command
from tidemill_app.tables import table


@click.group("dead")
def dead() -> None:
    """Dead letters: events that a job could not use, and why."""


@command("list")
@click.argument("job")
@click.option("--all", "every", is_flag=True, help="Each letter, not only the counts.")
@click.option("--error", metavar="CLASS", help="Only those of this error class, as LateError.")
def list_(out: Output, job: str, every: bool, error: str | None) -> None:
    """Count a job's dead letters by error class."""
    from tidemill_app import dead as letters
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        if every:
            for letter in letters.letters(platform.log, job):
                if error in (None, letter.error):
                    shown = letter.shown()
                    out.line(shown, "{number}  {time}  {topic}/{partition}/{offset}.{row}  {message}".format(**shown))
            return
        totals = [t for t in letters.totals(platform.log, job) if error in (None, t.error)]
    rows = [[t.error, t.topic, t.count, t.replayed, t.newest, t.message[:80]] for t in totals]
    out.answer(
        totals,
        table(["error", "origin", "count", "replayed", "newest", "for example"], rows) if rows else "No dead letters.",
    )


@command("show")
@click.argument("job")
@click.argument("number", type=int)
def show(out: Output, job: str, number: int) -> None:
    """One letter (NUMBER as `dead list --all` shows it): where it came from, what was wrong, its payload."""
    import msgspec

    from tidemill_app import dead as letters
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        shown = letters.find(platform.log, job, number).shown()
    out.answer(
        shown, lambda: _letter(shown, msgspec.json.format(msgspec.json.encode(shown["payload"]), indent=2).decode())
    )


@command("replay")
@click.argument("job")
@click.option("--error", metavar="CLASS", help="Only those of this error class.")
@click.option("--number", type=int, help="Only this letter.")
@click.option("--again", is_flag=True, help="Also letters of records that were replayed before and failed again.")
def replay(out: Output, job: str, error: str | None, number: int | None, again: bool) -> None:
    """Append the letters' original records to their streams once more, after you mended what was wrong.

    Each letter is replayed once, ever: running this twice changes nothing. Events keep their ids and times, so what a
    job has seen it drops, and what was late stays late unless the job now allows it.
    """
    from tidemill_app import dead as letters
    from tidemill_app.wiring import connected

    def chosen(letter: letters.Letter) -> bool:
        return error in (None, letter.error) and number in (None, letter.number)

    with connected(out) as platform:
        if number is not None:
            letters.find(platform.log, job, number)
        streams = platform.catalogue().newest()
        done = letters.replay(platform.log, job, streams, chosen=chosen, again=again)
    lines = [f"{done.replayed} replayed" + "".join(f", {n} to {topic}" for topic, n in sorted(done.topics.items()))]
    for count, why in (
        (done.before, "replayed before"),
        (done.failed_again, "failed again after a replay (--again replays them)"),
        (done.gone, "whose record or topic is gone"),
        (done.elsewhere, "from a topic that is no declared stream's"),
    ):
        if count:
            lines.append(f"{count} passed over: {why}")
    out.answer(done, "\n".join(lines))


def _letter(shown: dict[str, Any], payload: str) -> str:
    facts = {
        "origin": f"{shown['topic']}/{shown['partition']}/{shown['offset']}.{shown['row']}",
        "error": f"{shown['error']}: {shown['message']}",
        "field": shown["field"],
        "time": shown["time"],
        "replay of": shown["replay_of"],
        "key": shown["key"],
        "bytes": shown["bytes"],
        **{f"header {name}": value for name, value in shown["headers"].items()},
    }
    rows = [[name, value] for name, value in facts.items() if value not in (None, "")]
    return table(["", ""], rows) + "\n" + (str(shown["payload"]) if shown["raw"] else payload)


for _command in (list_, show, replay):
    dead.add_command(_command)
