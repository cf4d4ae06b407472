"""From weights to what is served: the better go live and say why, the worse do not, and nothing goes live before."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

pytest.importorskip("torch")
import onnx

from connectors.encoded_model import EncodedModel
from connectors.images import encoded
from serving.follow import Follower
from serving.freshness import Freshness
from serving.plane import DataPlane
from tests.serving.helpers import until
from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.errors import IncompatibleError, NotFoundError, TidemillError, UserError
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import Partition
from tidemill_app import cli, datasets, gating, models
from tidemill_app.__main__ import root
from tidemill_app.dataset_import import import_
from tidemill_app.deploy import deploy
from tidemill_app.gating import Asked, gate
from tidemill_app.job_file import Target
from tidemill_app.scoring import loader
from tidemill_app.telling import tell
from tidemill_app.training_run import train

RUN = """
from training.config import Dataset, Optimiser, Training
from training.tasks.classification import ImageClassification

TEN = tuple("0123456789")


def made(name, epochs, rate):
    task = ImageClassification(classes=TEN, size=8, width=8, dropout=0.0)
    data = Dataset(dataset="digits@1", epochs=epochs, test="")
    optimiser = Optimiser(rate=rate)
    return Training(name=name, model="digits", task=task, data=data, batch=32, threads=1, optimiser=optimiser)


def weak():
    return made("weak", 2, 0.005)


def strong():
    return made("strong", 12, 0.01)
"""


def trained(platform, folder: Path, function: str) -> str:
    """`NAME@VERSION` of the weights."""
    (folder / "run.py").write_text(RUN)
    _, ended = train(platform, Target((folder / "run.py").resolve(), function))
    return f"{ended.model}@{ended.version}"


def folder_of(place: Path, first: int, n: int, wrong: int = 0) -> Path:
    """A folder of so many digits as images, by class; `wrong` is added to each label."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for i in range(first, first + n):
        file = place / str((found.target[i] + wrong) % 10) / f"{i:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded((found.images[i] * 15).astype("uint8")))
    return place


def platform_of(folder: Path):
    """A platform with 400 digits, and a data set of them."""
    platform = memory_platform(folder)
    import_(platform, "digits", folder_of(folder / "images", 0, 400))
    datasets.create(platform, "digits", datasets.Wanted("digits", splits={"train": 0.6, "test": 0.4}))
    return platform


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """That platform, and weak and strong weights."""
    folder = tmp_path_factory.mktemp("gating")
    platform = platform_of(folder)
    return platform, trained(platform, folder, "weak"), trained(platform, folder, "strong")


@contextmanager
def followed(platform):
    """A serving follower's plane; behind it, as another server would be."""
    plane = DataPlane()
    follower = Follower(platform.log, plane, loader(platform.artefacts), Freshness())
    follower.start()
    try:
        yield plane
    finally:
        follower.close()


def told(platform, topic: str) -> list:
    at = Partition(topic, 0)
    if topic not in platform.log.topics():
        return []
    reader = platform.log.reader({at: 0})
    out = []
    while reader.positions()[at] < platform.log.end(at):
        out += [events.decode(r.value) for r in reader.poll(100, 0.1)]
    reader.close()
    return out


def test_the_better_goes_live_and_the_worse_does_not(world):
    platform, weak, strong = world
    with followed(platform) as plane:
        first = gate(platform, weak, Asked())
        assert first.accepted and (first.champion, first.alias) == ("", "champion"), first
        version = first.candidate.partition("@")[2]
        assert until(lambda: (live := plane.live("digits")) and live.version == version)

        second = gate(platform, strong, Asked())
        assert second.accepted and second.champion == first.candidate, second
        newest = second.candidate.partition("@")[2]
        assert until(lambda: plane.live("digits").version == newest)
        _answers_as_offline(platform, plane, strong)

        third = gate(platform, weak, Asked())
        assert not third.accepted and third.alias == "" and third.reasons[0].startswith("worse on test")
        same = gate(platform, strong, Asked())
        assert not same.accepted and "is the champion" in same.reasons[0]
        assert plane.live("digits").version == newest
    assert [d.accepted for d in told(platform, "gates")] == [True, True, False, False]
    mine = [e for e in told(platform, "models") if e.model == "digits"]
    kinds = [(e.alias if isinstance(e, ModelAliased) else "version", e.version) for e in mine]
    v, n = version, newest
    assert kinds == [
        *(("version", v), ("challenger", v), ("champion", v)),
        *(("version", n), ("challenger", n), ("champion", n)),
    ]
    manifest = models.manifest_of(platform, second.candidate)
    assert manifest.parents == [strong, first.candidate]
    assert manifest.lineage.dataset == "digits@1"
    assert manifest.metrics["test.candidate"] > manifest.metrics["test.champion"]


