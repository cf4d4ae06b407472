"""Files and folders that are there whole or not at all, also after the machine stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write a file under a name of its own, have it on the disk, then give it its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    _write(part, data)
    os.replace(part, path)
    sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files at once: no reader sees some of them. One of that name is replaced."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, data in files.items():
        _write(part / name, data)
    sync_folder(part)
    shutil.rmtree(path, ignore_errors=True)
    os.rename(part, path)
    sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove what was half-written when its writer died."""
    for part in folder.glob(".*"):
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk."""
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
