"""Transcriptions of several annotators become one: words are aligned and voted on, as in ROVER.

Texts are taken up one after another into a row of slots, by the alignment of least edit distance; a slot holds the
words that annotators put there, or nothing. The word of the greatest weight wins each slot (of equal ones the longest),
and the confidence of the text is the product of the shares of the winners. Where there is no word to part by (one word,
or a script without spaces), characters are aligned instead. An annotator's skill is 1 − (edit distance to the merged
text) / (longer one).

Source: Fiscus, *A post-processing system to yield reduced word error rates: ROVER*, ASRU 1997 (crowd-kit's `ROVER`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from streams.labelling.boxes import Merged

LONGEST = 2_000
"""Of longer texts, in tokens, the one that most wrote is taken whole: alignment grows with the square."""

_NOTHING = ""


def tokens_of(texts: Sequence[str]) -> tuple[list[list[str]], str]:
    """The texts in words, or in characters where none has two words; and what joins them again."""
    words = [text.split() for text in texts]
    if any(len(part) > 1 for part in words):
        return words, " "
    return [list(text.strip()) for text in texts], ""


def align(slots: Sequence[Sequence[str]], tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of slot and token (−1: none) in order, by the fewest insertions, deletions and changes. A token fits a slot
    that holds it, and none fits one that holds nothing."""
    n, m = len(slots), len(tokens)
    skip = [_NOTHING not in slot for slot in slots]
    cost = [list(range(m + 1))]
    for i in range(1, n + 1):
        before, slot, passed = cost[i - 1], slots[i - 1], skip[i - 1]
        row = [before[0] + passed]
        for j in range(1, m + 1):
            change = before[j - 1] + (tokens[j - 1] not in slot)
            row.append(min(change, before[j] + passed, row[j - 1] + 1))
        cost.append(row)
    pairs, i, j = [], n, m
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (tokens[j - 1] not in slots[i - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + skip[i - 1]:
            i -= 1
            pairs.append((i, -1))
        else:
            j -= 1
            pairs.append((-1, j))
    return pairs[::-1]


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The edit distance of two rows of tokens."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (one != other))
    return row[-1]


def merge_texts(answers: Sequence[str], weights: Sequence[float]) -> Merged:
    """One text from those of several annotators, with weights > 0. The result depends on the order of answers."""
    total = sum(weights)
    same: dict[str, float] = {}
    for text, weight in zip(answers, weights, strict=True):
        same[text] = same.get(text, 0.0) + weight
    whole = max(sorted(same), key=same.__getitem__)
    parts, space = tokens_of(answers)
    if same[whole] > total / 2 or max(map(len, parts), default=0) > LONGEST:
        merged, sure = whole, same[whole] / total
    else:
        merged, sure = _voted(parts, weights, space)
    tokens = tokens_of([merged, *answers])[0]
    agreement = []
    for own in tokens[1:]:
        longer = max(len(own), len(tokens[0]))
        far = longer if longer > LONGEST and own != tokens[0] else 0 if own == tokens[0] else distance(own, tokens[0])
        agreement.append((1.0 - far / longer if longer else 1.0, 1.0))
    shown = dict(sorted(((t, w / total) for t, w in same.items()), key=lambda pair: -pair[1])[:5])
    return Merged(merged, sure, {t[:80]: round(p, 6) for t, p in shown.items()}, agreement)


def _voted(parts: Sequence[Sequence[str]], weights: Sequence[float], space: str) -> tuple[str, float]:
    slots: list[dict[str, float]] = []
    before = 0.0
    for tokens, weight in zip(parts, weights, strict=True):
        made: list[dict[str, float]] = []
        for i, j in align([tuple(slot) for slot in slots], tokens):
            slot = slots[i] if i >= 0 else {_NOTHING: before} if before else {}
            word = tokens[j] if j >= 0 else _NOTHING
            slot[word] = slot.get(word, 0.0) + weight
            made.append(slot)
        slots, before = made, before + weight
    total = sum(weights)
    # Of equal weight the longest: what is left out is wrong more often than what is put in.
    best = [max((weight, len(word), word) for word, weight in slot.items())[2] for slot in slots]
    return space.join(word for word in best if word), prod(
        slot[word] / total for slot, word in zip(slots, best, strict=True)
    )
