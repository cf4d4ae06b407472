"""The peer of `benchmarks/transcripts.py`: crowd-kit's ROVER, as it comes.

Reads `[[text of an annotator, ...] of an item, ...]` on standard input; writes the text that it makes of each, and the
seconds that all took.
"""

import json
import sys
import time

import pandas as pd
from crowdkit.aggregation import ROVER


def main() -> None:
    items = json.load(sys.stdin)
    rows = [(i, who, text) for i, texts in enumerate(items) for who, text in enumerate(texts)]
    answers = pd.DataFrame(rows, columns=["task", "worker", "text"])
    began = time.perf_counter()
    found = ROVER(tokenizer=str.split, detokenizer=" ".join).fit_predict(answers)
    json.dump({"texts": found.sort_index().tolist(), "seconds": time.perf_counter() - began}, sys.stdout)


main()
