"""The bytes of a data set's examples in one file, so that reading one is no opening of a file of its own.

`DIGEST.pack` is the bytes one after the other, `DIGEST.places` where each begins (64-bit, little-endian; one more for
the end), by the examples' order. A pack is a copy of what the artefact store holds, made anew where it is missing. An
example with `media` has every read checked against that digest, so a damaged pack is noticed and never learned from.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from connectors.datasets.examples import Example
from tidemill.errors import DigestError
from training.durable import sync_folder

Fetch = Callable[[Example], bytes]


class Pack:
    """Bytes by an example's number. Made once, then mapped into memory, which processes share."""

    def __init__(self, folder: Path, name: str, examples: Sequence[Example], fetch: Fetch) -> None:
        self._examples = examples
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._index = folder / f"{name}.pack", folder / f"{name}.places"
        if not self._fits():
            self._make(fetch)
        self._places = np.fromfile(self._index, "<i8")
        self._data: mmap.mmap | bytes = b""
        if self._places[-1]:
            with open(self._file, "rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def get(self, number: int) -> bytes:
        """The bytes of example `number`. Raises `DigestError` where they are not what the example names."""
        data = self._data[self._places[number] : self._places[number + 1]]
        wanted = self._examples[number].media
        if wanted and (got := sha256(data).hexdigest()) != wanted:
            raise DigestError(
                "a packed example is damaged",
                where=f"{self._file}, example {self._examples[number].id}",
                wanted=wanted,
                got=got,
                fix=f"Delete {self._file}; it is made anew.",
            )
        return data

    def _fits(self) -> bool:
        try:
            places = np.fromfile(self._index, "<i8")
            return len(places) == len(self._examples) + 1 and int(places[-1]) == self._file.stat().st_size
        except OSError:
            return False

    def _make(self, fetch: Fetch) -> None:
        places, at = [0], 0
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with open(part, "wb") as out:
            for example in self._examples:
                at += out.write(fetch(example))
                places.append(at)
            out.flush()
            os.fsync(out.fileno())
        index = self._index.with_name(f".{self._index.name}.{os.getpid()}")
        np.asarray(places, "<i8").tofile(index)
        os.replace(part, self._file)
        os.replace(index, self._index)
        sync_folder(self._file.parent)
