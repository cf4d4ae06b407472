"""Dead letters: what lies in `dead.<job>`, and giving it to its stream once more.

*Replay.* The original record — payload, key and headers untouched — is appended to its origin topic and partition
again, with header `replay_of` naming the letter (`<dead topic>/<partition>/<offset>`). In the same transaction the
letter is entered into `replayed.<job>`, and letters entered there are passed over: replaying twice changes nothing. A
letter whose record was itself a replay has failed again, so it is passed over as well unless asked for (`again`). That
it was one the ledger says, which has the digest of what was replayed: any producer can write the header.

The event keeps its id. Where neither headers nor payload hold one, the id was the record's place in the log, so the
replay carries that place as `ce_id`. The rules of the stream hold as ever: what a job has stepped already it drops as
a duplicate, and an event that was *late* is later still, so it dies again unless the job now allows more lateness.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from streams.dead_letters import MARK, MARKS
from streams.erasures import Erasures
from tidemill.block import Place
from tidemill.cloudevents import ARROW
from tidemill.errors import NotFoundError
from tidemill.log import Log, Record, TopicSpec, Writer
from tidemill.stream import StreamSpec, label_stream
from tidemill.time import to_rfc3339
from tidemill_app.reading import read_all
from tidemill_app.tailing import payload, safe_text

REPLAY_OF = "replay_of"
_HISTORY = "history:"


class Letter(msgspec.Struct, frozen=True):
    """One dead letter. `topic`, `partition`, `offset` and `row` are its origin; `number` its own offset."""

    number: int
    topic: str
    partition: int
    offset: int
    row: int
    error: str
    message: str
    field: str
    time: str
    replay_of: str
    record: Record

    @property
    def name(self) -> str:
        """What the ledger knows it by."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"

    def shown(self) -> dict[str, Any]:
        """For people and `--json`: where it came from, what was wrong, the payload as safe text or JSON."""
        value, raw = payload(self.record.value)
        out = {name: getattr(self, name) for name in self.__struct_fields__ if name != "record"}
        out = {name: safe_text(v.encode()) if isinstance(v, str) else v for name, v in out.items()}
        out |= {
            "key": None if self.record.key is None else safe_text(self.record.key),
            "bytes": len(self.record.value or b""),
        }
        out["headers"] = {n: safe_text(v or b"") for n, v in _parted(self.record)[0]}
        return out | {"payload": value, "raw": raw}


class Totals(msgspec.Struct):
    """How many letters of one error class, of one origin topic."""

    error: str
    topic: str
    count: int
    replayed: int
    newest: str
    message: str


def letters(log: Log, job: str) -> Iterator[Letter]:
    """Every dead letter of a job, in order, but those whose event was erased. Raises `NotFoundError` where the job has
    no dead-letter topic."""
    topic = _topic(log, job)
    erased = Erasures()
    erased.read(log)
    made = (_letter(record) for record in read_all(log, topic))
    return (one for one in made if Place(one.topic, one.partition, one.offset, one.row) not in erased)


def _topic(log: Log, job: str) -> str:
    topic, topics = f"dead.{job}", log.topics()
    if topic not in topics:
        known = sorted(t.removeprefix("dead.") for t in topics if t.startswith("dead."))
        raise NotFoundError(
            f"job {job!r} has no dead letters",
            wanted=f"one of {', '.join(known)}" if known else "",
            fix="" if known else "A job's topic is made when it first starts.",
        )
    return topic


def totals(log: Log, job: str) -> list[Totals]:
    """The letters counted by error class and origin topic, most first."""
    done = ledger(log, job)
    counts: Counter[tuple[str, str]] = Counter()
    replayed: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], Letter] = {}
    for letter in letters(log, job):
        kind = (letter.error, letter.topic)
        counts[kind] += 1
        replayed[kind] += letter.name in done
        newest[kind] = letter
    return [
        Totals(*kind, count, replayed[kind], newest[kind].time, safe_text(newest[kind].message.encode()))
        for kind, count in counts.most_common()
    ]


def find(log: Log, job: str, number: int) -> Letter:
    """The letter at offset `number` of the dead-letter topic. Raises `NotFoundError`."""
    for letter in letters(log, job):
        if letter.number == number:
            return letter
    raise NotFoundError(f"no dead letter {number} of job {job!r}", fix=f"tidemill dead list {job} --all shows them.")


def ledger(log: Log, job: str) -> dict[str, bytes]:
    """The names of the letters that were replayed, and of each the entry: what its payload was."""
    topic = _ledger_topic(job)
    if topic not in log.topics():
        return {}
    return {(record.key or b"").decode(): record.value or b"" for record in read_all(log, topic)}


def _entry(letter: Letter) -> bytes:
    return msgspec.json.encode({"sha256": hashlib.sha256(letter.record.value or b"").hexdigest()})


def _is_replay(letter: Letter, ledgers: dict[str, dict[str, bytes]], read: Callable[[str], dict[str, bytes]]) -> bool:
    """Whether a replay put the letter's record there, of a letter of this job or of another."""
    job = letter.replay_of.partition("/")[0].removeprefix("dead.")
    if letter.replay_of and job not in ledgers:
        ledgers[job] = read(job)
    return bool(letter.replay_of) and ledgers[job].get(letter.replay_of) == _entry(letter)


