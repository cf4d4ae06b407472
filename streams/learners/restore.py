"""Rebuilding a River estimator from what `streams.learners.save` took down, running nothing that it names."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import math
import random
import statistics
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from river._river_rust.vectordict import VectorDict

from streams.learners.allow import BASES, BIT_GENERATORS, FORMAT, STD_CALLABLES, allowed, is_native, resolve
from tidemill.errors import IntegrityError


def decode(data: Any) -> Any:
    """The object graph that `encode` took down. Raises `IntegrityError` on anything off the allow-list or malformed."""
    try:
        return _Decoder(data).run()
    except IntegrityError:
        raise
    except (ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError("saved estimator is malformed", got=f"{type(error).__name__}: {error}") from error


class _Decoder:
    """Makes all changeable things empty first, then what needs its parts to exist, then fills the former."""

    def __init__(self, data: Any) -> None:
        if not isinstance(data, dict) or set(data) != {"format", "nodes", "root"} or data["format"] != FORMAT:
            raise IntegrityError("not a saved estimator", wanted=f"format {FORMAT}", got=str(data)[:60])
        self.nodes: list[Any] = data["nodes"]
        self.root = data["root"]
        self.made: dict[int, Any] = {}
        self.open: set[int] = set()

    def run(self) -> Any:
        for index, node in enumerate(self.nodes):
            shell = _SHELLS.get(node[0])
            if shell is not None:
                self.made[index] = shell(self, node)
        for index in range(len(self.nodes)):
            self.thing(index)
        for index, node in enumerate(self.nodes):
            fill = _FILLS.get(node[0])
            if fill is not None:
                fill(self, self.made[index], node)
        return self.value(self.root)

    def value(self, encoded: Any) -> Any:
        if not isinstance(encoded, (list, tuple)):
            return encoded
        if encoded[0] == "int":
            return int(encoded[1], 16)
        return self.thing(encoded[0])

    def values(self, encoded: Any) -> list[Any]:
        return [self.value(item) for item in encoded]

    def pairs(self, encoded: Any) -> Iterator[tuple[Any, Any]]:
        return ((self.value(key), self.value(item)) for key, item in encoded)

    def thing(self, index: int) -> Any:
        if index not in self.made:
            if index in self.open or not 0 <= index < len(self.nodes):
                raise IntegrityError("saved estimator points in a circle or outside itself", got=str(index))
            self.open.add(index)
            node = self.nodes[index]
            if node[0] not in _BUILDS:
                raise IntegrityError("saved estimator holds an unknown kind of node", got=repr(node[0]))
            self.made[index] = _BUILDS[node[0]](self, node)
        return self.made[index]


def _river_class(name: Any) -> type:
    cls = resolve(name)
    if not isinstance(cls, type) or name in STD_CALLABLES:
        raise IntegrityError(f"{name} is not a class of River's")
    return cls


def _shell_object(decoder: _Decoder, node: list[Any]) -> Any:
    cls = _river_class(node[1])
    if issubclass(cls, tuple) or is_native(cls):
        raise IntegrityError(f"{node[1]} cannot be made this way")
    for base in (*BASES, object):
        if issubclass(cls, base):
            return base.__new__(cls)
    raise AssertionError  # every class is an object


def _fill_object(decoder: _Decoder, thing: Any, node: list[Any]) -> None:
    if isinstance(thing, dict):
        for key, value in decoder.pairs(node[3]):
            dict.__setitem__(thing, key, value)
    elif isinstance(thing, set):
        set.update(thing, decoder.values(node[3]))
    elif isinstance(thing, list):
        list.extend(thing, decoder.values(node[3]))
    elif isinstance(thing, collections.deque):
        collections.deque.extend(thing, decoder.values(node[3]))
    for key, value in node[2]:
        if key.startswith("__") and key.endswith("__"):
            raise IntegrityError("saved estimator sets a special attribute", got=key)
        object.__setattr__(thing, key, decoder.value(value))


def _build_named(decoder: _Decoder, node: list[Any]) -> Any:
    cls = _river_class(node[1])
    if not issubclass(cls, tuple):
        raise IntegrityError(f"{node[1]} is not a tuple")
    return tuple.__new__(cls, decoder.values(node[2]))


def _build_native(decoder: _Decoder, node: list[Any]) -> Any:
    cls = _river_class(node[1])
    if not is_native(cls) or not isinstance(node[3], bytes):
        raise IntegrityError(f"{node[1]} is not a native class of River's")
    thing = cls(*decoder.values(node[2]))
    try:
        thing.__setstate__(node[3])
    except BaseException as error:  # a panic in native code is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise IntegrityError(f"state of {node[1]} is malformed", got=str(error)) from error
    return thing


def _build_method(decoder: _Decoder, node: list[Any]) -> Any:
    owner = decoder.value(node[1])
    function = None if node[2].startswith("__") else getattr(type(owner), node[2], None)
    if not isinstance(function, types.FunctionType) or allowed(type(owner)) is None:
        raise IntegrityError("saved estimator names a method that River does not have", got=str(node[2]))
    return types.MethodType(function, owner)


def _build_partial(decoder: _Decoder, node: list[Any]) -> Any:
    function = decoder.value(node[1])
    return functools.partial(function, *decoder.values(node[2]), **dict(decoder.pairs(node[3])))


def _dtype(text: Any, kinds: str = "biufcSUmM") -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(text)
    if dtype.kind not in kinds:
        raise IntegrityError("saved estimator holds an array of objects as bytes", got=str(dtype))
    return dtype


def _build_array(decoder: _Decoder, node: list[Any]) -> Any:
    return np.frombuffer(node[3], dtype=_dtype(node[1])).reshape(node[2], order=node[4]).copy("K")


def _build_scalar(decoder: _Decoder, node: list[Any]) -> Any:
    return np.frombuffer(node[3], dtype=_dtype(node[1]))[0]


def _shell_objects(decoder: _Decoder, node: list[Any]) -> Any:
    if math.prod(node[1]) != len(node[2]):
        raise IntegrityError("saved estimator holds an array of another size than it says")
    return np.empty(node[1], dtype=object)


def _fill_objects(decoder: _Decoder, thing: Any, node: list[Any]) -> None:
    flat = thing.reshape(-1)
    for i, value in enumerate(decoder.values(node[2])):
        flat[i] = value


def _build_random(decoder: _Decoder, node: list[Any]) -> Any:
    generator = random.Random(0)
    generator.setstate((node[1], tuple(np.frombuffer(node[2], dtype="<u4").tolist()), node[3]))
    return generator


def _build_random_state(decoder: _Decoder, node: list[Any]) -> Any:
    generator = np.random.RandomState(0)
    generator.set_state(("MT19937", np.frombuffer(node[1], dtype="<u4").astype(np.uint32), node[2], node[3], node[4]))
    return generator


def _shell_generator(decoder: _Decoder, node: list[Any]) -> Any:
    return np.random.Generator(BIT_GENERATORS[node[1]](0))


def _fill_generator(decoder: _Decoder, thing: Any, node: list[Any]) -> None:
    thing.bit_generator.state = decoder.value(node[2])


def _fill_pairs(decoder: _Decoder, thing: Any, node: list[Any]) -> None:
    for key, value in decoder.pairs(node[1]):
        thing[key] = value


def _fill_defaultdict(decoder: _Decoder, thing: Any, node: list[Any]) -> None:
    thing.default_factory = decoder.value(node[2])
    _fill_pairs(decoder, thing, node)


_SHELLS: dict[str, Callable[[_Decoder, list[Any]], Any]] = {
    "list": lambda d, n: [],
    "set": lambda d, n: set(),
    "deque": lambda d, n: collections.deque(maxlen=n[2]),
    "dict": lambda d, n: {},
    "ordered": lambda d, n: collections.OrderedDict(),
    "counter": lambda d, n: collections.Counter(),
    "defaultdict": lambda d, n: collections.defaultdict(),
    "object": _shell_object,
    "objects": _shell_objects,
    "generator": _shell_generator,
}
_BUILDS: dict[str, Callable[[_Decoder, list[Any]], Any]] = {
    "tuple": lambda d, n: tuple(d.values(n[1])),
    "frozenset": lambda d, n: frozenset(d.values(n[1])),
    "named": _build_named,
    "array": _build_array,
    "scalar": _build_scalar,
    "callable": lambda d, n: resolve(n[1]),
    "method": _build_method,
    "partial": _build_partial,
    "native": _build_native,
    "vector": lambda d, n: VectorDict(None, d.value(n[2])),
    "random": _build_random,
    "random_state": _build_random_state,
    "normal": lambda d, n: statistics.NormalDist(n[1], n[2]),
    "datetime": lambda d, n: dt.datetime.fromisoformat(n[1]),
    "date": lambda d, n: dt.date.fromisoformat(n[1]),
    "timedelta": lambda d, n: dt.timedelta(n[1], n[2], n[3]),
}
_FILLS: dict[str, Callable[[_Decoder, Any, list[Any]], None]] = {
    "list": lambda d, t, n: t.extend(d.values(n[1])),
    "set": lambda d, t, n: t.update(d.values(n[1])),
    "deque": lambda d, t, n: t.extend(d.values(n[1])),
    "dict": _fill_pairs,
    "ordered": _fill_pairs,
    "counter": _fill_pairs,
    "vector": _fill_pairs,
    "defaultdict": _fill_defaultdict,
    "object": _fill_object,
    "objects": _fill_objects,
    "generator": _fill_generator,
}
