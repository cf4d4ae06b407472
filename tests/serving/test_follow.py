"""What stands in the log is what is served: versions, aliases, deltas, tables; through gaps, restarts and outages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from connectors.memory import MemoryLog
from serving.follow import Follower
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.online import ServedLearner
from serving.plane import DataPlane, Loaded
from tests.serving.helpers import KIND, SPEC, until
from tests.serving.test_plane import live_score, run_of_deltas, score_of
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import DigestError, GoneError, NotFoundError, UnavailableError
from tidemill.events import DeltaPublished, Event, FeatureUpdated, ModelAliased, ModelPublished, StreamDeclared
from tidemill.job import ModelContent
from tidemill.log import TopicSpec


class World:
    """A log, what publishes to it, and a follower."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.down = threading.Event()
        self.contents: dict[str, ModelContent] = {}
        self.corrupt: set[str] = set()
        self.plane = DataPlane()
        self.known = FeatureTables()
        self.freshness = Freshness()
        self.declared: list[str] = []
        self.renewals: list[bool] = []
        self.follower = self.make()

    def make(self) -> Follower:
        return Follower(
            self,  # type: ignore[arg-type]
            self.plane,
            self.load,
            self.freshness,
            tables={"trips": self.known},
            declared=lambda spec: self.declared.append(spec.name),
            renewed=lambda: bool(self.renewals) and self.renewals.pop(),
        )

    def __getattr__(self, name: str) -> Any:
        if self.down.is_set():
            raise UnavailableError("no broker")
        return getattr(self.log, name)

    def reader(self, positions: Mapping[Any, int]) -> Any:
        return _Reader(self, self.log.reader(positions))

    def load(self, event: ModelPublished) -> ServedLearner:
        if event.version in self.corrupt:
            raise DigestError("bytes do not match", where=event.uri)
        return ServedLearner(self.contents[event.version])

    def tell(self, topic: str, event: Event, key: str = "") -> None:
        self.log.create(topic, TopicSpec())
        writer = self.log.writer()
        writer.send(topic, events.encode(event), key=key.encode() or None, headers=headers_of(event))
        writer.flush()

    def publish(self, version: str, content: ModelContent, delta: int = 0) -> None:
        self.contents[version] = content
        self.tell(
            "models",
            ModelPublished(
                id=f"trips/{version}",
                time=0,
                model="trips",
                version=version,
                uri="",
                content_digest="",
                version_digest="",
                kind=KIND,
                delta=delta,
            ),
        )

    def deltas(self, deltas: list[DeltaPublished]) -> None:
        for delta in deltas:
            self.tell("deltas.trips", delta)

    def live(self) -> tuple[str, int]:
        if "trips" not in self.plane.models():
            return "", -1
        found = self.plane.resolve("trips")
        return found.version, found.delta


