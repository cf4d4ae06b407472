"""Where each answer is kept: a log for each endpoint, and one for all models that no endpoint answers with.

However many models there are, the second is one spool with one thread that writes, one that sends, and one producer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from serving.leftovers import Leftovers
from serving.plane import Loaded
from serving.prediction_log import PredictionLog
from serving.scoring import Scorer
from serving.spool import Spool
from tidemill.events import PredictionMade
from tidemill.log import Log
from tidemill.stream import check_name

MODELS = "_models"
"""The folder of the spool of models without an endpoint: no endpoint can have this name."""


def name_of(loaded: Loaded, scorers: Mapping[str, Scorer]) -> str:
    """The `<name>` of the topic `predictions.<name>` for what this model answers to tensors.

    That of the endpoint which answers with the model: of several, the one of the job that publishes the model, else the
    first by name. Without an endpoint the model's own name, if it was deployed; `<model>-asked`, if a job publishes it,
    for the job writes its own predictions under its name.
    """
    job = loaded.published.job if loaded.published else ""
    found = sorted(name for name, scorer in scorers.items() if loaded.model in scorer.models)
    if found:
        return next((name for name in found if scorers[name].endpoint.job == job), found[0])
    check_name(loaded.model, "model")
    return f"{loaded.model}-asked" if job else loaded.model


class PredictionLogs:
    """All logs of one server, with their spools in `folder`; `scorers` gives the endpoints as they are now."""

    def __init__(self, log: Log, folder: Path, scorers: Callable[[], Mapping[str, Scorer]]) -> None:
        self._log = log
        self._folder = folder
        self._scorers = scorers
        self._started = False
        self._leftovers = Leftovers(log, folder)
        self._models = PredictionLog(MODELS, log, Spool.claim(folder / MODELS))
        self._endpoints: dict[str, PredictionLog] = {}
        self._names: dict[tuple[str, str], str] = {}

    def endpoint(self, name: str) -> PredictionLog:
        """The log of a new endpoint."""
        kept = PredictionLog(name, self._log, Spool.claim(self._folder / name))
        if self._started:
            kept.start()
        # Replaced, not edited: requests read them meanwhile.
        self._endpoints = {**self._endpoints, name: kept}
        return kept

    def renamed(self) -> None:
        """Endpoints have come or changed: models may belong to others now."""
        self._names = {}

    def keep(self, loaded: Loaded, predictions: Sequence[PredictionMade]) -> None:
        """Keep what a model answered to tensors, all or none; from any thread. Raises `UnavailableError`."""
        names = self._names
        key = (loaded.model, loaded.published.job if loaded.published else "")
        name = names.get(key)
        if name is None:
            name = names[key] = name_of(loaded, self._scorers())
        kept = self._endpoints.get(name)
        if kept is not None:
            kept.append_all(predictions)
        else:
            self._models.append_all(predictions, f"predictions.{name}")

    def start(self) -> None:
        self._started = True
        for _, kept in self._all():
            kept.start()
        self._leftovers.start()

    def close(self) -> None:
        """After the last answer: every prediction reaches the disk, and Kafka where it answers."""
        self._leftovers.close()
        for _, kept in self._all():
            kept.close()

    @property
    def problem(self) -> str:
        """Why predictions cannot be kept at the moment; empty where they can."""
        return "; ".join(dict.fromkeys(kept.problem for _, kept in self._all() if kept.problem))

    def gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        for name, kept in self._all():
            labels = {"endpoint": name}
            yield "tidemill_predictions_unsent", "Answers whose predictions are not in Kafka yet", labels, kept.unsent
            yield "tidemill_spool_bytes", "Size of the spool on disk", labels, kept.spooled_bytes
            yield "tidemill_spool_faults", "Damage and failed syncs of the spool's disk", labels, kept.faults

    def _all(self) -> list[tuple[str, PredictionLog]]:
        return [(MODELS, self._models), *self._endpoints.items()]
