"""Tells the log what a run does, and a terminal where somebody watches."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.event import Event
from tidemill.log import Log
from tidemill.run_events import RunChanged, RunLogged, RunMeasured
from tidemill.time import Clock
from tidemill_app.run_table import TOPIC, log_topic, metrics_topic, topics

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class RunReporter:
    """A `training.report.Reporter` that writes `run.*.v1` events. What is told is on its way at once, and in the log
    when a checkpoint is committed. With `shown`, a line on standard error shows how far it is."""

    def __init__(self, log: Log, clock: Clock, run: str, shown: bool = False) -> None:
        topics(log, run)
        self._writer = log.writer()
        self._clock, self._run = clock, run
        self._bar = _Bar(run) if shown else None

    def changed(self, state: Any, **facts: Any) -> None:
        """The run began, went on, ended, or failed; in the log when this returns."""
        self._send(TOPIC, RunChanged(**self._head(f"{state}/{uuid.uuid4().hex[:12]}"), state=state, **facts))
        self._writer.flush()

    def measured(self, step: int, epoch: int, values: dict[str, float]) -> None:
        finite = {name: value for name, value in values.items() if value - value == 0}
        self._send(
            metrics_topic(self._run), RunMeasured(**self._head(f"{step}"), step=step, epoch=epoch, values=finite)
        )

    def logged(self, line: str, level: str = "info") -> None:
        event = RunLogged(**self._head(uuid.uuid4().hex[:12]), line=line, level=level)
        self._send(log_topic(self._run), event)

    def progressed(self, step: int, steps: int, loss: float) -> None:
        if self._bar is not None:
            self._bar.show(step, steps, loss)

    def committed(self, step: int) -> None:
        self._writer.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._writer.flush()
        self._writer.close()

    def _head(self, id: str) -> dict[str, Any]:
        return {"id": f"{self._run}/{id}", "time": self._clock.now(), "source": "/tidemill/train", "run": self._run}

    def _send(self, topic: str, event: Event) -> None:
        self._writer.send(topic, events.encode(event), key=self._run.encode(), headers=headers_of(event))


class _Bar:
    """A bar on standard error."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._shown: tuple[Progress, TaskID] | None = None

    def show(self, step: int, steps: int, loss: float) -> None:
        if self._shown is None:
            from rich.console import Console
            from rich.progress import Progress

            progress = Progress(console=Console(file=sys.stderr), transient=True)
            progress.start()
            self._shown = progress, progress.add_task(self._run, total=steps or None)
        bar, task = self._shown
        bar.update(task, completed=step, description=f"{self._run}  step {step}  loss {loss:.4f}")

    def close(self) -> None:
        if self._shown is not None:
            self._shown[0].stop()
