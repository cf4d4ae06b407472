"""What serving follows between versions: deltas of the models and changed rows of the feature tables.

A delta carries what changed since the one before, by full values, numbered without gaps per model. Where a version was
cut, one delta leads up to the cut and one on from it, so a replica that loads the version and applies every delta
numbered above the version's own holds exactly the model that the job holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from streams.learners.delta import delta_since, is_empty
from tidemill.events import DeltaPublished, Event, FeatureUpdated, ModelPublished
from tidemill.job import Job, ModelContent, VersionCut


class LiveState:
    """Remembers what was published last, and says what to publish now."""

    def __init__(self, job: Job[Any], bundle: str = "") -> None:
        self._job = job
        self._bundle = bundle
        self._source = f"/jobs/{job.name}"
        self.sequences: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self._models: dict[str, ModelContent] = {}
        self._tables: dict[tuple[int, str], int] = {}

    def follow(self, states: Mapping[int, Any]) -> None:
        """Take the present states as published: after a silent replay they are what the last commit published."""
        for group, state in states.items():
            for name, content in self._job.live.models(state).items():
                if name in self.sequences:
                    self._models[name] = deepcopy(content)
            for name, table in self._job.live.tables(state).items():
                self._tables[group, name] = table.changes()

    def deltas(
        self, states: Mapping[int, Any], cuts: Sequence[VersionCut], time: int, labels: int, labelled: int
    ) -> Iterator[DeltaPublished | VersionCut]:
        """The deltas since the last call and the cuts, each cut after the delta that leads up to it."""
        now = {name: c for _, state in sorted(states.items()) for name, c in self._job.live.models(state).items()}
        for cut in cuts:
            if cut.model in now:
                yield from self._delta(cut.model, cut.content, time, labels, labelled)
            self.versions[cut.model] = cut.number
            yield cut
        for name, content in now.items():
            yield from self._delta(name, content, time, labels, labelled)

    def _delta(
        self, name: str, content: ModelContent, time: int, labels: int, labelled: int
    ) -> Iterator[DeltaPublished]:
        before = self._models.get(name)
        same = before is not None and before.kind == content.kind and before.params == content.params
        changes = delta_since(before.state if same and before is not None else {}, content.state)
        if same and is_empty(changes):
            return
        sequence = self.sequences[name] = self.sequences.get(name, 0) + 1
        self._models[name] = deepcopy(content)
        yield DeltaPublished(
            id=f"{name}/{sequence}",
            time=time,
            source=self._source,
            model=name,
            base=str(self.versions.get(name, "")),
            sequence=sequence,
            changes=changes,
            labels=labels,
            labelled=labelled,
            bundle=self._bundle,
        )

    def features(self, states: Mapping[int, Any], time: int, sequence: int) -> Iterator[FeatureUpdated]:
        """The rows changed since the last call, by their present values."""
        for group, state in sorted(states.items()):
            for name, table in self._job.live.tables(state).items():
                since = self._tables.get((group, name), 0)
                newest = table.changes()
                if newest == since:
                    continue
                for key, values in table.changed(since):
                    yield FeatureUpdated(
                        id=f"{name}/{key}/{sequence}",
                        time=time,
                        source=self._source,
                        table=name,
                        key=key,
                        values=values,
                        sequence=sequence,
                    )
                self._tables[group, name] = newest


def key_of(event: Event) -> bytes | None:
    """The record key of a live event."""
    if isinstance(event, FeatureUpdated):
        return f"{event.table}/{event.key}".encode()
    return event.model.encode() if isinstance(event, (DeltaPublished, ModelPublished)) else None