def test_the_champion_is_pinned_before_a_better_one_is_published(world, tmp_path):
    """A version that is published is live at once where nothing is pinned: so the order of the records is the proof."""
    platform, weak, strong = world
    weak_onnx = _exported(platform, weak, "elsewhere-from")
    file = tmp_path / "weak.onnx"
    file.write_bytes(weak_onnx)
    deployed = deploy(platform, file, "elsewhere")
    decided = gate(platform, strong, Asked(model="elsewhere", promote=False))
    assert decided.accepted and decided.alias == "challenger"
    mine = [e for e in told(platform, "models") if e.model == "elsewhere"]
    assert [(type(e), e.version) for e in mine] == [
        (ModelPublished, deployed.version),
        (ModelAliased, deployed.version),
        (ModelPublished, "2"),
        (ModelAliased, "2"),
    ]
    assert [e.alias for e in mine if isinstance(e, ModelAliased)] == ["champion", "challenger"]
    again = gate(platform, strong, Asked(model="elsewhere"))
    assert (again.candidate, again.alias) == ("elsewhere@2", "champion")


def _answers_as_offline(platform, plane, weights: str) -> None:
    """Over HTTP, the live model answers what its network answered before the export."""
    import base64

    from tests.serving.helpers import Service, client_of
    from tidemill_app.trained import load

    training, network, _ = load(platform, models.find(platform, weights))
    version = datasets.load(platform, "digits@1")
    service = Service(media=platform.artefacts.get)
    service.plane.install(plane.live("digits"))
    with client_of(service) as client:
        for example in version.examples("test")[:10]:
            data = version.bytes_of(example)
            offline = training.task.offline(network, data)
            for body in ({"image": base64.b64encode(data).decode()}, {"media": example.media}):
                answer = client.post("/score/digits", json=body).json()
                assert answer["probabilities"] == pytest.approx(offline, abs=1e-5)
                assert answer["label"] == training.task.classes[offline.argmax()]


def _exported(platform, weights: str, model: str) -> bytes:
    """The ONNX model that the gate makes of the weights, as the first version of `model`."""
    event = models.find(platform, gate(platform, weights, Asked(model=model, newest=False)).candidate)
    return platform.artefacts.load(event.model, event.version, event.version_digest)[1]["model.onnx"]


def test_a_candidate_answers_nobody_before_it_is_champion(world, monkeypatch):
    """Through serving itself: a server that follows all along, and others that begin at each step of the gate."""
    platform, weak, strong = world
    old = gate(platform, weak, Asked(model="waited", newest=False)).candidate.partition("@")[2]
    judge, alias, seen = gating._judged, gating._alias, []

    def live(step: str, version: str = "") -> None:
        """Which version each server answers with, once it has `version` (empty: any)."""

        def has(one) -> bool:
            return version in one.versions("waited") if version else bool(one.versions("waited"))

        with followed(platform) as begun:
            for one in (plane, begun):
                assert until(lambda one=one: has(one))
                seen.append((step, one.live("waited").version))

    def judged(*args):
        verdict = judge(*args)
        live("judged")
        return verdict

    def aliased(platform, model, name, version):
        live(name, version)
        alias(platform, model, name, version)

    with followed(platform) as plane:
        assert until(lambda: plane.live("waited") is not None)
        monkeypatch.setattr(gating, "_judged", judged)
        monkeypatch.setattr(gating, "_alias", aliased)
        new = gate(platform, strong, Asked(model="waited", newest=False)).candidate.partition("@")[2]
        assert seen == [(step, old) for step in ("judged", "challenger", "champion") for _ in range(2)]
        assert until(lambda: plane.live("waited").version == new)
        assert not gate(platform, weak, Asked(model="waited", newest=False)).accepted
        live("refused")
        assert seen[-2:] == [("refused", new)] * 2 and plane.versions("waited") == [old, new]


def test_both_are_asked_about_the_same_items(world, monkeypatch):
    platform, weak, strong = world
    gate(platform, weak, Asked(model="same", newest=False))
    asked: dict[int, list] = {}
    answer = EncodedModel.answer
    monkeypatch.setattr(
        EncodedModel, "answer", lambda self, item: asked.setdefault(id(self), []).append(item) or answer(self, item)
    )
    decided = gate(platform, strong, Asked(model="same", newest=False))
    tested = datasets.load(platform, "digits@1")
    items = [tested.bytes_of(e) for e in tested.examples("test")]
    # The candidate also for its parity with the network.
    candidate, champion = sorted(asked.values(), key=len, reverse=True)
    assert champion == items and candidate == items + items[: gating.PARITY_ITEMS]
    assert decided.checks[1]["items"] == len(items)


