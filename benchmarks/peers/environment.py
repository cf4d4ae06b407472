"""Peers live in environments of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-peers"


def environment(name: str) -> Path:
    """The Python of a peer's environment, made from `benchmarks/peers/<name>.lock` where it is not there yet."""
    lock, folder = ROOT / "benchmarks" / "peers" / f"{name}.lock", ENVIRONMENTS / name
    made, python = folder / "made-from.lock", folder / "bin" / "python"
    if not made.exists() or made.read_bytes() != lock.read_bytes():
        print(f"installing {name} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", lock], check=True)
        made.write_bytes(lock.read_bytes())
    return python
