"""Boxes, transcriptions and ratings through the job: to consensus, revised, and the same in any order."""

import random

import numpy as np
import pytest

from streams.labelling.answers import Answers
from streams.labelling.classes import Change
from streams.labelling.consensus import consensus
from streams.labelling.merged import Merging
from streams.labelling.reading import read_schema
from tests.streams.labelling.crowds import (
    ASKED,
    answer,
    batch,
    labels,
    last,
    project,
    reviewed,
    rows,
    schema,
    stamped,
    withdrawn,
)
from tests.streams.labelling.test_consensus import run
from tidemill.checks.jobs import check_job

A, B = ["jay", 10.0, 10.0, 20.0, 20.0], ["wren", 60.0, 60.0, 10.0, 10.0]
KINDS = ("boxes", "transcription", "rating")


def value(kind, item, good, rng):
    if kind == "rating":
        return min(max(item % 5 + 1 + (0 if good else rng.choice([-2, 2])), 1), 5)
    if kind == "transcription":
        words = f"the number {item} is an even one".split()
        return " ".join(w if good or rng.random() < 0.6 else w.upper() for w in words)
    boxes = [["jay", 40.0 * i, 10.0, 20.0, 20.0] for i in range(item % 3 + 1)]
    return [[c, x + rng.uniform(-2, 2), y, w, h] for c, x, y, w, h in boxes if good or rng.random() < 0.5]


def crowd(kind, seed=1, items=12):
    rng = random.Random(seed)
    events = []
    for item in range(items):
        for who in range(5):
            events.append(answer(f"t{item}", f"w{who}", value(kind, item, who != 0, rng)))
    rng.shuffle(events)
    events += [withdrawn("t1", "w2"), answer("t2", "w0", value(kind, 2, True, rng)), reviewed("t3", events[0]["value"])]
    return events


def start(kind):
    return project("jay", "wren", kind=kind, overlap=(2, 4), sure=0.9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["majority", "weighted"])
def test_any_order_and_repetition_end_alike(kind, method):
    first, *others = stamped([start(kind), *crowd(kind)])
    want = run([first, *others, ASKED], method=method)
    assert want.dead == [] and len(labels(want)) == 12
    for seed in range(4):
        again = [*others, *random.Random(seed).sample(others, 20)]
        random.Random(seed).shuffle(again)
        got = run([first, *again, ASKED], method=method, every=[10_000, 7][seed % 2])
        assert (last(got), labels(got)) == (last(want), labels(want))


@pytest.mark.parametrize("kind", KINDS)
def test_the_job_laws_hold(kind):
    job = consensus(project="birds", method="weighted", every=15, growth=0.0, quiet=20.0)
    check_job(job, batch([start(kind), *crowd(kind, items=8), ASKED, *crowd(kind, 2, items=5)]))


def test_boxes_come_to_consensus_and_are_reviewed():
    near = [["jay", 12.0, 10.0, 20.0, 20.0]]
    effects = run([start("boxes"), answer("t", "a", [A]), answer("t", "b", near)])
    assert labels(effects)["t"] == [["jay", 11.0, 10.0, 20.0, 20.0]]
    effects = run([start("boxes"), answer("t", "a", [A]), answer("t", "b", near), answer("t", "c", [A, B])])
    assert labels(effects) == {} and last(effects)["t"]["confidence"] < 0.9  # is there a wren? two of three saw none
    effects = run([start("boxes"), answer("t", "a", [A]), answer("t", "b", [A]), reviewed("t", [A, B])])
    assert labels(effects)["t"] == [A, B] and last(effects)["t"]["confidence"] == 1.0


def test_a_hair_of_a_corner_is_no_revision_until_asked():
    hair = [["jay", 10.2, 10.0, 20.0, 20.0]]
    events = [start("boxes"), answer("t", "a", [A]), answer("t", "b", [A]), answer("t", "c", hair)]
    assert rows(run(events), "revised") == []
    (revised,) = rows(run([*events, ASKED]), "revised")
    assert revised["before"] == [A] and revised["value"][0][1] == pytest.approx(10.07, abs=0.01)


def test_merged_classes_of_boxes():
    merged = project("jay", "wren", kind="boxes", version=2, overlap=(2, 4), sure=0.9, into={"jay": "wren"})
    effects = run([start("boxes"), answer("t", "a", [A]), answer("t", "b", [A]), merged])
    assert labels(effects)["t"] == [["wren", *A[1:]]]


def test_poor_annotators_weigh_less_and_bias_is_found():
    beliefs, table = Merging(read_schema(schema(kind="rating")), "weighted", 1.0), Answers()
    rng, changes = np.random.default_rng(3), []
    for i in range(80):
        level = i % 4 + 1
        for who, given in enumerate([level, level, level + 1, int(rng.integers(1, 6))]):
            item = table.item_of(f"t{i:02}")
            row = table.put(item, f"w{who}", given, (i, ""))
            changes.append(Change(row, item, table.who[row], given))
    beliefs.apply(changes)
    beliefs.estimate(table.order())
    found = beliefs.found(range(80))
    assert np.mean([found[i].value == i % 4 + 1 for i in range(80)]) > 0.95
    skills = beliefs.skills()
    assert skills[3] < skills[0] - 0.1 and abs(beliefs.state()["sums"][2, 2] / 80 - 1) < 0.1
