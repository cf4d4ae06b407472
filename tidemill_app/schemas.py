"""The JSON Schemas of the platform's events, one file for each tag in `schemas/`; a test holds them to the code.

`python -m tidemill_app.schemas` writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tidemill.events import json_schemas

FOLDER = Path(__file__).parents[1] / "schemas"


def files() -> dict[str, bytes]:
    """What `schemas/` should hold, by file name."""
    return {
        f"{tag}.json": msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2) + b"\n"
        for tag, schema in json_schemas().items()
    }


def write(folder: Path = FOLDER) -> list[str]:
    """Make `folder` hold exactly that; the names of the files that changed."""
    folder.mkdir(exist_ok=True)
    wanted = files()
    changed = []
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, content in wanted.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            changed.append(name)
    return sorted(changed)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in write()))
