"""What may be part of a saved River estimator: the allow-list, by name."""

from __future__ import annotations

import collections
import copy
import functools
import importlib
import math
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from tidemill.errors import IntegrityError

FORMAT = 1

# Parts of River that read files, fetch data or drive other code have no place in a model; Thompson sampling draws from
# distributions whose generators are not kept (`save._NEVER_DRAWN`).
_CLOSED = (
    *(f"river.{part}" for part in ("api", "checks", "datasets", "evaluate", "stream")),
    *(f"river.bandit.{part}" for part in ("datasets", "envs", "evaluate", "thompson")),
)
STD_CALLABLES: dict[str, Any] = {
    f"{value.__module__}:{value.__qualname__}": value
    for value in (bool, bytes, dict, float, frozenset, int, list, set, str, tuple, abs, len, max, min, round, sum)
} | {
    "copy:deepcopy": copy.deepcopy,
    "collections:Counter": collections.Counter,
    "collections:OrderedDict": collections.OrderedDict,
    "collections:defaultdict": collections.defaultdict,
    "collections:deque": collections.deque,
    **{f"math:{name}": getattr(math, name) for name in ("exp", "log", "log1p", "log2", "log10", "sqrt", "tanh")},
}
_STD_NAMES = {id(value): name for name, value in STD_CALLABLES.items()}
BIT_GENERATORS = {"MT19937": np.random.MT19937, "PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM}
BASES = (dict, list, set, collections.deque)


def name_of(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def resolve(name: Any) -> Any:
    """The allowed class or function called `module:qualname`."""
    if not isinstance(name, str) or name.count(":") != 1:
        raise IntegrityError("not a name of a class", got=repr(name))
    if name in STD_CALLABLES:
        return STD_CALLABLES[name]
    module, _, path = name.partition(":")
    closed = any(module == part or module.startswith(part + ".") for part in _CLOSED)
    if not module.startswith("river.") or closed:
        raise IntegrityError(f"{name} is not allowed in a saved estimator", wanted="River's own classes")
    thing: Any
    if module.startswith("river._river_rust."):
        # Submodules of a native module are attributes, not files.
        importlib.import_module("river")
        thing = functools.reduce(getattr, module.split(".")[1:], importlib.import_module("river"))
    else:
        thing = importlib.import_module(module)
    for part in path.split("."):
        if part.startswith("__"):
            raise IntegrityError(f"{name} is not allowed in a saved estimator")
        thing = getattr(thing, part)
    kinds = (type, types.BuiltinFunctionType if is_native(thing) else types.FunctionType)
    if not isinstance(thing, kinds) or name_of(thing) != name:
        raise IntegrityError(f"{name} is not a class or function of River's")
    return thing


def allowed(thing: Any) -> str | None:
    """The name by which `thing` can be saved, if it can."""
    if id(thing) in _STD_NAMES:
        return _STD_NAMES[id(thing)]
    try:
        return name_of(thing) if resolve(name_of(thing)) is thing else None
    except (AttributeError, ImportError, IntegrityError):
        return None


def slots(cls: type) -> Iterator[tuple[type, str]]:
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__"):
                yield base, f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") else name


def is_native(thing: Any) -> bool:
    """Whether `thing` is of River's compiled part."""
    return (thing.__module__ or "").startswith("river._river_rust.")
