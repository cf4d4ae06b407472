"""What a run learned, label by label, and that no candidate is judged by any of it: of continual runs above all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

from connectors.images import encoded
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import UserError
from tidemill.version import Span
from tidemill_app import datasets, models, trained
from tidemill_app.commands.gate import said
from tidemill_app.dataset_import import import_
from tidemill_app.dataset_retract import retract
from tidemill_app.gating import Asked, gate
from tidemill_app.job_file import Target
from tidemill_app.learned import learned
from tidemill_app.training_run import train

RUN = """
from training.config import Continual, Dataset, Optimiser, Training
from training.tasks.classification import ImageClassification


def made(name, **data):
    task = ImageClassification(classes=tuple("0123456789"), size=8, width=8, dropout=0.0)
    data = Continual(project="digits", fresh=8, replay=24, **data)
    optimiser = Optimiser(rate=0.01)
    return Training(name=name, model="digits", task=task, data=data, batch=32, threads=1, optimiser=optimiser)


def held_out():
    return made("held-out", dataset="digits@1", until_end=True)


def unnamed():
    return made("unnamed", until_end=True)


def begun():
    return made("begun", steps=10)
"""

SPLITS = {"train": 0.6, "test": 0.4}


def bring(platform, folder: Path, first: int, end: int, project: str = "digits") -> None:
    """Import digits `first` to `end` − 1 with their labels: those that are there already are left as they are."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for i in range(first, end):
        place = folder / project / str(found.target[i])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:04}.png").write_bytes(encoded((found.images[i] * 15).astype("uint8")))
    import_(platform, project, folder / project)


def weights(platform, folder: Path, function: str) -> str:
    """`NAME@VERSION` of what the run made."""
    (folder / "run.py").write_text(RUN)
    _, ended = train(platform, Target((folder / "run.py").resolve(), function))
    return f"{ended.model}@{ended.version}"


def learned_by(platform, name: str) -> set[str]:
    training, _, manifest = trained.load(platform, models.find(platform, name))
    found = learned(platform, training, manifest.lineage)
    assert {topic for topic, _ in found} == {"data.digits"}
    return {id for _, id in found}


def ids(examples) -> set[str]:
    return {e.id for e in examples}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """200 labels, of which digits@1 is made, then 100 that come later; three runs; and 60 labels after them all."""
    folder = tmp_path_factory.mktemp("learned")
    platform = memory_platform(folder)
    bring(platform, folder, 0, 200)
    datasets.create(platform, "digits", datasets.Wanted("digits", splits=SPLITS))
    bring(platform, folder, 200, 300)
    datasets.create(platform, "later", datasets.Wanted("digits", splits=SPLITS))
    runs = {name: weights(platform, folder, name) for name in ("held_out", "unnamed", "begun")}
    bring(platform, folder, 300, 360)
    return platform, runs


def test_what_belongs_to_the_test_split_is_never_learned_however_new(world):
    """digits@1 knows 200 items; of the 100 that came later, the rule that it declares says which are for the test."""
    platform, runs = world
    later = datasets.load(platform, "later@1")
    test = ids(later.examples("test"))
    assert len(test - ids(datasets.load(platform, "digits@1").examples())) > 20
    assert learned_by(platform, runs["held_out"]) == ids(later.examples("train"))
    assert models.reproduce(platform, runs["held_out"])["equal"]


def test_what_a_run_learned_are_the_labels_in_its_segments_and_no_others(world):
    platform, runs = world
    assert learned_by(platform, runs["unnamed"]) == ids(datasets.load(platform, "later@1").examples())
    assert len(learned_by(platform, runs["begun"])) == 80
    training, _, manifest = trained.load(platform, models.find(platform, runs["unnamed"]))
    whole = manifest.lineage.segments
    assert sum(s.next - s.first for s in whole) == 300
    first = whole[0]
    holes = [Span(first.topic, first.partition, at, at + 1) for at in (first.first + 3, first.first, first.first + 2)]
    few = learned(platform, training, msgspec.structs.replace(manifest.lineage, segments=holes))
    assert len(few) == 3 and few <= learned(platform, training, manifest.lineage)
    assert learned(platform, training, msgspec.structs.replace(manifest.lineage, segments=[])) == set()


def test_a_continual_run_is_judged_by_the_test_part_and_by_what_it_has_not_learned(world):
    platform, runs = world
    decided = gate(platform, runs["held_out"], Asked(model="held"))
    assert decided.accepted, decided
    checks = {c["check"]: c for c in decided.checks}
    test = datasets.load(platform, "digits@1").examples("test")
    assert checks["test"]["items"] == len(test) and checks["test"]["learned"] == 0
    now = ids(datasets.load(platform, "digits.newest").examples())
    unlearned = now - learned_by(platform, runs["held_out"]) - ids(test)
    assert len(now) == 360 and checks["newest"]["items"] == len(unlearned) > 60
    assert "newest" not in {c["check"] for c in gate(platform, runs["held_out"], Asked(newest=False)).checks}
    with pytest.raises(UserError, match=f"tidemill model reproduce {runs['held_out']}"):
        models.reproduce(platform, "held@1")  # made of weights, which are what a run learned


def test_items_of_the_test_part_that_were_learned_are_taken_out_and_counted(world):
    platform, runs = world
    test = ids(datasets.load(platform, "digits@1").examples("test"))
    known = learned_by(platform, runs["begun"]) & test
    assert 0 < len(known) < len(test)
    decided = gate(platform, runs["begun"], Asked(model="partly", test="digits@1"))
    check = next(c for c in decided.checks if c["check"] == "test")
    assert (check["items"], check["learned"]) == (len(test) - len(known), len(known))
    told = f"test is without {len(known)} of {len(test)} items, which the candidate learned from"
    assert told in decided.reasons and told in said(decided)


def test_where_nothing_is_left_to_judge_by_it_says_so(world):
    platform, runs = world
    with pytest.raises(UserError, match="learned from every item"):
        gate(platform, runs["unnamed"], Asked(model="all", test="digits@1"))
    with pytest.raises(UserError, match="no data set to judge by") as refused:
        gate(platform, runs["unnamed"], Asked(model="all"))
    assert "--test NAME@VERSION" in str(refused.value) and "labels.digits" in str(refused.value)


def test_of_the_same_id_in_another_project_nothing_was_learned(world, tmp_path):
    platform, runs = world
    bring(platform, tmp_path, 0, 40, "twins")
    datasets.create(platform, "twins", datasets.Wanted("twins", splits={"test": 1.0}))
    twins = datasets.load(platform, "twins@1").examples("test")
    assert ids(twins) <= learned_by(platform, runs["unnamed"])
    decided = gate(platform, runs["unnamed"], Asked(model="twins", test="twins@1", newest=False))
    check = next(c for c in decided.checks if c["check"] == "test")
    assert (check["items"], check["learned"]) == (len(twins), 0)


def test_a_version_is_made_again_though_an_item_that_it_learned_from_was_retracted_since(world):
    platform, runs = world
    item = min(learned_by(platform, runs["unnamed"]))
    saw = retract(platform, "digits", item, label_only=False, reason="blurred")
    assert saw["new"] and runs["unnamed"] in saw["models"]
    facts = models.reproduce(platform, runs["unnamed"])
    assert facts["equal"] and facts["records_equal"], facts
