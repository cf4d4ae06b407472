"""Texts that are alike are those that comparing each with each would find, and the cost stays bounded."""

import random

import pytest

from connectors.datasets import near_texts as module
from connectors.datasets.near_texts import near_texts

WORDS = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(300)]


def pairs(text):
    words = text.split()
    return set(zip(["", *words[:-1]], words, strict=True))


def by_brute_force(texts, threshold):
    sets, top = [pairs(text) for text in texts], list(range(len(texts)))
    for i, a in enumerate(sets):
        for j in range(i):
            if len(a & sets[j]) / len(a | sets[j]) >= threshold:
                low, high = sorted((top[i], top[j]))
                top = [low if t == high else t for t in top]
    groups = {}
    for i, t in enumerate(top):
        groups.setdefault(t, []).append(i)
    return [rows for rows in groups.values() if len(rows) > 1]


def mutated(n, seed, share=0.04):
    """Texts of six to forty words, many of one origin with some words changed."""
    rng = random.Random(seed)
    origins = [rng.choices(WORDS, k=rng.randint(6, 40)) for _ in range(n // 4)]
    return [" ".join(w if rng.random() > share else rng.choice(WORDS) for w in rng.choice(origins)) for _ in range(n)]


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.9])
def test_it_finds_what_comparing_each_with_each_finds(threshold):
    for seed in range(3):
        texts = mutated(160, seed)
        found = near_texts(texts, threshold)
        assert found and found == by_brute_force(texts, threshold)


def test_case_signs_and_which_digits_make_no_difference_and_no_word_is_like_none():
    texts = [
        "Call 0800 123 NOW!",
        "call 0900 999 now",
        "call me now",
        "",
        "...",
        "今日は良い天気です",
        "今日は良い天気でした",
    ]
    assert near_texts(texts, 0.6) == [[0, 1], [5, 6]]


def test_the_same_texts_give_the_same_groups_in_any_order():
    texts = mutated(200, 9)
    order = list(range(200))
    random.Random(1).shuffle(order)
    there = near_texts([texts[i] for i in order])
    assert sorted(sorted(order[k] for k in rows) for rows in there) == near_texts(texts)


def test_so_many_pairs_are_compared_exactly_and_of_more_the_hashes_say(monkeypatch):
    """Whatever comes: here all texts share most bands."""
    counted = []
    monkeypatch.setattr(module, "jaccard", lambda a, b: counted.append(1) or 0.0)
    rng = random.Random(3)
    same = " ".join(rng.choices(WORDS, k=30))
    texts = [f"{same} {' '.join(rng.choices(WORDS, k=3))}" for _ in range(300)]
    assert near_texts(texts) == [] and len(counted) <= 300 * module.WINDOW * module.BANDS
    counted.clear()
    monkeypatch.setattr(module, "MOST_EXACT", 1000)
    assert near_texts(texts) == [list(range(300))] and len(counted) == 1000
