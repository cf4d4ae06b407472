"""The job by hand, in River: what the peers of the pipeline do with each event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from river import linear_model, optim, preprocessing


class RiverJob:
    """Predicts, then learns, one event: a standard scaler and a logistic regression, kept in memory."""

    def __init__(self, names: Sequence[str], lr: float, label: str = "late") -> None:
        self.names, self.label = names, label
        self.model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(lr), intercept_lr=lr)

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        x = {name: event[name] for name in self.names}
        p = self.model.predict_proba_one(x).get(True, 0.5)
        self.model.learn_one(x, event[self.label] == 1)
        return {"id": event["id"], "time": event["time"], "score": p}