@pytest.mark.parametrize("wrong", [0, 1], ids=["right", "wrong"])
def test_labels_given_since_are_looked_at_too(tmp_path, wrong):
    """Better on the frozen items, a candidate that is worse on what people say now stays out."""
    platform = platform_of(tmp_path)
    weak, strong = (trained(platform, tmp_path, one) for one in ("weak", "strong"))
    assert [c["check"] for c in gate(platform, weak, Asked()).checks] == ["parity", "test", "together"]
    assert "digits.newest" in {row["dataset"] for row in datasets.versions(platform, None)}
    import_(platform, "digits", folder_of(tmp_path / "more", 400, 200, wrong))
    decided = gate(platform, strong, Asked())
    assert [c["check"] for c in decided.checks] == ["parity", "test", "newest", "together"]
    test, newest, together = decided.checks[1:]
    assert newest["items"] == 200 and together["items"] == 200 + test["items"]
    assert test["candidate"] > test["champion"]
    assert decided.accepted is not bool(wrong), decided
    assert gate(platform, strong, Asked(newest=False)).accepted is bool(wrong)  # else it is the champion already


def test_another_export_than_was_trained_is_refused(world, monkeypatch):
    platform, _, strong = world
    monkeypatch.setattr(gating._Candidate, "difference", lambda self, items: 0.5)
    decided = gate(platform, strong, Asked(model="unlike"))
    assert not decided.accepted and "exported" in decided.reasons[0]
    assert not [e for e in told(platform, "models") if e.model == "unlike"]


@pytest.mark.parametrize("before", [True, False], ids=["another", "none"])
def test_a_champion_that_changed_meanwhile_is_not_replaced(world, tmp_path, monkeypatch, before):
    platform, weak, strong = world
    model = f"raced-{before}".lower()
    if before:
        gate(platform, weak, Asked(model=model, newest=False))
    file, judge = tmp_path / "other.onnx", gating._judged
    other = onnx.load_from_string(_exported(platform, weak, f"{model}-from"))
    other.doc_string = "another"
    file.write_bytes(other.SerializeToString())

    def slow(*args):
        verdict = judge(*args)
        monkeypatch.undo()
        models.set_alias(platform, f"{model}@{deploy(platform, file, model).version}", "champion")
        return verdict

    monkeypatch.setattr(gating, "_judged", slow)
    with pytest.raises(TidemillError, match="meanwhile"):
        gate(platform, strong, Asked(model=model, newest=False))
    mine = [e for e in told(platform, "models") if e.model == model]
    assert isinstance(mine[-1], ModelAliased) and mine[-1].alias == "champion"  # and nothing after it


def test_what_cannot_be_judged_is_refused(world):
    platform, weak, _ = world
    with pytest.raises(UserError, match="learned from"):
        gate(platform, weak, Asked(model="leaky", split="train"))
    with pytest.raises(UserError, match="no champion"):
        gate(platform, weak, Asked(model="held", promote=False))
    gate(platform, weak, Asked(model="served"))
    with pytest.raises(UserError, match="weights"):
        gate(platform, "served@1", Asked())
    assert issubclass(IncompatibleError, UserError)


def test_what_is_served_and_no_exported_model_is_not_replaced(world):
    """A job's model, or an alias that points to nothing: there is nothing to hold the candidate against."""
    platform, weak, _ = world
    event = models.find(platform, "digits@1")
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    tell(platform.log, "models", ModelPublished(**fields | {"model": "learned", "kind": "a.job:Learner"}), "learned")
    with pytest.raises(IncompatibleError, match="no exported model"):
        gate(platform, weak, Asked(model="learned"))
    gating._alias(platform, "lost", "champion", "9")
    with pytest.raises(NotFoundError, match="points to no version"):
        gate(platform, weak, Asked(model="lost"))


def _code(*words: str) -> int:
    try:
        return cli.run(root, list(words))
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_command_says_why(world, monkeypatch, capsys):
    platform, weak, strong = world
    import tidemill_app.commands.gate as command

    monkeypatch.setattr(command, "connected", lambda out: nullcontext(platform))
    assert _code("gate", strong, "--model", "told", "--json") == 0
    assert json.loads(capsys.readouterr().out)["alias"] == "champion"
    assert _code("gate", weak, "--model", "told") == 1
    assert "REFUSED" in capsys.readouterr().out
