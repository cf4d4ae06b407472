"""Saving the object graph of a River estimator as plain data, and rebuilding it, without running anything it names.

The encoded form is a table of nodes, each a list `[tag, ...]` of msgpack-able values; a node points at another by
index, so shared references and cycles come back as they were. Only what is on the allow-list can be saved or loaded:
River's own classes (made by `__new__`, their attributes set directly), plain containers, numpy arrays and scalars,
random generators, dates, bound methods of River objects, partials of allowed callables, and River's native types by
their own state bytes. Nothing is imported outside `river`, no constructor, `__setstate__` or `__reduce__` of a Python
class is ever run, and a name outside the list is refused (`IntegrityError`).
"""

from __future__ import annotations

import collections
import datetime as dt
import functools
import random
import statistics
import types
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from river._river_rust.vectordict import VectorDict

from streams.learners.allow import BASES, BIT_GENERATORS, FORMAT, STD_CALLABLES, allowed, is_native, name_of, slots
from tidemill.errors import UserError

# What River computes on first use and would compute again: saving it would make predicting change the state.
_DERIVED: dict[str, dict[str, Any]] = {
    "river.compose.pipeline:Pipeline": {"_plan": None, "_inference_transformers": (), "_last_step_cached": None}
}
_DROPPED = {"river.compose.pipeline:Pipeline": {"_last_step_params"}}

# Every distribution of River's carries a generator, seeded by the clock, which only `sample()` draws from, and no
# learner samples. Written as it is, it would make each state a different one, and three kilobytes longer.
_NEVER_DRAWN = random.Random(0)
_RNG_NAMES = {"_rng", "rng", "_salt"}

_REFUSED = {
    "river.feature_extraction.kernel_approx:RandomTreesEmbedding": "it knows its leaves by memory address",
}


class CannotSave(UserError):
    """Part of an estimator is not on the allow-list; the message names the attribute."""


def can_save(estimator: Any) -> str | None:
    """None where `estimator` can be saved structurally, otherwise why not, naming the attribute.

    Looks at the estimator as it is now; some make their parts on first use, so ask again after learning a little.
    """
    try:
        encode(estimator)
    except CannotSave as error:
        return error.message
    return None


def unseeded(estimator: Any) -> str | None:
    """Where `estimator` draws from a generator without a seed, so that its like would learn something else."""
    encoder = _Encoder()
    try:
        encoder.run(estimator)
    except CannotSave:
        pass
    return encoder.unseeded[0] if encoder.unseeded else None


def encode(root: Any) -> dict[str, Any]:
    """The object graph below `root` as plain data. Raises `CannotSave` naming the attribute that does not fit."""
    return _Encoder().run(root)


