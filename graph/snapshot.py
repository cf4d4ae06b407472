"""A graph kept in a folder as it lies in memory, and taken up again by mapping it: no work for each edge."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from graph.store import TemporalGraph
from tidemill.errors import DigestError, IncompatibleError, MalformedError, NotFoundError, UserError
from tidemill.state import digest

_MANIFEST = "graph.json"
_FORMAT = 1


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`files` maps the parts to the SHA-256 of their files."""

    clock: int
    types: dict[str, Any]
    offsets: dict[str, int]
    files: dict[str, str]
    barriers: list[str] = []
    format: int = _FORMAT


def snapshot(graph: TemporalGraph, folder: Path) -> None:
    """Write the graph into `folder`, which is made: it is there whole or not at all, as of `graph.offsets`.

    Nothing is added meanwhile; queries go on until something waits to be added. Raises `UserError` where `folder` is
    there already.
    """
    if folder.exists():
        raise UserError("is there already", where=str(folder), wanted="a folder that is not there yet")
    made = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        with graph.held() as parts:
            files = {name: _keep(made / f"{name}.npy", array) for name, array in parts.items()}
            manifest = _Manifest(
                types=graph.params(),
                clock=graph.clock,
                offsets=dict(graph.offsets),
                files=files,
                barriers=graph.barriers,
            )
        (made / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted")))
        for path in (made / _MANIFEST, made):
            _sync(path)
        made.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def restore(graph: TemporalGraph, folder: Path, *, check: bool = False) -> None:
    """Take up the graph in `folder`, in one of the same types to which nothing has come. Its files are mapped
    privately: read as they are needed, and never written. With `check` they are read at once.

    Raises `NotFoundError`; `MalformedError` where it is no snapshot; `IncompatibleError` where the types are others;
    with `check`, `DigestError` where a file is not what was written.
    """
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=_Manifest)
        for name in manifest.files:
            if Path(name).name != name:
                raise ValueError(f"a file out of the folder: {name!r}")
            if check and (got := digest((folder / f"{name}.npy").read_bytes())) != manifest.files[name]:
                raise DigestError("not what was written", where=f"{folder}: {name}", got=got)
        parts = {name: _mapped(folder / f"{name}.npy") for name in manifest.files}
    except FileNotFoundError as error:
        raise NotFoundError("no snapshot of a graph", where=str(folder), got=str(error)) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedError("not a snapshot of a graph", where=str(folder), got=str(error)) from None
    if manifest.format != _FORMAT:
        raise IncompatibleError("another format", where=str(folder), wanted=str(_FORMAT), got=str(manifest.format))
    graph.check_types(manifest.types)
    graph.take(parts, manifest.clock, manifest.offsets, manifest.barriers)


def _keep(path: Path, array: NDArray[np.generic]) -> str:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    _sync(path)
    return digest(path.read_bytes())


def _mapped(path: Path) -> NDArray[np.generic]:
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
