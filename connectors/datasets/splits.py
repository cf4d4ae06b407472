"""Which split an example belongs to: a function of its group's key, the same everywhere and for ever."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.errors import ConfigError
from tidemill.hashing import xxh64
from tidemill.stream import check_name


def check_splits(splits: Mapping[str, float]) -> None:
    """Raises `ConfigError` where shares are not positive numbers that sum to 1, `DeclarationError` for an odd name."""
    for name in splits:
        check_name(name, "split")
    total = sum(splits.values())
    if not splits or not all(0 < share <= 1 for share in splits.values()) or not math.isclose(total, 1, abs_tol=1e-9):
        shown = ", ".join(f"{name}={share:g}" for name, share in splits.items()) or "none"
        raise ConfigError("splits do not share out the whole", wanted="positive shares that sum to 1", got=shown)


def split_of(key: str, splits: Mapping[str, float], salt: str = "") -> str:
    """The split of the group `key`.

    With u = xxh64(salt, `/`, key) / 2⁶⁴, which is even over [0, 1), it is the first name in alphabetical order at which
    the sum of shares passes u. So a group is in one split whatever else there is, a new example never moves an old
    one, and shares are met within about sqrt(share / groups). Another `salt` is another draw.
    """
    u = xxh64(f"{salt}/{key}".encode()) / 2.0**64
    names = sorted(splits)
    passed = 0.0
    for name in names[:-1]:
        passed += splits[name]
        if u < passed:
            return name
    return names[-1]


@dataclass(frozen=True)
class SplitRule:
    """What a data set declares of groups and splits, for any item of its project, of a version or newer than all.

    `by` is the field whose text keeps a group together (empty: each item for itself), `fixed` one that names the split
    outright (empty: none); `splits` and `salt` as in `split_of`.
    """

    splits: Mapping[str, float]
    by: str = ""
    fixed: str = ""
    salt: str = ""

    def group(self, payload: Mapping[str, Any]) -> str:
        """The key of the item's group; empty where it has none."""
        return _text(payload.get(self.by)) if self.by else ""

    def split(self, id: str, payload: Mapping[str, Any]) -> str:
        """The split of item `id`."""
        said = _text(payload.get(self.fixed)) if self.fixed else ""
        return said if said in self.splits else split_of(self.group(payload) or id, self.splits, self.salt)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)
