"""The peer of `benchmarks/consensus.py`: crowd-kit's aggregations, as they come.

Reads `{"answers": FILE.csv, "truth": FILE.csv, "methods": [names], "counts": [n, ...]}` on standard input. Writes of
every method: the accuracy of its labels, that of its probabilities with ties shared (of the most probable classes of an
item each counts alike: which of them `idxmax` takes depends on the order of pandas' columns), and the seconds that one
fit takes on the first n answers, for every n. `DawidSkene to its end` is `DawidSkene` without its stopping rule.

crowd-kit 1.4.2's `Wawa.predict` fails with scikit-learn 1.9 (it asks for tags that the class does not have); its
`fit`, and the weighted vote that `predict` does, are called by themselves.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
from crowdkit.aggregation import DawidSkene, MajorityVote, OneCoinDawidSkene, Wawa  # noqa: E402


def wawa(answers):
    skills = Wawa().fit(answers).skills_
    return MajorityVote().fit(answers, skills)


METHODS = {
    "MajorityVote": lambda answers: MajorityVote().fit(answers),
    "Wawa": wawa,
    "DawidSkene": lambda answers: DawidSkene().fit(answers),
    "DawidSkene to its end": lambda answers: DawidSkene(n_iter=100, tol=-np.inf).fit(answers),
    "OneCoinDawidSkene": lambda answers: OneCoinDawidSkene().fit(answers),
}


def shared(model, truth) -> float:
    probabilities = model.probas_.reindex(truth.index)
    best = np.isclose(probabilities.to_numpy(), probabilities.max(axis=1).to_numpy()[:, None], rtol=0, atol=1e-9)
    right = probabilities.columns.to_numpy()[None, :] == truth.to_numpy()[:, None]
    return float(((best & right).sum(1) / best.sum(1)).mean())


def main() -> None:
    asked = json.load(sys.stdin)
    answers = pd.read_csv(asked["answers"]).rename(columns={"answer": "label"})
    truth = pd.read_csv(asked["truth"]).set_index("task").truth
    out = {}
    for name in asked["methods"]:
        model = METHODS[name](answers)
        accuracy = float((model.labels_.reindex(truth.index) == truth).mean())
        seconds = []
        for n in asked["counts"]:
            began = time.perf_counter()
            METHODS[name](answers.iloc[:n])
            seconds.append(time.perf_counter() - began)
        out[name] = {"accuracy": accuracy, "shared": shared(model, truth), "seconds": seconds}
    json.dump(out, sys.stdout)


main()
