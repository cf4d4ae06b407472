"""Mammography: how odd is each of 11,183 findings? The detector learns without labels; they only measure it.

The data (OpenML 310: `X`, 6 numbers, and `y`, 1 for the 260 odd ones) has no time: a second a row stands for it.

    python -c "import csv, sys, numpy as np; d = np.load('mammography.npz'); w = csv.writer(sys.stdout)
    w.writerow([*(f'x{j}' for j in range(6)), 'odd', 'at'])
    w.writerows([*map(float, x), int(y), i] for i, (x, y) in enumerate(zip(d['X'], d['y'])))" > mammography.csv
    tidemill stream create mammography --infer mammography.csv --time at --time-unit s --label odd
    tidemill publish mammography mammography.csv
    tidemill submit examples/mammography/job.py
"""

from streams.anomaly import anomaly_detector
from tidemill.stream import Field, StreamSpec

FEATURES = [f"x{j}" for j in range(6)]


def job():
    return anomaly_detector(name="oddness", stream="mammography", features=FEATURES, label="odd", positive=1)


def streams():
    fields = (*(Field(name, "float") for name in FEATURES), Field("odd", "int"), Field("at", "time"))
    return {"mammography": StreamSpec(name="mammography", fields=fields, time="at", time_unit="s", label="odd")}
