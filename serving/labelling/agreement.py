"""How far annotators agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha.

Sources: J. Cohen, A coefficient of agreement for nominal scales, 1960; J. L. Fleiss, Measuring nominal scale agreement
among many raters, 1971; K. Krippendorff, Computing Krippendorff's alpha-reliability, 2011.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

MAX_VALUES = 1500
"""Distinct values whose distances are all measured; of more, so many are taken evenly."""


def cohen(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two annotators: (p_o - p_e) / (1 - p_e), with p_o the share of equal pairs and p_e that of
    equal ones were both to answer by their own frequencies. None without pairs, or where p_e is 1."""
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(left[c] * right[c] for c in left) / n**2
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def fleiss(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Fleiss' kappa of items that several annotators answered, of the most frequent number of answers (items with
    another number have no place in the formula). None without two such items, or without two classes."""
    sizes = Counter(len(u) for u in units if len(u) > 1)
    if not sizes:
        return None
    n = max(sizes, key=lambda size: (sizes[size], size))
    counts = [Counter(u) for u in units if len(u) == n]
    if len(counts) < 2:
        return None
    agreed = sum((sum(c * c for c in one.values()) - n) / (n * (n - 1)) for one in counts) / len(counts)
    total: Counter[Hashable] = Counter()
    for one in counts:
        total.update(one)
    expected = sum((c / (n * len(counts))) ** 2 for c in total.values())
    return None if expected >= 1 else (agreed - expected) / (1 - expected)


def krippendorff(
    units: Sequence[Sequence[Any]], distance: Callable[[Any, Any], float] = lambda a, b: float(a != b)
) -> float | None:
    """Krippendorff's alpha, 1 - D_o / D_e, under any `distance` in [0, 1]; D_o is the mean distance of answers to one
    item, D_e that of answers to any. None without an item that two answered, or where all answers are one."""
    paired = [list(u) for u in units if len(u) > 1]
    n = sum(len(u) for u in paired)
    if not n:
        return None
    observed = 0.0
    for unit in paired:
        apart = sum(distance(a, b) for i, a in enumerate(unit) for b in unit[i + 1 :])
        observed += 2 * apart / (len(unit) - 1)
    observed /= n
    values, counts = _distinct([v for u in paired for v in u])
    total = sum(counts)
    apart = sum(
        counts[i] * counts[j] * distance(values[i], values[j])
        for i in range(len(values))
        for j in range(i + 1, len(values))
    )
    expected = 2 * apart / (total * (total - 1)) if total > 1 else 0.0
    return None if expected == 0 else 1 - observed / expected


def _distinct(values: list[Any]) -> tuple[list[Any], list[int]]:
    """Distinct values and how often each is there; unhashable ones are told apart by how they are written."""
    seen: dict[str, list[Any]] = {}
    for value in values:
        seen.setdefault(repr(value), []).append(value)
    groups = list(seen.values())
    if len(groups) > MAX_VALUES:
        step = len(groups) / MAX_VALUES
        groups = [groups[int(i * step)] for i in range(MAX_VALUES)]
    return [g[0] for g in groups], [len(g) for g in groups]


def confusion(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> list[list[int]]:
    """Counts by (true class, answered class), in the order of `classes`; what is none of them is left out."""
    at = {c: i for i, c in enumerate(classes)}
    table = [[0] * len(classes) for _ in classes]
    for true, said in pairs:
        if true in at and said in at:
            table[at[true]][at[said]] += 1
    return table
