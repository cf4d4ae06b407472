"""A training loop of one's own in PyTorch, over a version and over the tail of labels: the page's lines, executed."""

import re

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from tests.house.test_layout import ROOT  # noqa: E402
from tests.tidemill_app.dataset_project import class_folders  # noqa: E402
from tests.tidemill_app.in_memory import memory_platform  # noqa: E402
from tidemill.errors import ConfigError  # noqa: E402
from tidemill_app import datasets  # noqa: E402
from tidemill_app.dataset_import import import_  # noqa: E402
from tidemill_app.torch_data import label_dataset, version_dataset  # noqa: E402
from tidemill_app.wiring import Platform  # noqa: E402
from training.augmentation import augmentation  # noqa: E402
from training.tasks.classification import ImageClassification  # noqa: E402

TASK = ImageClassification(classes=("cat", "dog", "hen"), size=16)
FLIP = augmentation(("RandomHorizontalFlip", {"p": 1.0}))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture
def platform(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in", 30, splits=True), partitions=3)
    datasets.create(platform, "pets", datasets.Wanted("pets", fixed="split"))
    return platform


def test_the_lines_of_the_page_run(platform, monkeypatch):
    page = (ROOT / "docs/training.md").read_text()
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "version_dataset" in b)
    monkeypatch.setattr(Platform, "open", lambda home, needs=(): platform)
    learned = []
    space = {"home": None, "learn": learned.append}
    exec(compile(block, "docs/training.md", "exec"), space)  # noqa: S102
    assert sum(len(labels) for _, labels in learned) == 10 * 20 + 20
    assert {s.partition for s in space["tail"].spans} <= {0, 1, 2} and len(space["tail"].spans) > 1


def test_a_version_augments_as_it_declares(platform):
    wanted = datasets.Wanted("pets", fixed="split", augmentation=FLIP.plain())
    datasets.create(platform, "flipped", wanted)
    plain = list(version_dataset(platform, "pets@1", TASK, batch=4, augmented=False))
    flipped = dict(zip((s.item.flip(2).numpy().tobytes() for s in plain), plain, strict=True))
    found = list(version_dataset(platform, "flipped", TASK, batch=4))
    assert {s.item.numpy().tobytes() for s in found} == flipped.keys() and len(found) == 20
    other = ImageClassification(classes=TASK.classes, size=16, augmentation=augmentation("RandomInvert"))
    with pytest.raises(ConfigError, match="augments otherwise"):
        version_dataset(platform, "flipped", other)


def test_the_tail_leaves_the_test_out_and_goes_on(platform):
    tail = label_dataset(platform, "pets", TASK, dataset="pets@1", until_end=True)
    come = next(iter(DataLoader(tail, batch_size=8, collate_fn=tail.collate)))
    tail.learned(come)
    rest = list(label_dataset(platform, "pets", TASK, dataset="pets@1", until_end=True, spans=tail.spans))
    assert len(come.offset) + len(rest) == 20


@pytest.mark.stack
def test_workers_of_a_loader_read_the_broker_each_its_partitions(stack, fresh, tmp_path):
    name, platform = fresh("pets"), Platform.open(stack.home.path)
    try:
        import_(platform, name, class_folders(tmp_path / "in", 30), partitions=3)
        tail = label_dataset(platform, name, TASK, until_end=True)
        seen = []
        for batch in DataLoader(tail, batch_size=4, num_workers=2, collate_fn=tail.collate):
            seen += zip(batch.partition.tolist(), batch.offset.tolist(), strict=True)
            tail.learned(batch)
        assert len(seen) == len(set(seen)) == 30
        assert list(label_dataset(platform, name, TASK, until_end=True, spans=tail.spans)) == []
    finally:
        platform.close()