class _Encoder:
    """Breadth first, so that long chains of nodes need no deep stack."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.seen: dict[int, int] = {}
        self.todo: collections.deque[tuple[int, Any]] = collections.deque()
        self.parents: list[tuple[int, str]] = []
        self.unseeded: list[str] = []
        self.keep: list[Any] = []  # ids stay unique only while the objects live

    def run(self, root: Any) -> dict[str, Any]:
        top = self.value(root, -1, "estimator")
        while self.todo:
            index, thing = self.todo.popleft()
            self.nodes[index] = self.node(thing, index)
        return {"format": FORMAT, "nodes": self.nodes, "root": top}

    def value(self, thing: Any, parent: int, label: str) -> Any:
        """An atom as itself, anything else as `[index]`."""
        kind = type(thing)
        if thing is None or kind in (bool, float, str, bytes):
            return thing
        if kind is int:
            return thing if -(2**63) <= thing < 2**63 else ["int", hex(thing)]
        if id(thing) not in self.seen:
            self.seen[id(thing)] = len(self.nodes)
            self.keep.append(thing)
            self.todo.append((len(self.nodes), thing))
            self.nodes.append(None)
            self.parents.append((parent, label))
        return [self.seen[id(thing)]]

    def path(self, index: int) -> str:
        parts: list[str] = []
        while index >= 0:
            index, label = self.parents[index]
            parts.append(label)
        return "".join(reversed(parts))

    def refuse(self, thing: Any, index: int) -> CannotSave:
        what = getattr(thing, "__qualname__", None) or type(thing).__qualname__
        module = getattr(thing, "__module__", None) or type(thing).__module__
        return CannotSave(f"{self.path(index)} cannot be saved: {module}.{what} is not on the allow-list")

    def many(self, things: Any, index: int) -> list[Any]:
        return [self.value(thing, index, f"[{i}]") for i, thing in enumerate(things)]

    def pairs(self, mapping: Any, index: int) -> list[Any]:
        return [[self.value(k, index, f" key {k!r}"), self.value(v, index, f"[{k!r}]")] for k, v in mapping.items()]

    def unordered(self, things: Any, index: int) -> list[Any]:
        # Hash order differs between processes; where elements have an order of their own, that one is written.
        try:
            things = sorted(things)
        except TypeError:
            things = sorted(things, key=repr) if all(type(t) in (str, int, float, bool) for t in things) else things
        return self.many(things, index)

    def node(self, thing: Any, index: int) -> list[Any]:
        simple = _SIMPLE.get(type(thing))
        if simple is not None:
            return simple(self, thing, index)
        if isinstance(thing, (np.ndarray, np.generic)):
            return self.numpy(thing, index)
        if isinstance(thing, types.MethodType):
            return self.method(thing, index)
        if isinstance(thing, type) or (callable(thing) and hasattr(thing, "__qualname__")):
            name = allowed(thing)
            if name is None:
                raise self.refuse(thing, index)
            return ["callable", name]
        name = allowed(type(thing))
        if name is None or name in STD_CALLABLES:
            raise self.refuse(thing, index)
        return self.native(thing, index, name) if is_native(type(thing)) else self.object(thing, index, name)

    def numpy(self, thing: Any, index: int) -> list[Any]:
        if type(thing) is not np.ndarray and not isinstance(thing, np.generic):
            raise self.refuse(thing, index)
        if thing.dtype.kind == "O":
            return ["objects", list(thing.shape), self.many(thing.reshape(-1).tolist(), index)]
        if thing.dtype.kind not in "biufcSUmM":
            raise self.refuse(thing, index)
        tag = "array" if isinstance(thing, np.ndarray) else "scalar"
        # Linear algebra rounds by memory layout, so that is kept as well.
        order: Literal["F", "C"] = "F" if thing.flags.f_contiguous and not thing.flags.c_contiguous else "C"
        return [tag, thing.dtype.str, list(thing.shape), thing.tobytes(order), order]

    def method(self, thing: types.MethodType, index: int) -> list[Any]:
        owner = type(thing.__self__)
        name = thing.__func__.__name__
        if allowed(owner) is None or getattr(owner, name, None) is not thing.__func__:
            raise self.refuse(thing, index)
        return ["method", self.value(thing.__self__, index, ".__self__"), name]

    def native(self, thing: Any, index: int, name: str) -> list[Any]:
        state = thing.__getstate__()
        if not isinstance(state, bytes):
            raise self.refuse(thing, index)
        arguments = thing.__getnewargs__() if hasattr(thing, "__getnewargs__") else ()
        return ["native", name, self.many(arguments, index), state]

    def object(self, thing: Any, index: int, name: str) -> list[Any]:
        cls = type(thing)
        if name in _REFUSED:
            raise CannotSave(f"{self.path(index)} cannot be saved: {_REFUSED[name]}")
        if isinstance(thing, tuple):
            return ["named", name, self.many(thing, index)]
        attributes = {**getattr(thing, "__dict__", {})}
        for base, slot in slots(cls):
            member = base.__dict__.get(slot)
            if member is not None and hasattr(thing, slot):
                attributes[slot] = getattr(thing, slot)
        attributes |= {key: value for key, value in _derived(cls, _DERIVED).items() if key in attributes}
        for key in _derived(cls, _DROPPED):
            attributes.pop(key, None)
        if attributes.get("seed", 0) is None and (held := _RNG_NAMES & attributes.keys()):
            if cls.__module__.startswith("river.proba."):
                attributes |= dict.fromkeys(held, _NEVER_DRAWN)
            else:
                self.unseeded.append(self.path(index))
        base_items: Any = None
        if isinstance(thing, dict):
            base_items = self.pairs(thing, index)
        elif isinstance(thing, BASES):
            base_items = self.many(thing, index)
        fields = [[key, self.value(value, index, f".{key}")] for key, value in attributes.items()]
        return ["object", name, fields, base_items]


def _derived(cls: type, table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        found |= dict.fromkeys(entry) if isinstance(entry := table.get(name_of(base), {}), set) else entry
    return found


def _encode_random(encoder: _Encoder, thing: random.Random, index: int) -> list[Any]:
    version, words, spare = thing.getstate()
    return ["random", version, np.array(words, dtype="<u4").tobytes(), spare]


def _encode_random_state(encoder: _Encoder, thing: np.random.RandomState, index: int) -> list[Any]:
    state: Any = thing.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise encoder.refuse(thing, index)
    words = np.asarray(state["state"]["key"], dtype="<u4").tobytes()
    return ["random_state", words, int(state["state"]["pos"]), int(state["has_gauss"]), float(state["gauss"])]


def _encode_generator(encoder: _Encoder, thing: np.random.Generator, index: int) -> list[Any]:
    state: Any = thing.bit_generator.state
    if state["bit_generator"] not in BIT_GENERATORS:
        raise encoder.refuse(thing, index)
    encoder.keep.append(state)
    return ["generator", state["bit_generator"], encoder.value(state, index, ".state")]


def _encode_vector(encoder: _Encoder, thing: Any, index: int) -> list[Any]:
    _, (data, factory, mask, *_) = thing.__reduce__()
    if mask is not None:
        raise CannotSave(f"{encoder.path(index)} cannot be saved: it is in the middle of learning")
    return ["vector", encoder.pairs(data, index), encoder.value(factory, index, ".default_factory")]


def _encode_partial(encoder: _Encoder, thing: functools.partial[Any], index: int) -> list[Any]:
    function = encoder.value(thing.func, index, ".func")
    return ["partial", function, encoder.many(thing.args, index), encoder.pairs(thing.keywords, index)]


def _encode_normal(encoder: _Encoder, thing: statistics.NormalDist, index: int) -> list[Any]:
    return ["normal", thing.mean, thing.stdev]


_SIMPLE: dict[type, Callable[[_Encoder, Any, int], list[Any]]] = {
    list: lambda e, t, i: ["list", e.many(t, i)],
    tuple: lambda e, t, i: ["tuple", e.many(t, i)],
    set: lambda e, t, i: ["set", e.unordered(t, i)],
    frozenset: lambda e, t, i: ["frozenset", e.unordered(t, i)],
    collections.deque: lambda e, t, i: ["deque", e.many(t, i), t.maxlen],
    dict: lambda e, t, i: ["dict", e.pairs(t, i)],
    collections.OrderedDict: lambda e, t, i: ["ordered", e.pairs(t, i)],
    collections.Counter: lambda e, t, i: ["counter", e.pairs(t, i)],
    collections.defaultdict: lambda e, t, i: [
        "defaultdict",
        e.pairs(t, i),
        e.value(t.default_factory, i, ".default_factory"),
    ],
    random.Random: _encode_random,
    np.random.RandomState: _encode_random_state,
    np.random.Generator: _encode_generator,
    functools.partial: _encode_partial,
    VectorDict: _encode_vector,
    statistics.NormalDist: _encode_normal,
    dt.datetime: lambda e, t, i: ["datetime", t.isoformat()],
    dt.date: lambda e, t, i: ["date", t.isoformat()],
    dt.timedelta: lambda e, t, i: ["timedelta", t.days, t.seconds, t.microseconds],
}
