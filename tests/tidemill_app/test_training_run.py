"""Runs from file to version: trained, published with lineage, made again to the same bits; stopped and gone on."""

import json

import pytest

pytest.importorskip("torch")

from tests.tidemill_app.digits_run import import_digits, target
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError, IntegrityError, NotFoundError, TidemillError, UserError
from tidemill.events import ModelPublished
from tidemill.stream import Field, StreamSpec
from tidemill_app import cli, models, run_table, trained, training_run
from tidemill_app.__main__ import root
from tidemill_app.training_run import train
from tidemill_app.training_spec import Asked
from tidemill_app.wiring import Platform
from training.ledger import Ledger


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    platform = memory_platform(folder)
    import_digits(platform, folder, "digits")
    return platform


@pytest.fixture(scope="module")
def first(platform, tmp_path_factory):
    """One run, to its end."""
    return train(platform, target(tmp_path_factory.mktemp("run"), "digits"))


def test_the_weights_are_a_version_that_says_what_they_are_of(platform, first):
    spec, ended = first
    assert (ended.state, ended.model, ended.version) == ("finished", "digits.weights", "1")
    manifest = models.manifest_of(platform, "digits.weights@1")
    lineage = manifest.lineage
    assert (lineage.job, lineage.dataset, lineage.order, lineage.workers, lineage.threads) == (
        spec.run,
        "digits@1",
        "epochs",
        1,
        1,
    )
    assert {(s.topic, s.first) for s in lineage.read} == {("data.digits", 0), ("labels.digits", 0)}
    assert all(span.next > 120 for span in lineage.read)
    assert lineage.step == ended.step and lineage.records == 3 * len(_train(platform)) and not lineage.unrepeatable
    assert manifest.metrics == ended.figures and manifest.params["task"]["kind"] == "run:Digits"
    _, model, _ = trained.load(platform, models.find(platform, "digits.weights"))
    assert not model.training


def _train(platform):
    from tidemill_app import datasets

    return datasets.load(platform, "digits@1").examples("train")


def test_it_is_trained_again_to_the_same_content_digest(platform, first):
    facts = models.reproduce(platform, "digits.weights@1")
    assert facts["equal"] and facts["records_equal"], facts


def test_another_configuration_is_another_content(platform, first, tmp_path):
    _, ended = train(platform, target(tmp_path, "digits", "fast"))
    assert ended.content_digest != first[1].content_digest
    assert run_table.runs(platform.log)["digits-2"].now.state == "finished"


def test_the_same_run_again_is_the_same_version(platform, first, tmp_path):
    _, ended = train(platform, target(tmp_path / "..", "digits"))
    newest = models.find(platform, "digits.weights")
    assert ended.content_digest == first[1].content_digest
    assert newest.content_digest == ended.content_digest


def test_what_it_measured_and_said_is_in_the_log(platform, first):
    spec, ended = first
    run = run_table.find(platform.log, spec.run)
    assert (run.now.state, run.now.model, run.now.step) == ("finished", "digits.weights@1", ended.step)
    assert run.config["task"]["fields"] == {"hidden": 16}
    curves = run_table.curves(platform.log, spec.run)
    per_epoch = ended.step // 3
    assert [step for step, _ in curves["test.accuracy"]] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert curves["test.accuracy"][-1][1] == pytest.approx(ended.figures["accuracy"])
    assert {"train.loss", "train.rate", "system.cpus", "system.memory_mib"} <= curves.keys()


def test_stopped_it_goes_on_to_the_same_weights(platform, first, tmp_path, monkeypatch):
    seen = iter(range(100))
    monkeypatch.setattr(Asked, "__call__", lambda self: next(seen) == 7)
    spec, ended = train(platform, target(tmp_path, "digits"))
    monkeypatch.undo()
    assert (ended.state, ended.step, ended.model) == ("stopped", 8, "")
    again, done = train(platform, target(tmp_path, "digits"), resume=True)
    assert again.run == spec.run and done.content_digest == first[1].content_digest
    states = [e.state for e in _changes(platform, spec.run)]
    assert states == ["started", "stopped", "resumed", "finished"]


def _changes(platform, run):
    from tidemill import events
    from tidemill_app.reading import read_all

    found = [events.decode(r.value) for r in read_all(platform.log, "runs")]
    return [event for event in found if event.run == run]


