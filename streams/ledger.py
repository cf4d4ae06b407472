"""What a step noted to predict and to learn, and the native call that does it all at once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.learning import DRIFT, METRICS, PREDICTIONS, Plan, State, content_of
from tidemill.block import column
from tidemill.job import Effects, Rows, VersionCut
from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN

Float = NDArray[np.float64]
Event = tuple[int, str, str]


class Ledger:
    """Operations noted in the job's order since the last native call.

    No feature depends on the model, so a whole run of events can be walked first and predicted and learned afterwards.
    `run` must come before anything looks at the model or its metrics; `measure` and `cut` see to it themselves.
    """

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        self.state = state
        self.effects: Effects[State] = Effects(state)
        self.made: list[tuple[Any, Any, str, Float, Float]] = []
        self._clear()

    def _clear(self) -> None:
        """Nothing noted since the last native call."""
        self.ops: list[int] = []
        self.source: list[int] = []
        self.y: list[float] = []
        self.rows: list[Any] = []
        self.slots: list[int] = []
        self.fresh: dict[int, int] = {}
        self.ids: list[str] = []
        self.times: list[int] = []
        self.scored: list[int] = []
        self.delays: list[float] = []
        self.versions: list[str] = []
        self.label_times: list[int] = []

    def predict(self, id: str, time: int, row: Any, slot: int) -> None:
        """Predict `row` for event `id`; the prediction then waits in `slot`."""
        self.fresh[slot] = len(self.rows)
        self.slots.append(slot)
        self._note(PREDICT, id, time, row)

    def predict_and_learn(self, id: str, time: int, row: Any, label: float | None) -> None:
        """Predict `row` and learn its label at once, where there is one."""
        if label is None:
            self._note(PREDICT, id, time, row)
            return
        self.scored.append(len(self.ops))
        self.delays.append(np.nan)
        self.versions.append(str(self.state.version))
        self.label_times.append(time)
        self._note(PREDICT_LEARN, id, time, row)
        self.y[-1] = label

    def _note(self, op: int, id: str, time: int, row: Any) -> None:
        self.ops.append(op)
        self.source.append(len(self.rows))
        self.y.append(0.0)
        self.rows.append(row)
        self.ids.append(id)
        self.times.append(time)

    def learn(self, slot: int, y: float) -> None:
        """Learn label `y` for the prediction kept in `slot`."""
        self.ops.append(LEARN)
        self.source.append(self.fresh.get(slot, -1 - slot))
        self.y.append(y)

    def score(self, version: str, delay: float, time: int) -> None:
        """The `learn` noted next counts in the metrics; `delay` in seconds from the event to its label, at `time`."""
        self.label_times.append(time)
        self.scored.append(len(self.ops))
        self.delays.append(delay)
        self.versions.append(version)

    def measure(self, time: int) -> None:
        self.run()
        state = self.state
        state.unmeasured = 0
        more: dict[str, float] = dict(msgspec.structs.asdict(state.counts))
        more |= {"waiting": state.waiting.waiting, "waiting_bytes": state.waiting.nbytes()}
        self.effects.emit.append(state.board.rows(METRICS, self.plan.model, time, more))

    def cut(self, last: Event) -> None:
        """A version falls due after the event `last`."""
        self.run()
        state = self.state
        state.version = max(state.version, state.after) + 1
        state.uncut, state.cut_due = 0, None
        content = content_of(state.learner)
        self.effects.versions.append(VersionCut(self.plan.model, state.version, last, content, state.board.figures()))

    def run(self) -> None:
        """Run what was noted, in order: predict, learn, measure, keep."""
        if not self.ops:
            return
        state, n = self.state, len(self.ops)
        width = len(self.plan.feature_names)
        ops = np.array(self.ops, dtype=np.uint8)
        source = np.array(self.source, dtype=np.int64)
        rows = np.array(self.rows, dtype=np.float64).reshape(-1, width)
        kept = source < 0
        X = np.empty((n, width))
        X[~kept] = rows[source[~kept]]
        X[kept] = state.waiting.X[-1 - source[kept]]
        y = np.array(self.y)
        scores = self._run_block(ops, X, y)
        if self.scored:
            at = np.array(self.scored)
            of = source[at]
            made = np.empty(len(at))
            made[of >= 0] = scores[of[of >= 0]]
            made[of < 0] = state.waiting.score[-1 - of[of < 0]]
            self._score(y[at], made, np.array(self.delays), self.versions, np.array(self.label_times))
        if self.slots:
            state.waiting.fill(np.array(self.slots, dtype=np.int64), rows, scores)
        if len(rows):
            state.counts.predicted += len(rows)
            self.made.append((self.ids, self.times, str(state.version), scores, rows))
        self._clear()

    def run_now(self, ids: NDArray[Any], times: NDArray[np.int64], rows: Float, y: Float) -> None:
        """Predict these rows and learn their labels at once (NaN: no label), without noting them."""
        self.run()
        if not len(rows):
            return
        learns = ~np.isnan(y)
        ops = np.where(learns, np.uint8(PREDICT_LEARN), np.uint8(PREDICT))
        scores = self._run_block(ops, rows, np.where(learns, y, 0.0))
        labels = y[learns]
        if len(labels):
            versions = [str(self.state.version)] * len(labels)
            self._score(labels, scores[learns], np.full(len(labels), np.nan), versions, times[learns])
        self.state.counts.predicted += len(rows)
        self.made.append((ids, times, str(self.state.version), scores, rows))

    def _run_block(self, ops: NDArray[np.uint8], X: Float, y: Float) -> Float:
        """Predict and learn; the scores of what was predicted."""
        learner, seen = self.state.learner, ops != LEARN
        if not self.plan.supervised:
            scores: Float = learner.learn_block(X[seen], np.zeros(int(seen.sum())))
            return scores
        made: Float = learner.run_block(ops, X, y, self._weights_of(y))[seen]
        return made

    def _score(self, y: Float, scores: Float, delays: Float, versions: list[str], times: NDArray[np.int64]) -> None:
        """Labelled predictions: into the metrics, and under the eyes of the drift monitor."""
        state, model = self.state, self.plan.model
        state.board.add(y, scores, delays, versions, self.plan.kept_versions)
        if state.drift is None:
            return
        points = state.drift.update_block((scores > 0.5) != (y != 0.0), times)
        if points:
            columns = {
                "model": [model] * len(points),
                "detector": [state.drift.detector] * len(points),
                "value": [point.after - point.before for point in points],
            }
            ids = [f"{model}/drift/{point.index}" for point in points]
            self.effects.emit.append(Rows(DRIFT, [point.time for point in points], ids, columns))

    def _weights_of(self, y: Float) -> Float | None:
        negative, positive = self.plan.weights
        return None if negative == positive == 1.0 else np.where(y != 0.0, positive, negative)

    def emit_predictions(self) -> None:
        if not self.made or not self.plan.emits:
            return
        ids = np.concatenate([column(made[0], np.object_) for made in self.made])
        columns: dict[str, Any] = {
            "about": ids,
            "model": [self.plan.model] * len(ids),
            "version": [version for _, _, version, scores, _ in self.made for _ in range(len(scores))],
            "score": np.concatenate([made[3] for made in self.made]),
        }
        if self.plan.log_features:
            columns["features"] = np.concatenate([made[4] for made in self.made])
        time = np.concatenate([np.asarray(made[1], dtype=np.int64) for made in self.made])
        self.effects.emit.insert(0, Rows(PREDICTIONS, time, ids, columns))
