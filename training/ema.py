"""The exponential moving average of a network's weights: less noisy than the weights of any one step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from training.tensors import Tensors, weights_of


class Ema:
    """`average ← d · average + (1 − d) · weights` after each step, with d = min(decay, (1 + t) / (10 + t)) at update t,
    so that the first weights are soon forgotten. Counts and other whole numbers are copied, and so are buffers.

    Source: Polyak and Juditsky, *Acceleration of stochastic approximation by averaging*, 1992; the rule for d is
    TensorFlow's `ExponentialMovingAverage(num_updates=)`.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self._averaged = {name for name, _ in model.named_parameters()}
        self.tensors: Tensors = weights_of(model)

    def update(self, model: torch.nn.Module, updates: int) -> None:
        """Take in the weights after update number `updates` (from 1)."""
        d = min(self.decay, (1 + updates) / (10 + updates))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name in self._averaged and value.is_floating_point():
                    self.tensors[name].mul_(d).add_(value, alpha=1 - d)
                else:
                    self.tensors[name].copy_(value)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, value in self.tensors.items():
            value.copy_(tensors[name])
