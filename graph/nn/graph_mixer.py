"""GraphMixer: links by mixing what is known of recent ones, without memory or attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graph.nn.link_stream import LinkDecoder, LinkStream, built, log_rates, rows_of, told_of_links
from tidemill.errors import ConfigError


class FixedTimeEncoding(nn.Module):
    """Φ(Δt) = cos(ω log(1 + Δt)) with ω of `log_rates`, not learned. (…) → (…, size).

    With `log` false cos(ω Δt), ωᵢ = α^(−(i−1)/β), i = 1 … size, α = β = √size, as published.
    """

    rates: Tensor

    def __init__(self, size: int, log: bool = True) -> None:
        super().__init__()
        base, self.log = float(size) ** 0.5, log
        published = base ** (-torch.arange(size, dtype=torch.float32) / base)
        self.register_buffer("rates", log_rates(size) if log else published)

    def forward(self, ago: Tensor) -> Tensor:
        return torch.cos((torch.log1p(ago) if self.log else ago).unsqueeze(-1) * self.rates)


class MixerLayer(nn.Module):
    """H (…, k, C) → H' with H₁ = H + W₂ GELU(W₁ LN(H)) across the k links, H' = H₁ + W₄ GELU(W₃ LN(H₁)) across the
    C channels.

    Tolstikhin et al., *MLP-Mixer: an all-MLP architecture for vision*, NeurIPS 2021.
    """

    def __init__(self, k: int, width: int) -> None:
        super().__init__()
        self.links, self.channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across = nn.Sequential(nn.Linear(k, max(k // 2, 1)), nn.GELU(), nn.Linear(max(k // 2, 1), k))
        self.within = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(self.links(x).transpose(-1, -2)).transpose(-1, -2)
        out: Tensor = x + self.within(self.channels(x))
        return out


class MixerNetwork(nn.Module):
    """Link encoder, node encoder, link classifier.

    Of each node at time t: its k most recent links, [direction; Φ(t − tⱼ); features] of each, zeros for those it lacks,
    through `MixerLayer` and the mean of the k; beside that vᵢ and the mean of vⱼ of the same links.
    """

    def __init__(self, k: int, features: int, time: int, width: int, pairs: bool, log: bool, edge: int) -> None:
        super().__init__()
        self.time = FixedTimeEncoding(time, log)
        self.link, self.mixer, self.norm = nn.Linear(time + 1 + edge, width), MixerLayer(k, width), nn.LayerNorm(width)
        self.own, self.near = nn.Linear(features, width), nn.Linear(features, width, bias=False)
        self.mixed = nn.Linear(width, width, bias=False)
        self.decoder = LinkDecoder(width, width, 2 * width if pairs else 0)

    def forward(self, told: Mapping[str, Tensor]) -> Tensor:
        there = (told["near"] > 0).unsqueeze(-1)
        tokens = self.link(told_of_links(told, self.time)) * there
        links = self.norm(self.mixer(tokens)).mean(2)
        v = told["features"]
        near = rows_of(self.near(v), told["near"]).sum(2) / there.sum(2).clamp(min=1)
        out: Tensor = self.decoder(rows_of(self.own(v), told["nodes"]) + near + self.mixed(links), told, tokens)
        return out


class GraphMixer(LinkStream):
    """Cong et al., *Do we really need complicated model architectures for temporal networks?*, ICLR 2023.

    Its whole past is the graph: a score is a function of the weights and of what happened before the time asked about.
    Nodes have no features here, so they get `signs` for v.
    """

    def __init__(
        self,
        *,
        time: int = 16,
        width: int = 32,
        k: int = 10,
        features: int = 64,
        negatives: int = 10,
        strangers: float = 0.1,
        rate: float = 0.003,
        decay: float = 1e-4,
        group: int = 50,
        seed: int = 0,
        frozen: bool = False,
        pairs: bool = True,
        log: bool = True,
        edge: int = 0,
    ) -> None:
        if min(time, width, k, features) < 1 or edge < 0:
            got = f"time={time}, width={width}, k={k}, features={features}, edge={edge}"
            raise ConfigError(
                "a network of links cannot be built so", where="GraphMixer", wanted="sizes from 1, edge from 0", got=got
            )
        self.time, self.width = time, width
        super().__init__(
            built(lambda: MixerNetwork(k, features, time, width, pairs, log, edge), seed),
            k=k,
            features=features,
            negatives=negatives,
            strangers=strangers,
            rate=rate,
            decay=decay,
            group=group,
            seed=seed,
            frozen=frozen,
            pairs=pairs,
            log=log,
            edge=edge,
        )

    def params(self) -> dict[str, Any]:
        return super().params() | {"time": self.time, "width": self.width}