def test_a_version_is_published_on_the_way_and_made_again(platform, first, tmp_path):
    spec, ended = train(platform, target(tmp_path, "digits", "often"))
    mine = [line.line for line in run_table.lines(platform.log, spec.run)]
    name = next(word for word in mine[0].split() if "@" in word)
    assert mine[0].endswith("at step 7") and ended.version != name.partition("@")[2]
    assert models.reproduce(platform, name)["equal"]
    assert models.reproduce(platform, f"{ended.model}@{ended.version}")["equal"]


def test_labels_as_they_come_are_learned_and_the_version_made_again(platform, first, tmp_path):
    spec, ended = train(platform, target(tmp_path, "digits", "tail"))
    assert (ended.state, spec.dataset) == ("finished", "digits@1") and ended.figures.keys() == {
        "accuracy",
        "forgetting",
    }
    manifest = models.manifest_of(platform, f"{ended.model}@{ended.version}")
    read = {s.topic: (s.first, s.next) for s in manifest.lineage.read}
    assert manifest.lineage.order == "labels" and read.keys() == {"data.digits", "labels.digits"}
    tested = len(_split(platform, "test"))
    assert ended.step == -(-(120 - tested) // 8) and tested > 0
    published = [line.line.split()[1] for line in run_table.lines(platform.log, spec.run)]
    assert len(published) == ended.step // 5
    for version in (published[0], f"{ended.model}@{ended.version}"):
        facts = models.reproduce(platform, version)
        assert facts["equal"] and facts["records_equal"], facts


def test_what_a_shipped_task_forgets_is_told_by_class(platform, first, tmp_path):
    """The labels come digit by digit, and nothing is replayed, so what was learned first is lost."""
    spec, ended = train(platform, target(tmp_path, "digits", "forgetful"))
    curves = {name: dict(of) for name, of in run_table.curves(platform.log, spec.run).items()}
    tested = {f"test.recall.{e.label}" for e in _split(platform, "test")}
    recalls = {name: of for name, of in curves.items() if name.startswith("test.recall.")}
    assert recalls.keys() == tested and len(tested) > 4
    best = dict.fromkeys(recalls, 0.0)
    for step, told in curves["test.forgetting"].items():
        lost = [max(0.0, best[name] - of[step]) for name, of in recalls.items()]
        assert told == pytest.approx(sum(lost) / len(lost)), step
        best = {name: max(best[name], of[step]) for name, of in recalls.items()}
    most = max(best, key=lambda name: best[name] - recalls[name][ended.step])
    assert best[most] == 1 and recalls[most][ended.step] == 0 and ended.figures["forgetting"] > 0.2


def _split(platform, split):
    from tidemill_app import datasets

    return datasets.load(platform, "digits@1").examples(split)


def test_a_changed_manifest_or_weight_is_not_loaded(platform, first):
    event = models.find(platform, "digits.weights@1")
    false = ModelPublished(**{f: getattr(event, f) for f in event.__struct_fields__} | {"version_digest": "0" * 64})
    with pytest.raises((IntegrityError, NotFoundError)):
        trained.load(platform, false)


def test_what_cannot_be_is_said_before_a_run_is_told_of(platform, first, tmp_path):
    before = len(run_table.runs(platform.log))
    with pytest.raises(NotFoundError, match="absent"):
        train(platform, target(tmp_path, "absent"))
    with pytest.raises(UserError, match="needs a worker"):
        train(platform, target(tmp_path, "digits"), workers=0)
    assert len(run_table.runs(platform.log)) == before


def test_a_run_augments_as_its_data_set_declares_or_is_refused(platform, first, tmp_path):
    from tidemill_app import datasets

    plain = [{"name": "RandomAffine", "args": {"degrees": 0, "translate": [0.2, 0.2]}}]
    datasets.create(platform, "digits-shifted", datasets.Wanted("digits"))
    _, without = train(platform, target(tmp_path, "digits", "declaring_none"))
    datasets.create(platform, "digits-shifted", datasets.Wanted("digits", augmentation=plain))
    spec, ended = train(platform, target(tmp_path, "digits", "declaring_none"))
    name = f"{ended.model}@{ended.version}"
    assert spec.dataset == "digits-shifted@2" and ended.content_digest != without.content_digest
    said = models.manifest_of(platform, name).params["task"]["fields"]["augmentation"]
    assert said["transforms"] == plain and models.reproduce(platform, name)["equal"]
    before = len(run_table.runs(platform.log))
    for function, says in (("declaring_another", "augments otherwise"), ("taking_none", "the task takes none")):
        with pytest.raises(ConfigError, match=says):
            train(platform, target(tmp_path, "digits", function))
    assert len(run_table.runs(platform.log)) == before


def test_sounds_that_cannot_be_decoded_are_named_before_the_first_step(platform, first, tmp_path):
    from tidemill_app import datasets

    kinds = {"id": "string", "time": "time", "media": "string", "media_type": "string"}
    spec = StreamSpec(name="sounds", fields=tuple(Field(*f) for f in kinds.items()), key="id", time="time", id="id")
    platform.catalogue().declare(spec)
    platform.catalogue().declare_labels("sounds")
    for i in range(20):
        kind = "audio/aac" if i % 2 else "audio/ogg"
        item = {"id": f"s{i}", "time": "2026-01-01T00:00:00Z", "media": f"{i:064}", "media_type": kind}
        platform.log.writer().send(spec.topic, json.dumps(item).encode())
    datasets.create(platform, "sounds", datasets.Wanted("sounds", splits={"train": 0.5, "valid": 0.5}))
    with pytest.raises(ConfigError, match=r"sounds@1: sounds of types that are not decoded.*others: s\d*[13579],"):
        train(platform, target(tmp_path, "digits", "sounds"))


def test_a_run_that_fails_says_so_and_why(platform, first, tmp_path):
    with pytest.raises(TidemillError, match="watched figure"):
        train(platform, target(tmp_path, "digits", "wrong"))
    last = list(run_table.runs(platform.log).values())[-1]
    assert last.now.state == "failed" and "map50" in last.now.reason


def test_servers_pass_over_weights(platform, first):
    from serving.follow import Follower
    from serving.freshness import Freshness
    from serving.plane import DataPlane

    asked = []
    follower = Follower(platform.log, DataPlane(), asked.append, Freshness())
    follower._find_topics()
    assert asked == [] and follower.rejected == {}


def command(stack, *words):
    return cli.run(root, ["--home", str(stack.home.path), *words])


@pytest.fixture(scope="module")
def imported(stack, fresh, tmp_path_factory):
    """A data set on the real broker."""
    name, folder = fresh("digits"), tmp_path_factory.mktemp("imported")
    platform = Platform.open(stack.home.path)
    import_digits(platform, folder, name)
    platform.close()
    return name


def test_the_commands_train_list_show_and_compare(stack, imported, tmp_path, capsys):
    file = target(tmp_path, imported).path
    for function in ("run", "fast"):
        assert command(stack, "train", f"{file}:{function}", "--json") == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [s["run"] for s in said] == [imported, f"{imported}-2"] and said[0]["version"] == "1"
    assert command(stack, "run", "list", "--json") == 0
    assert {r["run"] for r in json.loads(capsys.readouterr().out)} >= {imported, f"{imported}-2"}
    assert command(stack, "run", "show", imported) == 0
    assert "test.accuracy" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert command(stack, "run", "compare", imported, f"{imported}-2", "--page", str(page)) == 0
    assert "optimiser.rate" in capsys.readouterr().out and "<svg" in page.read_text()
    assert command(stack, "run", "show", "absent") == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
def test_torchrun_begins_killed_workers_anew(stack, imported, tmp_path, capfd, workers):
    file = target(tmp_path, imported).path
    assert command(stack, "train", f"{file}:killed", "--workers", str(workers), "--json") == 0
    ended = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert ended["state"] == "finished"
    platform = Platform.open(stack.home.path)
    states = [event.state for event in _changes(platform, ended["run"])]
    platform.close()
    assert (states[0], states[-1]) == ("started", "finished")
    assert set(states[1:-1]) == {"resumed"}, "no worker was killed, or none began anew"
    folder = stack.home.path / "training" / ended["run"]
    from training.checkpoint import Checkpoints

    checkpoint, _ = Checkpoints(folder / "checkpoints").newest()
    uses = Ledger(folder / "ledger", checkpoint.ledger).uses().tolist()
    assert sorted(map(tuple, uses)) == sorted((i, e) for e in range(3) for i in {u[0] for u in uses})
    assert len(uses) == checkpoint.uses
    assert training_run.RESTARTS > 2
