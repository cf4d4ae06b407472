"""What differs between two versions of a data set."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.datasets.examples import Example


def difference(one: Iterable[Example], other: Iterable[Example]) -> dict[str, list[str]]:
    """Ids, sorted, under `added` and `removed`, and of examples in both `labels` (the label changed), `splits` (moved
    to another) and `content` (bytes or fields changed)."""
    before, after = ({e.id: e for e in examples} for examples in (one, other))
    both = sorted(before.keys() & after.keys())
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "labels": [i for i in both if before[i].label != after[i].label],
        "splits": [i for i in both if before[i].split != after[i].split],
        "content": [i for i in both if (before[i].media, before[i].payload) != (after[i].media, after[i].payload)],
    }
