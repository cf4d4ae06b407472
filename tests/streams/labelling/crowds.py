"""Events of labelling projects as a job reads them, and the real answers of four crowds."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemill.block import Block, column
from tidemill.order import Batch
from tidemill.stream import answer_stream
from tidemill.time import SECOND

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "crowd"
CROWDS = ("bluebirds", "faces", "products", "rte")
SPEC = answer_stream("birds")
START = 1_600_000_000 * SECOND
Event = dict[str, Any]


def schema(*classes: str, kind: str = "single", version: int = 1, into: dict[str, str] | None = None) -> Event:
    made = [{"id": c, "name": c, "into": (into or {}).get(c, "")} for c in classes]
    return {"kind": kind, "medium": "text", "version": version, "classes": made}


def project(*classes: str, overlap: tuple[int, int] = (3, 5), sure: float = 0.95, **settings: Any) -> Event:
    made = schema(*classes, **settings)
    return {"type": "project.changed.v1", "schema": made, "overlap": list(overlap), "sure": sure}


def answer(about: str, by: str, value: Any, **more: Any) -> Event:
    return {"type": "answer.given.v1", "about": about, "by": by, "value": value, "schema": 1, **more}


def withdrawn(about: str, by: str) -> Event:
    return {"type": "answer.withdrawn.v1", "about": about, "by": by}


def reviewed(about: str, value: Any) -> Event:
    return {"type": "label.reviewed.v1", "about": about, "by": "reviewer", "value": value}


ASKED: Event = {"type": "estimation.asked.v1", "by": "manager"}


def stamped(events: list[Event]) -> list[Event]:
    """The events with an id and, a second apart, a time each, where they have none."""
    return [{"id": f"e{i}", "time": START + i * SECOND, **event} for i, event in enumerate(events)]


def batch(events: list[Event], wake: int | None = None) -> Batch:
    """The events as they came, as an engine hands them over under `Arrival`."""
    rows = stamped(events)
    n = len(rows)
    columns: dict[str, Any] = {f.name: column([row.get(f.name) for row in rows], np.object_) for f in SPEC.fields}
    columns["time"] = np.array([row["time"] for row in rows], np.int64)
    for name in ("seconds", "cost", "sure"):
        columns[name] = column([row.get(name) for row in rows], np.float64)
    sources, zeros = column([SPEC.source] * n, np.object_), np.zeros(n, np.int32)
    block = Block(
        SPEC.name, SPEC.topic, columns["time"], columns["id"], sources, zeros, np.arange(n), zeros, columns
    )  # fmt: skip
    return Batch.of([block], wake)


def rows(effects: Any, output: str) -> list[Event]:
    """The rows of an output, in order."""
    out = []
    for part in effects.emit:
        if part.output == output:
            for i in range(len(part)):
                out.append({name: values[i] for name, values in part.columns.items()} | {"id": part.ids[i]})
    return out


def last(effects: Any, output: str = "estimated") -> dict[str, Any]:
    """The newest row of each item, but for its id."""
    return {row["about"]: {k: v for k, v in row.items() if k != "id"} for row in rows(effects, output)}


def labels(effects: Any) -> dict[str, Any]:
    """The label that stands of each settled item."""
    out: dict[str, Any] = {row["about"]: row["value"] for row in rows(effects, "settled")}
    out |= {row["about"]: row["value"] for row in rows(effects, "revised")}
    return {about: value for about, value in out.items() if value is not None}


def crowd(name: str) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Item, annotator and class of each answer, and the truth of items; the test is skipped where there are none."""
    if not FOLDER.is_dir():
        pytest.skip(f"no data at {FOLDER}: set TIDEMILL_DATA")
    with (FOLDER / f"{name}.answers.csv").open() as file:
        answers = [(r["task"], r["worker"], r["answer"]) for r in csv.DictReader(file)]
    with (FOLDER / f"{name}.truth.csv").open() as file:
        return answers, {r["task"]: r["truth"] for r in csv.DictReader(file)}


def accuracy(found: dict[str, Any], truth: dict[str, str]) -> float:
    return float(np.mean([found.get(item) == value for item, value in truth.items()]))
