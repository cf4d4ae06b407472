"""Transcriptions of several annotators merged: how many words are wrong, beside crowd-kit's ROVER.

The truth are 400 messages of sms_spam of 5 to 40 words. What annotators made of them is drawn here, for the data folder
has no open set of it. Of a word an annotator leaves out a letter, doubles one or puts another in its place, drops the
word, or writes the word before it again; how often is the annotator's own: five of them, at 4, 8, 12, 20 and 30 % of
words. Both merge the same answers, in the same order, all annotators weighing alike; with the job's own weights
(`weighted`: how far answers agree) it is a figure of its own. Word error rate: edit distance in words ÷ words.

Of boxes crowd-kit 1.4.2 has no aggregation that ours could be held against: they have no peer here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import compare, measure
from benchmarks.patch_features import FOLDER as FASHION
from benchmarks.peers.environment import environment
from streams.labelling.answers import Order
from streams.labelling.classes import Change
from streams.labelling.merged import Merging
from streams.labelling.texts import distance, merge_texts
from tidemill.label_events import LabelSchema

FOLDER = FASHION.parent / "sms_spam"
ITEMS, RATES = 400, (0.04, 0.08, 0.12, 0.2, 0.3)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def truth() -> list[str]:
    lines = (FOLDER / "SMSSpamCollection").read_text().splitlines()[1:]
    texts = [" ".join(line.partition("\t")[2].split()) for line in lines]
    return [text for text in texts if 5 <= len(text.split()) <= 40][:ITEMS]


def heard(text: str, rate: float, rng: np.random.Generator) -> str:
    """What an annotator who errs in `rate` of the words makes of a text."""
    out: list[str] = []
    for word in text.split():
        if rng.random() >= rate:
            out.append(word)
            continue
        kind, at = int(rng.integers(5)), int(rng.integers(len(word)))
        if kind == 0:
            out.append((word[:at] + word[at + 1 :]) or word)
        elif kind == 1:
            out.append(word[:at] + word[at] + word[at:])
        elif kind == 2:
            out.append(word[:at] + LETTERS[int(rng.integers(26))] + word[at + 1 :])
        elif kind == 3 and out:
            out += [word, out[-1]]
        # else the word is left out
    return " ".join(out)


def answers(texts: list[str]) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [[heard(text, rate, rng) for rate in RATES] for text in texts]


def errors(found: list[str], texts: list[str]) -> float:
    """The word error rate over all texts together."""
    wrong = sum(distance(a.split(), b.split()) for a, b in zip(found, texts, strict=True))
    return wrong / sum(len(text.split()) for text in texts)


def weighted(given: list[list[str]]) -> list[str]:
    """As the job merges with method `weighted`, once estimated."""
    merging = Merging(LabelSchema(kind="transcription", medium="audio"), "weighted", 1.0)
    n, k = len(given), len(RATES)
    item, who = (part.ravel() for part in np.indices((n, k)))
    merging.apply([Change(row, row // k, row % k, given[row // k][row % k]) for row in range(n * k)])
    merging.estimate(Order(np.arange(n), np.arange(k), np.arange(n * k), item, who))
    return [str(found.value) for found in merging.found(range(n))]


def main() -> None:
    if not FOLDER.is_dir():
        print("transcripts: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    texts = truth()
    given = answers(texts)
    script = str(Path(__file__).parent / "peers" / "crowd_texts.py")
    words = [environment("labels"), script]
    told = json.loads(subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, check=True).stdout)
    began = time.perf_counter()
    ours = [merge_texts(one, [1.0] * len(one)).value for one in given]
    seconds = time.perf_counter() - began
    same = float(np.mean([a == b for a, b in zip(ours, told["texts"], strict=True)]))
    alone = [errors([one[i] for one in given], texts) for i in range(len(RATES))]
    said = (
        f"{len(texts)} messages, 5 annotators who err by themselves {', '.join(f'{e:.3f}' for e in alone)}; "
        f"the same text in {same:.3f} of items; seconds {seconds:.2f}, theirs {told['seconds']:.2f}"
    )
    compare(
        "transcripts",
        ours=lambda: errors(ours, texts),
        theirs=lambda: errors(told["texts"], texts),
        check=lambda: None,
        peer="crowd-kit 1.4.2 ROVER",
        unit="word error rate",
        workload=said,
        better="lower",
        runs=1,
        warmup=0,
    )
    measure(
        "transcripts_weighted",
        lambda: errors(weighted(given), texts),
        unit="word error rate",
        workload="the same, annotators weighed by how far they agree",
        better="lower",
    )


if __name__ == "__main__":
    main()
