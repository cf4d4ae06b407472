"""An item of `data.<project>` as an example that has no label yet."""

from __future__ import annotations

from connectors.datasets.assembling import Found
from connectors.datasets.examples import Example


def example_of(topic: str, found: Found) -> Example:
    """The example of an item where it stands; of no split but `train`."""
    said = {name: str(found.payload.get(name) or "") for name in ("media", "media_type", "group")}
    return Example(
        topic,
        found.partition,
        found.offset,
        found.id,
        said["media"],
        said["media_type"],
        found.payload,
        None,
        said["group"],
        "train",
        found.row,
    )