class Replayed(msgspec.Struct):
    """What a replay did: letters given to their streams, and passed over as replayed before, as failed replays, because
    their bytes are gone, and because their origin is no declared stream's topic."""

    replayed: int = 0
    before: int = 0
    failed_again: int = 0
    gone: int = 0
    elsewhere: int = 0
    topics: dict[str, int] = {}


def replay(
    log: Log,
    job: str,
    streams: Mapping[str, StreamSpec],
    *,
    chosen: Callable[[Letter], bool] = lambda letter: True,
    again: bool = False,
    chunk: int = 500,
) -> Replayed:
    """Append the chosen letters' records to their origin once more; each letter at most once, ever. The origin is the
    topic of one of `streams` or of its labels, else the letter is passed over.

    Safe to break off and to run beside itself: ledger and replays are written in one transaction, and a second
    replayer fences the first. Raises `NotFoundError` where the job has no dead-letter topic.
    """
    _topic(log, job)
    ledger_topic = _ledger_topic(job)
    log.create(ledger_topic, TopicSpec(compacted=True))
    declared = [*streams.values(), *(label_stream(name) for name in streams if not name.startswith("labels."))]
    ids = {spec.topic: spec.id for spec in declared}
    topics = log.topics()
    out = Replayed()

    def read(other: str) -> dict[str, bytes]:
        return ledger(log, other) if _ledger_topic(other) in topics else {}

    writer = log.writer(f"tidemill.replay.{job}")
    try:
        done = ledger(log, job)  # after the writer was made: an earlier one can add nothing any more
        ledgers = {job: done}
        open = 0
        for letter in letters(log, job):
            if not chosen(letter):
                continue
            if letter.name in done:
                out.before += 1
            elif not again and _is_replay(letter, ledgers, read):
                out.failed_again += 1
            elif (target := _target(letter, streams)) not in topics or _is_gone(letter):
                out.gone += 1
            elif target not in ids:
                # A letter's headers are whoever's can write it: they lead to no topic of ours.
                out.elsewhere += 1
            else:
                if open == 0:
                    writer.begin()
                _send(writer, letter, target, ids, ledger_topic)
                open += 1
                out.replayed += 1
                out.topics[target] = out.topics.get(target, 0) + 1
                if open == chunk:
                    writer.commit()
                    open = 0
        if open:
            writer.commit()
    finally:
        writer.close()
    return out


def _send(writer: Writer, letter: Letter, target: str, ids: Mapping[str, str | None], ledger_topic: str) -> None:
    headers = [h for h in _parted(letter.record)[0] if h[0] != REPLAY_OF]
    arrow = ("content-type", ARROW.encode()) in headers
    if not arrow and target in ids and ids[target] is None and "ce_id" not in {name for name, _ in headers}:
        headers.append(("ce_id", f"{letter.topic}/{letter.partition}/{letter.offset}".encode()))
    headers.append((REPLAY_OF, letter.name.encode()))
    partition = letter.partition if target == letter.topic else -1
    writer.send(target, letter.record.value, key=letter.record.key, headers=headers, partition=partition)
    writer.send(ledger_topic, _entry(letter), key=letter.name.encode(), partition=0)


def _target(letter: Letter, streams: Mapping[str, StreamSpec]) -> str:
    """The topic a letter goes back to: its origin, or the stream's topic for a row of a history file."""
    if letter.topic.startswith(_HISTORY):
        spec = streams.get(letter.topic.removeprefix(_HISTORY))
        return spec.topic if spec else ""
    return letter.topic


def _is_gone(letter: Letter) -> bool:
    return letter.record.value is None and letter.error != "TombstoneError"


def _ledger_topic(job: str) -> str:
    return f"replayed.{job}"


def _letter(record: Record) -> Letter:
    marks = {name.removeprefix(MARK): value.decode("utf-8", "replace") for name, value in _parted(record)[1].items()}
    original = next((v.decode("utf-8", "replace") for n, v in record.headers if n == REPLAY_OF), "")
    return Letter(
        number=record.offset,
        topic=marks.get("topic", ""),
        partition=_number(marks.get("partition")),
        offset=_number(marks.get("offset")),
        row=_number(marks.get("row")),
        error=marks.get("error", "unknown"),
        message=marks.get("message", ""),
        field=marks.get("field", ""),
        time=marks.get("time") or to_rfc3339(record.timestamp),
        replay_of=original,
        record=record,
    )


def _parted(record: Record) -> tuple[list[tuple[str, bytes]], dict[str, bytes]]:
    """The headers of the event itself, and those that its letter added: of each name the last."""
    own: list[tuple[str, bytes]] = []
    marks: dict[str, bytes] = {}
    for name, value in reversed(record.headers):
        if name in MARKS and name not in marks:
            marks[name] = value or b""
        else:
            own.append((name, value))
    return own[::-1], marks


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
