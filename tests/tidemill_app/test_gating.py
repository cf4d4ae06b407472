"""From weights to what is served: the better go live and say why, the worse do not, and nothing goes live before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from connectors.images import encoded
from serving.follow import Follower
from serving.freshness import Freshness
from serving.plane import DataPlane
from tests.serving.helpers import until
from tests.tidemill_app.digits_run import import_digits
from tests.tidemill_app.in_memory import memory_platform
from tidemill import events
from tidemill.errors import IncompatibleError, TidemillError, UserError
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import Partition
from tidemill_app import cli, datasets, gating, models
from tidemill_app.__main__ import root
from tidemill_app.gating import Asked, gate
from tidemill_app.job_file import Target
from tidemill_app.scoring import loader
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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A platform with digits, and weak and strong weights."""
    folder = tmp_path_factory.mktemp("gating")
    platform = memory_platform(folder)
    import_digits(platform, folder, "images", 1)
    from sklearn.datasets import load_digits

    found, place = load_digits(), folder / "digits-images"
    for i, (pixels, label) in enumerate(zip(found.images[:400], found.target[:400], strict=True)):
        (place / str(label)).mkdir(parents=True, exist_ok=True)
        (place / str(label) / f"{i:04}.png").write_bytes(encoded((pixels * 15).astype("uint8")))
    from tidemill_app.dataset_import import import_

    import_(platform, "digits", place)
    datasets.create(platform, "digits", datasets.Wanted("digits", splits={"train": 0.6, "test": 0.4}))
    return platform, trained(platform, folder, "weak"), trained(platform, folder, "strong")


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
    plane = DataPlane()
    follower = Follower(platform.log, plane, loader(platform.artefacts), Freshness())
    follower.start()
    try:
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
    finally:
        follower.close()
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
    platform, _, strong = world
    weak_onnx = platform.artefacts.load(*_stored(platform, "digits@1"))[1]["model.onnx"]
    file = tmp_path / "weak.onnx"
    file.write_bytes(weak_onnx)
    from tidemill_app.deploy import deploy

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


def _stored(platform, text: str):
    event = models.find(platform, text)
    return event.model, event.version, event.version_digest


def test_labels_given_since_are_looked_at_too(world):
    platform, weak, _ = world
    decided = gate(platform, weak, Asked(model="other"))
    assert [c["check"] for c in decided.checks] == ["parity", "test", "together"]
    assert "digits.newest" in {row["dataset"] for row in datasets.versions(platform, None)}


def test_another_export_than_was_trained_is_refused(world, monkeypatch):
    platform, _, strong = world
    monkeypatch.setattr(gating._Candidate, "difference", lambda self, items: 0.5)
    decided = gate(platform, strong, Asked(model="unlike"))
    assert not decided.accepted and "exported" in decided.reasons[0]
    assert not [e for e in told(platform, "models") if e.model == "unlike"]


def test_a_champion_that_changed_meanwhile_is_not_replaced(world, monkeypatch):
    platform, weak, strong = world
    gate(platform, weak, Asked(model="raced"))
    judge = gating._judged

    def slow(*args):
        verdict = judge(*args)
        models.set_alias(platform, "digits@latest", "unrelated")
        gating._alias(platform, "raced", "champion", "9")
        return verdict

    monkeypatch.setattr(gating, "_judged", slow)
    with pytest.raises(TidemillError, match="meanwhile"):
        gate(platform, strong, Asked(model="raced"))


def test_what_cannot_be_judged_is_refused(world):
    platform, weak, _ = world
    with pytest.raises(UserError, match="learned from"):
        gate(platform, weak, Asked(model="leaky", split="train"))
    with pytest.raises(UserError, match="no champion"):
        gate(platform, weak, Asked(model="held", promote=False))
    with pytest.raises(UserError, match="weights"):
        gate(platform, "digits@1", Asked())
    assert issubclass(IncompatibleError, UserError)


def _code(*words: str) -> int:
    try:
        return cli.run(root, list(words))
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_command_says_why(world, monkeypatch, capsys):
    platform, weak, strong = world
    from contextlib import nullcontext

    import tidemill_app.commands.gate as command

    monkeypatch.setattr(command, "connected", lambda out: nullcontext(platform))
    assert _code("gate", strong, "--model", "told", "--json") == 0
    assert json.loads(capsys.readouterr().out)["alias"] == "champion"
    assert _code("gate", weak, "--model", "told") == 1
    assert "REFUSED" in capsys.readouterr().out