class _Reader:
    def __init__(self, world: World, reader: Any) -> None:
        self._world = world
        self._reader = reader

    def poll(self, n: int, timeout: float) -> Any:
        if self._world.down.is_set():
            raise UnavailableError("no broker")
        return self._reader.poll(n, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.down.clear()
    made.follower.close()


def test_everything_there_is_applied_and_what_comes_follows(world: World):
    base, deltas, states = run_of_deltas(10)
    world.publish("1", base)
    world.deltas(deltas[:4])
    world.tell("streams", StreamDeclared(id="s", time=0, spec=SPEC))
    world.tell("features.trips", FeatureUpdated(id="f", time=0, table="w", key="EWR", values={"wind": 1.0}, sequence=2))
    world.follower.start()
    until(lambda: world.live() == ("1", 4) and world.freshness.started and world.known.fresh)
    assert world.declared == ["trips"]
    assert world.known.get("w", "EWR") == {"wind": 1.0}
    world.deltas(deltas[4:])
    until(lambda: world.live() == ("1", 10))
    assert live_score(world.plane) == score_of(states[-1])
    until(lambda: world.freshness.seconds() == 0.0)


def test_topics_that_appear_later_are_found(world: World):
    base, deltas, states = run_of_deltas(3)
    world.follower.start()
    assert "models" not in world.log.topics()
    world.publish("1", base)
    until(lambda: world.live() == ("1", 0))
    assert live_score(world.plane) == score_of(base.state)
    world.deltas(deltas)
    until(lambda: world.live() == ("1", 3))
    assert live_score(world.plane) == score_of(states[-1])
    assert (world.follower.gaps, world.follower.failures, world.follower.rejected) == (0, 0, {})


def test_a_topic_that_is_deleted_keeps_nothing_else_from_being_followed(world: World):
    def row(wind: float, sequence: int) -> None:
        values = {"wind": wind}
        event = FeatureUpdated(id="f", time=0, table="w", key="EWR", values=values, sequence=sequence)
        world.tell("features.trips", event)

    base, deltas, _ = run_of_deltas(4)
    world.publish("1", base)
    row(1.0, 1)
    world.follower.start()
    until(lambda: world.live() == ("1", 0) and world.known.get("w", "EWR") == {"wind": 1.0})
    world.log.delete("features.trips")
    world.deltas(deltas)
    until(lambda: world.live() == ("1", 4))
    row(2.0, 2)
    until(lambda: world.known.get("w", "EWR") == {"wind": 2.0})


def test_only_deltas_after_the_version_are_applied(world: World):
    base, deltas, states = run_of_deltas(10)
    world.publish("1", base)
    world.deltas(deltas[:6])
    world.publish("2", ModelContent(KIND, base.params, states[5]), delta=6)
    world.deltas(deltas[6:])
    world.follower.start()
    until(lambda: world.live() == ("2", 10))
    assert live_score(world.plane) == score_of(states[-1])


def test_a_missing_delta_is_said_and_the_next_version_heals(world: World):
    base, deltas, states = run_of_deltas(10)
    world.publish("1", base)
    world.deltas(deltas[:3])
    world.follower.start()
    until(lambda: world.live() == ("1", 3))
    world.deltas(deltas[4:6])
    until(lambda: world.follower.gaps == 1)
    until(lambda: world.live() in (("1", 0), ("1", 3)))
    world.publish("2", ModelContent(KIND, base.params, states[5]), delta=6)
    until(lambda: world.live() == ("2", 6))
    world.deltas(deltas[6:])
    until(lambda: world.live() == ("2", 10))
    assert live_score(world.plane) == score_of(states[-1])


def test_a_job_that_learns_anew_is_followed_from_its_first_version(world: World):
    base, deltas, states = run_of_deltas(8)
    world.publish("1", base)
    world.deltas(deltas)
    world.follower.start()
    until(lambda: world.live() == ("1", 8))
    world.deltas(deltas[:2])
    world.publish("1", ModelContent(KIND, base.params, states[1]), delta=2)
    world.deltas(deltas[2:3])
    until(lambda: world.live() == ("1", 3))
    assert live_score(world.plane) == score_of(states[2])


def test_a_version_that_fails_verification_is_refused_and_the_last_good_one_served_on(world: World):
    base, _, _ = run_of_deltas(1)
    world.publish("1", base)
    world.follower.start()
    until(lambda: world.live() == ("1", 0))
    world.corrupt.add("2")
    world.publish("2", base)
    until(lambda: "trips@2" in world.follower.rejected)
    assert world.live() == ("1", 0)


def test_after_a_restart_the_newest_version_that_verifies_is_served_with_every_delta_since(world: World):
    base, deltas, states = run_of_deltas(8)
    world.publish("1", base)
    world.deltas(deltas[:2])
    world.publish("2", ModelContent(KIND, base.params, states[1]), delta=2)
    world.deltas(deltas[2:4])
    for version in ("3", "4"):
        world.publish(version, ModelContent(KIND, base.params, states[3]), delta=4)
    world.corrupt |= {"3", "4"}
    world.deltas(deltas[4:6])
    world.follower.start()
    until(lambda: world.live() == ("2", 6))
    assert live_score(world.plane) == score_of(states[5])
    assert sorted(world.follower.rejected) == ["trips@3", "trips@4"]
    world.deltas(deltas[6:7])
    until(lambda: world.live() == ("2", 7))
    world.corrupt.clear()
    world.renewals.append(True)
    until(lambda: world.live() == ("4", 7))
    assert live_score(world.plane) == score_of(states[6])
    assert world.follower.rejected == {}


def test_where_no_version_verifies_a_few_are_tried_and_then_no_more(world: World):
    base, _, _ = run_of_deltas(1)
    for number in range(40):
        world.corrupt.add(str(number))
        world.publish(str(number), base)
    world.follower.start()
    until(lambda: world.freshness.started)
    assert world.live() == ("", -1)
    assert list(world.follower.rejected) == [f"trips@{number}" for number in range(39, 29, -1)]


def test_what_was_refused_is_taken_up_where_there_is_reason_to_try_again(world: World):
    base, deltas, states = run_of_deltas(6)
    world.publish("1", base)
    world.publish("2", base)
    world.corrupt |= {"1", "2"}
    world.tell("models", ModelAliased(id="a", time=0, model="trips", alias="challenger", version="1"))
    world.deltas(deltas[:4])
    world.follower.start()
    until(lambda: world.freshness.started)
    assert world.live() == ("", -1) and "trips@2" in world.follower.rejected
    world.corrupt.clear()
    world.renewals.append(True)
    until(lambda: world.live() == ("2", 4))
    until(lambda: world.plane.has("trips", "1") and world.plane.aliases("trips") == {"challenger": "1"})
    assert world.follower.rejected == {}
    world.deltas(deltas[4:])
    until(lambda: world.live() == ("2", 6))
    assert live_score(world.plane) == score_of(states[-1])


def test_aliases_are_followed_to_versions_no_longer_loaded(world: World):
    base, _, states = run_of_deltas(7)
    for i in range(1, 8):
        world.publish(str(i), ModelContent(KIND, base.params, states[i - 1]))
    world.follower.start()
    until(lambda: world.live()[0] == "7")
    assert not world.plane.has("trips", "2") and live_score(world.plane) == score_of(states[6])
    world.tell("models", ModelAliased(id="a", time=0, model="trips", alias="champion", version="2"))
    until(lambda: world.live()[0] == "2")
    assert live_score(world.plane) == score_of(states[1]) != score_of(states[6])
    world.tell("models", ModelAliased(id="b", time=0, model="trips", alias="champion", version="latest"))
    until(lambda: world.live()[0] == "7")
    assert live_score(world.plane) == score_of(states[6])


class Watched(DataPlane):
    """Notes which version answers after each change that is made to it."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: list[str] = []

    def _noted(self) -> None:
        live = self.live("trips")
        self.answered += [live.version] if live is not None and [live.version] != self.answered[-1:] else []

    def install(self, loaded: Loaded) -> Any:
        outcome = super().install(loaded)
        self._noted()
        return outcome

    def load(self, loaded: Loaded) -> None:
        super().load(loaded)
        self._noted()

    def alias(self, model: str, alias: str, version: str) -> None:
        super().alias(model, alias, version)
        self._noted()


@pytest.mark.parametrize("begins", ["before", "after"])
def test_a_version_behind_a_pinned_one_never_answers(world: World, begins: str):
    """Also not for a moment in a server that begins when both are there."""
    base, _, _ = run_of_deltas(1)
    world.plane = Watched()
    world.follower = world.make()
    if begins == "before":
        world.follower.start()
    world.publish("1", base)
    world.tell("models", ModelAliased(id="a", time=0, model="trips", alias="champion", version="1"))
    world.publish("2", base)
    world.tell("models", ModelAliased(id="b", time=0, model="trips", alias="challenger", version="2"))
    if begins == "after":
        world.follower.start()
    until(lambda: world.plane.aliases("trips") == {"champion": "1", "challenger": "2"})
    assert world.plane.has("trips", "2") and world.plane.answered == ["1"]
    world.tell("models", ModelAliased(id="c", time=0, model="trips", alias="champion", version="2"))
    until(lambda: world.plane.answered == ["1", "2"])


@pytest.mark.parametrize("newest", ["2", "1"])
def test_a_server_that_cannot_load_what_is_pinned_answers_with_nothing_that_was_not_judged(world: World, newest: str):
    base, _, _ = run_of_deltas(1)
    for version in sorted(["1", "2"], key=lambda version: version == newest):
        world.publish(version, base)
    world.tell("models", ModelAliased(id="a", time=0, model="trips", alias="champion", version="1"))
    world.corrupt.add("1")
    world.follower.start()
    until(lambda: world.plane.has("trips", "2"))
    with pytest.raises(NotFoundError, match=r"wanted an alias.*got 'champion', which is pinned to '1'"):
        world.plane.resolve("trips")
    assert world.plane.resolve("trips", "latest").version == "2"
    gauges = {name: value for name, _, _, value in world.plane.gauges()}
    assert gauges == {"tidemill_model_answers": 0.0}
    world.corrupt.clear()
    world.renewals.append(True)
    until(lambda: world.plane.live("trips") is not None)
    assert world.plane.resolve("trips").version == "1"
    assert {(name, value) for name, *_, value in world.plane.gauges()} >= {("tidemill_model_answers", 1.0)}


def test_what_was_served_is_served_on_where_the_log_is_read_anew(world: World, monkeypatch: pytest.MonkeyPatch):
    base, _, _ = run_of_deltas(1)
    for version in ("1", "2"):
        world.publish(version, base)
    world.tell("models", ModelAliased(id="a", time=0, model="trips", alias="champion", version="1"))
    world.follower.start()
    until(lambda: world.plane.aliases("trips") == {"champion": "1"})
    world.corrupt.add("3")
    world.publish("3", base)
    world.tell("models", ModelAliased(id="b", time=0, model="trips", alias="champion", version="3"))
    until(lambda: "trips@3" in world.follower.rejected)
    assert world.plane.resolve("trips").version == "1"
    began, poll = threading.Event(), _Reader.poll
    begin = world.follower._begin_models

    def gone(self: Any, n: int, timeout: float) -> Any:
        monkeypatch.setattr(_Reader, "poll", poll)
        monkeypatch.setattr(world.follower, "_begin_models", lambda: (begin(), began.set()))
        raise GoneError("records are gone", where="models/0")

    monkeypatch.setattr(_Reader, "poll", gone)
    assert began.wait(20.0)
    assert world.plane.resolve("trips").version == "1"


def test_an_outage_leaves_everything_in_use_and_shows(world: World):
    base, deltas, states = run_of_deltas(6)
    world.publish("1", base)
    world.deltas(deltas[:3])
    world.follower.start()
    until(lambda: world.live() == ("1", 3))
    world.down.set()
    until(lambda: world.follower.failures > 0)
    assert live_score(world.plane) == score_of(states[2])
    until(lambda: world.freshness.seconds() > 1.0)
    world.deltas(deltas[3:])
    world.down.clear()
    until(lambda: world.live() == ("1", 6) and world.freshness.seconds() == 0.0)
    assert live_score(world.plane) == score_of(states[-1])


def test_tombstones_remove_a_row_and_no_other(world: World):
    world.publish("1", run_of_deltas(1)[0])
    for key in ("a/b", "c"):
        event = FeatureUpdated(id="f", time=0, table="w", key=key, values={"wind": 1.0}, sequence=1)
        world.tell("features.trips", event, key=f"w/{key}")
    writer = world.log.writer()
    world.follower.start()
    until(lambda: len(world.known) == 2)
    assert world.known.get("w", "a/b") == {"wind": 1.0}
    writer.send("features.trips", None, key=b"w/a/b")
    writer.flush()
    until(lambda: world.known.get("w", "a/b") is None)
    assert world.known.get("w", "c") == {"wind": 1.0} and len(world.known) == 1
