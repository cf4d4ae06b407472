"""A training run's configuration: typed, immutable, checked field by field, and plain data when written down.

A run is a Python file with a function that returns a `Training`, as a job file's returns a `Job`. What is wrong in it
is refused before anything runs, with the field named.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, Literal, get_type_hints

import msgspec

from tidemill.errors import ConfigError, UserError
from tidemill.state import content_digest
from tidemill.stream import check_name


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Checks every field's type and range when it is made, as decoding would."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in self.__struct_fields__:
            if name != "task":
                self._check_type(name, hints[name])
        self.check()

    def _check_type(self, name: str, kind: Any) -> None:
        value = getattr(self, name)
        try:
            msgspec.convert(value, kind, from_attributes=True)
        except msgspec.ValidationError as error:
            self.refuse(name, str(error).removeprefix("Expected ").partition(",")[0], repr(value)[:80])

    def check(self) -> None:
        """Raises `ConfigError` for values that cannot be."""

    def refuse(self, field: str, wanted: str, got: str) -> None:
        """Raises `ConfigError` naming `field`."""
        raise ConfigError(
            f"{field} cannot be this",
            where=f"training configuration, {type(self).__name__}",
            wanted=wanted,
            got=got,
            field=field,
        )

    def need(self, field: str, holds: bool, wanted: str) -> None:
        """Raises `ConfigError` naming `field` unless what is wanted of it `holds`."""
        if not holds:
            self.refuse(field, wanted, repr(getattr(self, field)))


class Optimiser(_Checked, frozen=True, kw_only=True):
    """SGD with momentum (Nesterov where `nesterov`), Adam, or AdamW, at learning rate `rate`, with weight decay."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    rate: float = 1e-3
    decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)

    def check(self) -> None:
        self.need("rate", self.rate > 0, "above 0")
        self.need("decay", self.decay >= 0, "0 or more")
        self.need("momentum", 0 <= self.momentum < 1, "from 0 to below 1")
        self.need("betas", all(0 <= b < 1 for b in self.betas), "from 0 to below 1 each")


class Schedule(_Checked, frozen=True, kw_only=True):
    """What the learning rate is multiplied by at a step (`training.schedule.factor`): a linear `warm_up` over so many
    steps, then `constant`, `cosine` down to `floor` at the last step, or `step`: times `gamma` every `every` steps."""

    kind: Literal["constant", "cosine", "step"] = "constant"
    warm_up: int = 0
    floor: float = 0.0
    every: int = 0
    gamma: float = 0.1

    def check(self) -> None:
        self.need("warm_up", self.warm_up >= 0, "0 or more steps")
        self.need("floor", 0 <= self.floor <= 1, "from 0 to 1")
        self.need("gamma", self.gamma > 0, "above 0")
        self.need("every", self.every > 0 or self.kind != "step", "1 or more steps, for a step schedule")


class Dataset(_Checked, frozen=True, kw_only=True, tag="dataset"):
    """Batch mode: a version of a data set (`NAME@VERSION`), `epochs` times, each in an order of its own.

    `train` is the split that is learned, `test` the one that the run is measured on (empty: none)."""

    dataset: str
    epochs: int = 1
    train: str = "train"
    test: str = "valid"

    def check(self) -> None:
        self.need("dataset", bool(self.dataset.partition("@")[0]), "NAME or NAME@VERSION")
        self.need("epochs", self.epochs >= 1, "1 or more")
        self.need("train", bool(self.train) and self.train != self.test, "a split, and another than `test`")


class Continual(_Checked, frozen=True, kw_only=True, tag="continual"):
    """Continual mode: the labels of project `project` as they come. A step learns `fresh` new labels, in the log's
    order, beside `replay` old ones, drawn from a reservoir of `kept` in which each label of the past is equally likely.

    `dataset` and `test` name the frozen split that forgetting is measured on; no item that belongs to it by the data
    set's rule is learned, however new. It ends after `steps` steps (0: never),
    or with `until_end` where the log held no more when it began."""

    project: str
    dataset: str = ""
    test: str = "test"
    fresh: int = 8
    replay: int = 24
    kept: int = 8_192
    steps: int = 0
    until_end: bool = False

    def check(self) -> None:
        check_name(self.project, "project")
        self.need("fresh", self.fresh >= 1, "1 or more")
        self.need("replay", self.replay >= 0, "0 or more")
        self.need("kept", self.kept >= self.replay, "as many as are replayed, or more")
        self.need("steps", self.steps >= 0, "0 or more")


class Stopping(_Checked, frozen=True, kw_only=True):
    """Early stopping: the run ends where `watch` was not better by `least` for `patience` measurements (0: never ends
    early), and publishes the weights that were best."""

    watch: str = "accuracy"
    better: Literal["higher", "lower"] = "higher"
    patience: int = 0
    least: float = 0.0

    def check(self) -> None:
        self.need("patience", self.patience >= 0, "0 or more measurements")
        self.need("least", self.least >= 0, "0 or more")
        self.need("watch", bool(self.watch), "the name of a figure")


