"""The loader: the same pixels for any number of processes and workers, errors by name, no process left behind."""

import os
from hashlib import sha256

import pytest

torch = pytest.importorskip("torch")

from tests.training.toy import Collecting, Toy  # noqa: E402
from tests.training.toy_run import digits  # noqa: E402
from tidemill.errors import MalformedError, TidemillError, UnavailableError  # noqa: E402
from training.loader import Loader, Request  # noqa: E402
from training.order import EpochOrder, share  # noqa: E402

EXAMPLES, STORE = digits(120)


def fetch(number):
    return STORE[EXAMPLES[number].media]


def digest_of(processes, workers=1, batch=16):
    """The digest of every sample's pixels in two epochs, by example: of `workers` that each load their share."""
    order, pixels = EpochOrder(len(EXAMPLES), batch, 2, seed=5), {}
    for worker in range(workers):
        loader = Loader(Toy(), EXAMPLES, fetch, seed=5, processes=processes)
        wanted = [
            Request(share(items, worker, workers).tolist(), epoch)
            for epoch, items in map(order.global_batch, range(order.steps))
        ]
        for request, made in zip(wanted, loader.batches(wanted), strict=True):
            for number, x in zip(request.items, made["x"], strict=True):
                pixels[request.epoch, number] = x.numpy().tobytes()
    assert len(pixels) == 2 * len(EXAMPLES)
    return sha256(b"".join(pixels[key] for key in sorted(pixels))).hexdigest()


def test_pixels_are_the_same_for_any_number_of_processes_and_workers():
    wanted = digest_of(0)
    assert [digest_of(p, w) for p, w in ((1, 1), (2, 1), (4, 1), (0, 2), (2, 2), (1, 4))] == [wanted] * 6
    assert digest_of(0, batch=50) == wanted


def test_an_epoch_augments_anew_and_none_leaves_as_it_is():
    loader = Loader(Toy(), EXAMPLES, fetch, seed=5)
    plain, first, second = (loader.make(Request(list(range(50)), epoch))["x"] for epoch in (None, 0, 1))
    assert not torch.equal(first, second) and not torch.equal(first, plain)
    assert torch.equal(plain, loader.make(Request(list(range(50)), None))["x"])


def test_a_process_collects_nothing_that_the_other_left(garbage):
    loader = Loader(Collecting(), EXAMPLES, fetch, processes=1)
    assert len(list(loader.batches([Request([0, 1], 0)]))) == 1


class Odd(Toy):
    """Refuses one example, and dies at another."""

    def decode(self, example, data, rng):
        if example.id == "d7":
            raise MalformedError("no image", got="a text")
        if example.id == "d8":
            os._exit(3)
        if example.id == "d9":
            raise ValueError("odd")
        return super().decode(example, data, rng)


@pytest.mark.parametrize("processes", [0, 2])
def test_what_cannot_be_decoded_is_raised_and_the_example_named(processes):
    loader = Loader(Odd(), EXAMPLES, fetch, processes=processes)
    batches = loader.batches([Request([1, 2], 0), Request([3, 7], 0)])
    assert len(next(batches)["y"]) == 2
    with pytest.raises(MalformedError, match=r"example 'd7' at data.digits/0/7: no image; got a text. Retract it"):
        next(batches)


def test_an_error_of_the_tasks_own_is_named_and_a_death_too():
    with pytest.raises(TidemillError, match="ValueError: odd"):
        list(Loader(Odd(), EXAMPLES, fetch, processes=1).batches([Request([9], 0)]))
    with pytest.raises(UnavailableError, match="was ended"):
        list(Loader(Odd(), EXAMPLES, fetch, processes=1).batches([Request([8], 0)]))


def test_a_batch_larger_than_the_room_comes_whole(monkeypatch):
    import training.loader

    monkeypatch.setattr(training.loader, "SLOT_BYTES", 4096)
    wanted = Request(list(range(100)), 0)
    (made,) = Loader(Toy(), EXAMPLES, fetch, seed=5, processes=1).batches([wanted])
    assert torch.equal(made["x"], Loader(Toy(), EXAMPLES, fetch, seed=5).make(wanted)["x"])


def test_processes_end_where_nobody_reads_on():
    loader = Loader(Toy(), EXAMPLES, fetch, processes=2)
    batches = loader.batches(Request([i % 100], 0) for i in range(1000))
    next(batches)
    pids = [process._pid for process in loader._processes]
    assert len(pids) == 2
    batches.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
