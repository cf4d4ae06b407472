"""PyTorch's own DataLoader over examples and labels: a run's order and pixels for any number of workers and ranks."""

from collections import Counter, defaultdict

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from tests.training.toy import Collecting, Toy  # noqa: E402
from tests.training.toy_continual import Listed  # noqa: E402
from tests.training.toy_run import digits  # noqa: E402
from tidemill.errors import ConfigError  # noqa: E402
from training.loader import Loader, Request  # noqa: E402
from training.order import EpochOrder, Place, share  # noqa: E402
from training.torch_data import LabelDataset, VersionDataset  # noqa: E402

EXAMPLES, STORE = digits(110)
BATCH, SEED = 16, 5

pytestmark = [
    # Of a process that forks though it has threads, as torch's DataLoader does, Python 3.12 warns; torch, of few CPUs.
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def fetch(number):
    return STORE[EXAMPLES[number].media]


def dataset(**settings):
    return VersionDataset(EXAMPLES, fetch, Toy(), **{"batch": BATCH, "seed": SEED} | settings)


def loaded(data, workers, **settings):
    settings = {"batch_size": data.batch_size, "collate_fn": Toy().collate} | settings
    return DataLoader(data, num_workers=workers, **settings)


def of_a_run(epoch, rank=0, world=1):
    """The batches that a run's worker has of an epoch."""
    order, loader = EpochOrder(len(EXAMPLES), BATCH, 1, SEED), Loader(Toy(), EXAMPLES, fetch, seed=SEED)
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return [loader.make(Request(share(order.global_batch(s)[1], rank, world).tolist(), epoch))["x"] for s in steps]


def same(found, wanted):
    return len(found) == len(wanted) and all(torch.equal(a["x"], b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_batches_are_a_run_s_in_its_order_whatever_the_workers(workers):
    data = dataset()
    for epoch in (0, 1):
        data.set_epoch(epoch)
        assert same(list(loaded(data, workers)), of_a_run(epoch))


def test_workers_that_live_on_see_the_epoch_that_is_set():
    data = dataset()
    loader = loaded(data, 2, persistent_workers=True)
    for epoch in (0, 3):
        data.set_epoch(epoch)
        assert same(list(loader), of_a_run(epoch))


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_have_their_shares(workers):
    for rank in (0, 1):
        assert same(list(loaded(dataset(rank=rank, world=2), workers)), of_a_run(0, rank, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_from_a_place_in_the_middle(workers):
    data = dataset()
    data.set_epoch(1)
    assert data.place(3) == Place(1, 48) and data.place(7) == Place(2, 0)
    again = dataset()
    again.set_epoch(*data.place(3))
    assert same(list(loaded(again, workers)), of_a_run(1)[3:])
    assert again.place(2) == Place(1, 80)


def test_with_another_batch_size_each_example_comes_once():
    data = dataset(augmented=False)
    assert same(
        list(loaded(data, 0, batch_size=200)),
        [Toy().collate([Toy().decode(e, fetch(i), None) for i, e in enumerate(EXAMPLES)])["x"]],
    )
    wanted = Counter(str(e.label) for e in EXAMPLES)
    found = Counter(str(int(y)) for batch in loaded(data, 3, batch_size=7) for y in batch["y"])
    assert found == wanted


def test_a_worker_collects_nothing_that_this_process_left(garbage):
    data = VersionDataset(EXAMPLES, fetch, Collecting(), batch=BATCH)
    assert len(list(loaded(data, 1))) == 7


def test_what_cannot_be_dealt_out_is_refused():
    with pytest.raises(ConfigError, match="multiple of the 3 ranks"):
        dataset(rank=0, world=3)
    with pytest.raises(ConfigError, match="no such rank"):
        dataset(rank=2, world=2)
    with pytest.raises(ConfigError, match="no such place"):
        dataset().set_epoch(0, 7)


class Part(Listed):
    """Of the labels in turns, those of every `of`th partition."""

    def __init__(self, index, of):
        super().__init__()
        self.labels = [one for one in self.labels if one.partition % of == index]

    def begin(self, offsets):
        behind = {s.partition: s.next for s in offsets}
        self.labels = [one for one in self.labels if one.offset >= behind.get(one.partition, 0)]
        self.at = 0


def tail(spans=(), **settings):
    return LabelDataset(
        Part, lambda e: STORE[e.media], Toy(), topic="labels.digits", spans=spans, seed=SEED, **settings
    )


def read(data, workers):
    """What comes, by place; and the order within each partition."""
    seen, order = {}, defaultdict(list)
    for batch in DataLoader(data, batch_size=8, num_workers=workers, collate_fn=data.collate):
        for x, p, o in zip(batch.sample["x"], batch.partition.tolist(), batch.offset.tolist(), strict=True):
            assert (p, o) not in seen
            seen[p, o] = x.numpy().tobytes()
            order[p].append(o)
        data.learned(batch)
    assert all(offsets == sorted(offsets) for offsets in order.values())
    return seen


def test_each_label_comes_once_with_the_same_pixels_for_any_number_of_workers():
    wanted = read(tail(), 0)
    assert len(wanted) == 100
    for workers in (1, 2, 3):
        assert read(tail(), workers) == wanted
    halves = [read(tail(rank=rank, world=2), 0) for rank in (0, 1)]
    assert halves[0] | halves[1] == wanted and not halves[0].keys() & halves[1].keys()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_tail_goes_on_behind_what_was_learned(workers):
    whole, data = read(tail(), 0), tail()
    first = {}
    for number, batch in enumerate(DataLoader(data, batch_size=8, num_workers=2, collate_fn=data.collate)):
        if number == 5:
            break  # prefetched, and not learned
        data.learned(batch)
        first |= dict.fromkeys(zip(batch.partition.tolist(), batch.offset.tolist(), strict=True))
    rest = read(tail(data.spans), workers)
    assert len(first) == 40 and not first.keys() & rest.keys() and first.keys() | rest.keys() == whole.keys()
    assert all(whole[place] == pixels for place, pixels in rest.items())