class Training(_Checked, frozen=True, kw_only=True):
    """All there is to say of a run. The same configuration on the same data gives the same weights, to the last bit,
    with one worker on one class of processor.

    - `name` of the run, and `model` that it makes versions of (empty: the run's name);
    - `task` (`training.task.Task`) and `data`: what is learned, and from what;
    - `batch`: examples of a step over all workers together; `micro`: at most so many at once in one worker, whose
      gradients are then accumulated (0: all of them);
    - `optimiser`, `schedule`, `clip` (the largest norm of the gradient; 0: any), `ema` (decay of the exponential moving
      average of the weights, which is then measured and published; 0: none);
    - `precision`: `float32`, or `bf16`: forward passes under autocast;
    - `seed`; `deterministic` algorithms only; `threads` of each worker (0: the processors shared among the workers);
      `device` (`auto`: a GPU where there is one);
    - `loaders`: processes that decode, beside each worker (0: it decodes itself); `pack`: whether the bytes are first
      gathered in one file;
    - `measure_every`, `checkpoint_every`: steps (0: an epoch; in continual mode 100); `keep`: how many checkpoints;
    - `stopping`; `publish_every`: steps between versions (0: only at the end).
    """

    name: str
    task: Any
    data: Dataset | Continual
    model: str = ""
    batch: int = 64
    micro: int = 0
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    stopping: Stopping = Stopping()
    ema: float = 0.0
    clip: float = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    seed: int = 0
    deterministic: bool = True
    threads: int = 0
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    loaders: int = 0
    pack: bool = True
    measure_every: int = 0
    checkpoint_every: int = 0
    keep: int = 3
    publish_every: int = 0

    def check(self) -> None:
        try:
            check_name(self.name, "run")
            check_name(self.made, "model")
        except UserError as error:
            raise ConfigError(
                error.message, where="training configuration", wanted=error.wanted, got=error.got, field="name"
            ) from None
        self.need("batch", self.batch >= 1, "1 or more")
        self.need("keep", self.keep >= 1, "1 or more")
        self.need("ema", 0 <= self.ema < 1, "from 0 to below 1")
        for field in (
            "micro",
            "clip",
            "seed",
            "threads",
            "loaders",
            "measure_every",
            "checkpoint_every",
            "publish_every",
        ):
            self.need(field, getattr(self, field) >= 0, "0 or more")
        lacking = [
            part
            for part in ("model", "decode", "collate", "loss", "evaluate", "export")
            if not callable(getattr(self.task, part, None))
        ]
        if lacking:
            self.refuse("task", "a training.task.Task", f"{type(self.task).__name__}, without {', '.join(lacking)}")
        if isinstance(self.data, Continual) and self.batch != self.data.fresh + self.data.replay:
            self.refuse("batch", f"fresh + replay, {self.data.fresh + self.data.replay}", str(self.batch))

    @property
    def made(self) -> str:
        """The model whose weights are made: `<model>.weights`. What is served under the model's own name is exported
        from these, once it has passed the gate."""
        return f"{self.model or self.name}.weights"

    def plain(self) -> dict[str, Any]:
        """The whole configuration as plain data; the task as its type and fields. Raises `ConfigError` where the
        task's fields are no plain data."""
        task = self.task
        module = type(task).__module__
        if module.startswith("tidemill_job_"):  # of the run's own file, which may lie anywhere
            module = module.partition(".")[2]
        kind = f"{module}:{type(task).__qualname__}"
        try:
            if not (is_dataclass(task) or isinstance(task, msgspec.Struct)):
                raise TypeError("neither a dataclass nor a Struct")
            fields = msgspec.to_builtins(task)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "the task is no plain data",
                where=kind,
                wanted="a dataclass or Struct of plain data",
                got=str(error),
                field="task",
            ) from None
        rest = {name: msgspec.to_builtins(getattr(self, name)) for name in self.__struct_fields__ if name != "task"}
        return rest | {"task": {"kind": kind, "fields": fields}}

    def deciding(self) -> dict[str, Any]:
        """What decides the weights, as plain data: everything but how the run is named, kept and fed."""
        return {name: value for name, value in self.plain().items() if name not in _BESIDE}

    def digest(self) -> str:
        """The digest of what decides the weights."""
        return content_digest(self.deciding())


_COUNTS = ("micro", "clip", "seed", "threads", "loaders", "measure_every", "checkpoint_every", "publish_every")

_BESIDE = ("name", "model", "keep", "checkpoint_every", "publish_every", "loaders", "pack")
"""Fields that change no weight."""
