"""What an engine keeps of a job between commits, and which job it fits."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

import msgspec

from streams.journal import Journal
from streams.pipeline import Saved
from streams.provenance import RunningHash
from tidemill.errors import IncompatibleError
from tidemill.job import Job
from tidemill.order import Arrival
from tidemill.time import show_span


class Snapshot(msgspec.Struct):
    """A job exactly as commit `sequence` left it. `erasures_at` is up to where erasures were heeded from then on.

    Of a job whose state cannot be saved `pipeline` is None: what is left says which job it was, and in which order it
    read.
    """

    fingerprint: dict[str, str]
    sequence: int
    positions: list[tuple[str, int, int]]
    starts: list[tuple[str, int, int]]
    hashes: list[tuple[str, int, RunningHash]]
    journal: Journal
    erasures_at: int
    pipeline: Saved | None


def fingerprint(job: Job[Any]) -> dict[str, str]:
    """What must be the same for a saved state to be taken up: by name, so that a difference can be named."""
    order = job.order
    policy = (
        f"arrival, dedupe {order.dedupe}" if isinstance(order, Arrival) else f"event_time, lateness {order.lateness}"
    )
    return {
        "version": str(job.version),
        "state": describe(job.state),
        "groups": str(job.groups),
        "order": f"{policy}, max_ahead {order.max_ahead}",
        "reads": ", ".join(
            f"{i.stream} by {i.key or 'its key'}{' after history' if i.history else ''}" for i in job.reads
        ),
    }


def check_fits(job: Job[Any], saved: dict[str, str]) -> None:
    """Raises `IncompatibleError`, naming what differs, where a state saved under `saved` is not `job`'s."""
    for name, now in fingerprint(job).items():
        if saved.get(name) != now:
            raise IncompatibleError(
                f"the job's {name} changed and its saved state does not fit",
                where=f"job {job.name}",
                wanted=_readable(saved.get(name, "none")),
                got=_readable(now),
                field=name,
                fix="Submit under a new name, or with --reset to learn again from the log.",
            )


def _readable(text: str) -> str:
    """What is kept in microseconds, as a person reads it."""
    return re.sub(r"\b(lateness|max_ahead) (\d+)", lambda found: f"{found[1]} {show_span(int(found[2]))}", text)


def describe(kind: Any) -> str:
    """The structure of a state's type as text: names, fields and their types, all the way down."""
    parts: dict[str, str] = {}
    whole = _describe(kind, parts)
    return "; ".join([whole, *parts.values()])


def _describe(kind: Any, parts: dict[str, str]) -> str:
    name = getattr(kind, "__qualname__", None) if isinstance(kind, type) else None
    fields = getattr(kind, "__struct_fields__", None) or tuple(getattr(kind, "__dataclass_fields__", ()))
    if name is not None and fields:
        if name not in parts:
            parts[name] = name
            hints = get_type_hints(kind)
            parts[name] = f"{name}({', '.join(f'{f}: {_describe(hints[f], parts)}' for f in fields)})"
        return str(name)
    arguments = [_describe(a, parts) for a in getattr(kind, "__args__", ()) or ()]
    origin = getattr(kind, "__origin__", kind)
    text = getattr(origin, "__qualname__", str(origin))
    return f"{text}[{', '.join(arguments)}]" if arguments else text
