"""The events of data sets, training runs and the gate that a candidate passes or does not."""

from __future__ import annotations

from typing import Any, Literal

from tidemill.event import Event


class DatasetPublished(Event, frozen=True, kw_only=True, tag="dataset.published.v1"):
    """A version of a data set lies in the artefact store: its manifest is the signed content `digest`. Topic
    `datasets`, keyed by name."""

    dataset: str
    version: str
    digest: str
    examples: int
    parent: str = ""


class ItemRetracted(Event, frozen=True, kw_only=True, tag="item.retracted.v1"):
    """Item `about` of stream `stream`, or only its label, is no longer to be learned from. Topic `datasets`."""

    stream: str
    about: str
    label_only: bool = False
    reason: str = ""


class RunChanged(Event, frozen=True, kw_only=True, tag="run.changed.v1"):
    """A training run began, went on after it was killed, ended, or failed. Topic `runs`, keyed by run.

    `config` is its whole configuration as plain data, `dataset` what it trains on (`NAME@VERSION`, or a topic that it
    tails), `model` what it makes."""

    run: str
    state: Literal["started", "resumed", "finished", "stopped", "failed"]
    model: str = ""
    dataset: str = ""
    config: dict[str, Any] = {}
    workers: int = 1
    step: int = 0
    reason: str = ""


class RunMeasured(Event, frozen=True, kw_only=True, tag="run.measured.v1"):
    """Figures of a run at a step: of training, of validation, and of the machine (`system.*`). Topic
    `metrics.<run>`."""

    run: str
    step: int
    epoch: int
    values: dict[str, float]


class RunLogged(Event, frozen=True, kw_only=True, tag="run.logged.v1"):
    """A line of a run's log. Topic `progress.<run>`."""

    run: str
    line: str
    level: str = "info"


class GateDecided(Event, frozen=True, kw_only=True, tag="gate.decided.v1"):
    """Whether a candidate may take the champion's place, and why. Topic `gates`, keyed by model.

    `checks` are what was looked at, each with its figures and whether it passed; `alias` is what the candidate became
    (`challenger`, `champion`, or empty where it was refused)."""

    model: str
    candidate: str
    champion: str = ""
    accepted: bool
    alias: str = ""
    reasons: list[str] = []
    checks: list[dict[str, Any]] = []
