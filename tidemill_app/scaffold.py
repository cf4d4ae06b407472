"""A stream and a job made from a CSV: a folder with a declaration and a job file that run as they are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from connectors.text import NULLS
from tidemill.errors import ConfigError, DeclarationError
from tidemill.stream import RECORD_TIME, Field, StreamSpec, check_name
from tidemill_app.infer import SAMPLE, infer
from tidemill_app.rows import Row, kind_of, read_rows

_LABELS = ("label", "target", "class", "outcome", "y", "is_fraud", "fraud", "churn")

_JOB = '''"""Learn {title} while it comes: every event is predicted first, then learned."""

from streams.classifier import online_classifier


def job():
    return online_classifier(
        name="{name}-{suffix}",
        stream="{name}",
        label={label},
        positive={positive},
        features=[
{features}
        ],
        version_every={every},
    )
'''


class Scaffold(NamedTuple):
    """What was made: the folder, its files, the declaration, notes, and the commands that go on from here."""

    folder: str
    files: tuple[str, ...]
    spec: StreamSpec
    label: str
    positive: Any
    features: tuple[str, ...]
    notes: tuple[str, ...]
    next: tuple[str, ...]


def scaffold(
    name: str,
    sample: str,
    *,
    folder: Path | None = None,
    label: str | None = None,
    positive: str | None = None,
    home: str | None = None,
    **roles: str | None,
) -> Scaffold:
    """Judge `sample` and write `stream.json` and `job.py` into `folder` (default: one called `name`).

    `label` names the field to predict and `positive` the value of it that is class 1; `roles` are time, id and key as
    `infer` takes them. The commands to go on with are about `home`, where one is named. Raises `ConfigError` where the
    folder holds something already or the label is not obvious, naming the choices.
    """
    check_name(name, "stream")
    folder = folder or Path(name)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError("the folder is not empty", where=str(folder), fix="Name another with --into.")
    text = kind_of(sample) in ("csv", "tsv")
    rows = list(islice(read_rows(sample), SAMPLE))
    given: dict[str, Any] = {k: v for k, v in roles.items() if v is not None}
    notes: tuple[str, ...] = ()
    try:
        made = infer(name, rows, text=text, **given)
    except DeclarationError as error:
        if "time" in given or "no field looks like" not in error.message:
            raise
        made = infer(name, rows, text=text, time=RECORD_TIME, **given)
        notes = ("no field looks like the event time: the time of arrival is taken",)
    notes += made.notes
    label = label or _label(name, made.spec, rows)
    if label not in {f.name for f in made.spec.fields}:
        raise ConfigError(
            f"no field {label!r} to predict", wanted=f"one of {', '.join(f.name for f in made.spec.fields)}"
        )
    fields = [f if f.name != label else _optional(f) for f in made.spec.fields]
    spec = msgspec.structs.replace(made.spec, fields=tuple(fields), label=label)
    value = _positive(spec.field(label), rows, positive)
    features = _features(spec)
    notes += (f"predicts whether {label!r} is {value!r}", *_left_out(spec, features))
    files = (folder / "stream.json", folder / "job.py")
    folder.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
    files[1].write_text(_job(name, label, value, features, len(rows)), encoding="utf-8")
    return Scaffold(
        str(folder), tuple(map(str, files)), spec, label, value, features, notes, _next(spec, files, sample, home)
    )


def _next(spec: StreamSpec, files: tuple[Path, Path], sample: str, home: str | None) -> tuple[str, ...]:
    sort = [] if spec.time == RECORD_TIME else ["--sort"]
    tidemill = ["tidemill", *([] if home is None else ["--home", home])]
    return (
        shlex.join([*tidemill, "stream", "create", spec.name, "--schema", str(files[0])]),
        shlex.join([*tidemill, "submit", str(files[1])]),
        shlex.join([*tidemill, "publish", spec.name, sample, *sort]),
    )


def _optional(field: Field) -> Field:
    """The label may be missing: such an event is predicted only."""
    return msgspec.structs.replace(field, nullable=True)


def _values(rows: Iterable[Row], name: str) -> list[Any]:
    """The distinct values of a field, in the order they come."""
    seen: dict[str, Any] = {}
    for row in rows:
        value = (row.data or {}).get(name)
        if value is not None and value not in NULLS and not isinstance(value, (dict, list)):
            seen.setdefault(repr(value), value)
    return list(seen.values())


def _label(name: str, spec: StreamSpec, rows: list[Row]) -> str:
    two = [f.name for f in spec.fields if f.name not in (spec.id, spec.time) and len(_values(rows, f.name)) == 2]
    named = [n for n in two if n.lower() in _LABELS]
    chosen = named if len(named) == 1 else two
    if len(chosen) == 1:
        return chosen[0]
    raise ConfigError(
        "which field is to be predicted?",
        where=f"stream {name}",
        wanted="a field of two values" + (f": {', '.join(chosen)}" if chosen else ""),
        fix=f"Say it: --label {chosen[0] if chosen else 'FIELD'}",
    )


def _positive(field: Field, rows: list[Row], given: str | None) -> Any:
    """The value of class 1, as the payload will hold it: the one given, else true, 1, or the last in order."""
    values = _values(rows, field.name)
    typed = {str(v): _typed(field, v) for v in values}
    if given is not None:
        if given not in typed:
            raise ConfigError(
                f"no row has this value of {field.name!r}", wanted=" or ".join(sorted(typed)[:10]), got=repr(given)
            )
        return typed[given]
    if len(values) != 2:
        raise ConfigError(
            f"{field.name!r} has {len(values)} values",
            wanted="two, or to be told which one is class 1",
            fix=f"Say it: --positive {next(iter(typed), 'VALUE')}",
        )
    return max(typed.values())


def _typed(field: Field, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if field.type == "bool":
        return value.strip().lower() == "true"
    return int(value) if field.type == "int" else float(value) if field.type == "float" else value


def _features(spec: StreamSpec) -> tuple[str, ...]:
    roles = (spec.id, spec.time, spec.label)
    features = tuple(
        f.name for f in spec.fields if f.type in ("int", "float", "bool") and not f.nullable and f.name not in roles
    )
    if not features:
        raise ConfigError("no field to learn from", where=f"stream {spec.name}", wanted="numbers that are in every row")
    return features


def _left_out(spec: StreamSpec, features: tuple[str, ...]) -> tuple[str, ...]:
    rest = [f.name for f in spec.fields if f.name not in (*features, spec.id, spec.time, spec.label)]
    return (f"not learned from, as they are no numbers or sometimes missing: {', '.join(rest)}",) if rest else ()


def _job(name: str, label: str, positive: Any, features: tuple[str, ...], rows: int) -> str:
    """The job file, at most 30 lines however many features; the sample itself gives some versions to serve."""
    per_line = -(-len(features) // 12)
    lines = [features[i : i + per_line] for i in range(0, len(features), per_line)]
    listed = "\n".join("            " + " ".join(f"{_literal(f)}," for f in line) for line in lines)
    suffix = re.sub("[^a-z0-9]+", "-", label.lower()).strip("-") or "label"
    return _JOB.format(
        title=f"{label} of stream {name}".replace('"', "'").replace("\\", "/"),
        name=name,
        suffix=suffix,
        label=_literal(label),
        positive=_literal(positive),
        features=listed,
        every=min(1_000, max(10, rows // 5)),
    )


def _literal(value: Any) -> str:
    """A Python literal; texts in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
