"""Weights and optimiser states as safetensors and plain data: no pickle, and equal tensors give equal bytes.

Source of the format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from tidemill.errors import IncompatibleError, MalformedError

Tensors = dict[str, torch.Tensor]


def to_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Canonical bytes of named tensors, whatever device they are on; tied ones are written for each name."""
    plain = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    data: bytes = save(plain)
    return data


def from_bytes(data: bytes) -> Tensors:
    """Raises `MalformedError` where the bytes are no safetensors."""
    try:
        found: Tensors = load(data)
        return found
    except (SafetensorError, ValueError, KeyError) as error:
        raise MalformedError("not safetensors", got=str(error)) from None


def weights_of(model: torch.nn.Module) -> Tensors:
    """A copy of a network's parameters and persistent buffers, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def load_weights(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises `IncompatibleError` naming what is missing, too many, or of another shape."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != given:
        odd = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise IncompatibleError(
            "the weights are another network's",
            wanted=", ".join(f"{name} {wanted.get(name, 'absent')}" for name in odd[:5]),
            got=", ".join(f"{name} {given.get(name, 'absent')}" for name in odd[:5]),
        )
    model.load_state_dict(dict(tensors))


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Its state by parameter number and name: tensors, and plain values. The settings of its groups are not in it: they
    are the configuration's."""
    tensors: Tensors = {}
    plain: dict[str, Any] = {}
    for number, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            where: dict[str, Any] = tensors if isinstance(value, torch.Tensor) else plain
            where[f"{number}.{name}"] = value
    return tensors, plain


def load_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]
) -> None:
    """Puts back what `optimiser_state` gave."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **plain}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
