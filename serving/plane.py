"""The data plane: models by name, their versions, aliases and deltas, swapped without dropping a request."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from tidemill.errors import IncompatibleError, IntegrityError, NotFoundError
from tidemill.events import DeltaPublished, ModelPublished
from tidemill.servable import Servable

CHAMPION = "champion"
LATEST = "latest"

Outcome = Literal["applied", "old", "gap", "waiting"]


@runtime_checkable
class Updatable(Protocol):
    """A servable that deltas make a new one of."""

    def updated(self, changes: Mapping[str, Any]) -> Servable:
        """A new servable with the changes of one delta; this one stays as it is.

        Raises `IncompatibleError` where the changes do not fit."""
        ...


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """One state of one model, never changed: a request takes one and finishes on it.

    `delta` is the sequence number of the last delta in it, `labels` and `labelled` (append time of the newest label,
    µs) what that delta said of itself. `bundle` is the digest of the code that learned it, whose features it takes.
    """

    model: str
    version: str
    servable: Servable
    delta: int = 0
    labels: int = 0
    labelled: int = 0
    published: ModelPublished | None = None
    bundle: str = ""


class _Line:
    """What is known of one model. Changed under the plane's lock only; each attribute is replaced, never edited, so
    that readers need no lock."""

    def __init__(self, buffered: int) -> None:
        self.versions: OrderedDict[str, Loaded] = OrderedDict()
        self.aliases: dict[str, str] = {}
        self.live: Loaded | None = None
        self.recent: deque[DeltaPublished] = deque(maxlen=buffered)
        self.broken = False


class DataPlane:
    """Holds every loaded model. `resolve` is what a request calls, once, and is lock-free; the other methods belong
    to whoever follows the log and may be called from another thread.

    The *live* model is the newest version with every delta since. Asked without a version, or for alias `champion`,
    a request gets the live model, unless the alias was pinned to a version (a rollback): that is served as it was
    published. A version asked for by name is always as it was published. `latest` is the live model whatever the
    aliases say, and an alias that is set to `latest` is no longer pinned.

    `keep` versions of each model stay loaded besides the aliased ones; the last `buffered` deltas are kept so that a
    version published behind the live model's deltas catches up at once.
    """

    def __init__(self, *, keep: int = 3, buffered: int = 4096) -> None:
        self._lines: dict[str, _Line] = {}
        self._keep = keep
        self._buffered = buffered
        self._lock = threading.Lock()

    def resolve(self, model: str, version: str | None = None) -> Loaded:
        """The model to answer with. Raises `NotFoundError`."""
        line = self._lines.get(model)
        if line is None or line.live is None:
            raise NotFoundError("no such model", got=repr(model), fix="See GET /v2/models.", field="model")
        if version is None:
            version = CHAMPION
        pinned = line.aliases.get(version)
        if pinned is None or pinned == LATEST:
            if pinned == LATEST or version in (CHAMPION, LATEST):
                return line.live
            pinned = version
        loaded = line.versions.get(pinned)
        if loaded is None:
            raise NotFoundError(
                "no such version loaded",
                where=f"model {model}",
                wanted=f"an alias, or one of {list(line.versions)}",
                got=repr(version) if version == pinned else f"{version!r}, which is pinned to {pinned!r}",
                field="version",
            )
        return loaded

    def live(self, model: str) -> Loaded | None:
        """As `resolve` without a version; None where there is no such model."""
        try:
            return self.resolve(model)
        except NotFoundError:
            return None

    def models(self) -> list[str]:
        """Names of the models that can be asked."""
        return sorted(name for name, line in list(self._lines.items()) if line.live is not None)

    def gauges(self) -> Iterator[tuple[str, str, dict[str, str], float]]:
        """What answers for each model, and whether anything does: name, help, labels and value of each metric."""
        for model in self.models():
            live, named = self.live(model), {"model": model}
            answers = float(live is not None)
            yield "tidemill_model_answers", "0 where what champion is pinned to is not loaded", named, answers
            if live is not None:
                yield "tidemill_model_info", "The version being served", named | {"version": live.version}, 1.0
                yield "tidemill_model_delta", "Sequence of the last delta applied", named, live.delta
                yield "tidemill_model_labels", "Labels in the live model", named, live.labels

    def versions(self, model: str) -> list[str]:
        line = self._lines.get(model)
        return list(line.versions) if line else []

    def aliases(self, model: str) -> dict[str, str]:
        line = self._lines.get(model)
        return dict(line.aliases) if line else {}

    def install(self, loaded: Loaded) -> Outcome:
        """Make a newly published version the live one, at once and for every request that comes after.

        Buffered deltas newer than the version are applied to it first. `"gap"` says that some between are missing:
        the version is live as published, and the follower should read deltas again from `loaded.delta` + 1.
        """
        with self._lock:
            line = self._line(loaded.model)
            live, outcome = self._caught_up(loaded, line.recent)
            self._add(line, loaded)
            line.broken = False
            line.live = live
            return outcome

    def load(self, loaded: Loaded) -> None:
        """Add a version (an aliased older one) without making it live; it becomes live only if nothing else is."""
        with self._lock:
            line = self._line(loaded.model)
            self._add(line, loaded)
            if line.live is None:
                line.live = loaded

    def alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` to `version` (or to `latest`) from now on; the version may be loaded later."""
        with self._lock:
            line = self._line(model)
            line.aliases = {**line.aliases, alias: version}

    def has(self, model: str, version: str) -> bool:
        line = self._lines.get(model)
        return line is not None and version in line.versions

    def apply(self, delta: DeltaPublished) -> Outcome:
        """Apply the next delta of a model's live state. In order and once only: `"old"` says that it was in already,
        `"waiting"` that no version is there to apply it to (it is kept), `"gap"` that deltas before it are missing:
        the last full version is live again, and the follower should read deltas again from its `delta` + 1. A delta
        that does not fit is a gap too.
        """
        with self._lock:
            line = self._line(delta.model)
            live = line.live
            if line.recent and delta.sequence > line.recent[-1].sequence + 1:
                line.recent.clear()
            if not line.recent or delta.sequence == line.recent[-1].sequence + 1:
                line.recent.append(delta)
            if live is None or line.broken:
                return "waiting"
            if delta.sequence <= live.delta:
                return "old"
            if delta.sequence == live.delta + 1:
                try:
                    line.live = _next(live, delta)
                    return "applied"
                except (IncompatibleError, IntegrityError):
                    pass
            line.live = next(reversed(line.versions.values()))
            line.recent.clear()
            return "gap"

    def abandon(self, model: str) -> None:
        """The missing deltas are gone: stay on the last full version until the next one."""
        with self._lock:
            self._line(model).broken = True

    def restart(self, model: str) -> None:
        """The deltas of a model began anew (its job was submitted again from scratch): those before are forgotten,
        and the live model stays as it is until the first version of the new run."""
        with self._lock:
            line = self._line(model)
            line.recent.clear()
            line.broken = True

    def _line(self, model: str) -> _Line:
        return self._lines.setdefault(model, _Line(self._buffered))

    def _add(self, line: _Line, loaded: Loaded) -> None:
        versions = OrderedDict(line.versions)
        versions.pop(loaded.version, None)
        versions[loaded.version] = loaded
        pinned = set(line.aliases.values())
        unpinned = [name for name in versions if name not in pinned]
        for name in unpinned[: max(0, len(unpinned) - self._keep)]:
            del versions[name]
        line.versions = versions

    @staticmethod
    def _caught_up(loaded: Loaded, recent: deque[DeltaPublished]) -> tuple[Loaded, Outcome]:
        live = loaded
        for delta in recent:
            if delta.sequence <= live.delta:
                continue
            if delta.sequence != live.delta + 1:
                return loaded, "gap"
            try:
                live = _next(live, delta)
            except (IncompatibleError, IntegrityError):
                return loaded, "gap"
        return live, "applied"


def _next(live: Loaded, delta: DeltaPublished) -> Loaded:
    servable = live.servable
    if not isinstance(servable, Updatable):
        raise IncompatibleError("model takes no deltas", where=f"model {live.model}", got=type(servable).__name__)
    return Loaded(
        live.model,
        live.version,
        servable.updated(delta.changes),
        delta.sequence,
        delta.labels,
        delta.labelled,
        live.published,
        delta.bundle or live.bundle,
    )
