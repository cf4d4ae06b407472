"""The learning rate's factor at a step: a function of the step alone, so there is nothing to save but the step."""

from __future__ import annotations

import math

from training.config import Schedule


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at `step` (from 0) of `steps` (0: no end is known; cosine then stays 1).

    Warm-up over w steps: (step + 1) / w. After it, with t = step − w and T = steps − w:
    constant 1; step gamma^⌊t / every⌋; cosine floor + (1 − floor) · (1 + cos(π t / T)) / 2.
    Source: Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts*, 2017 (cosine, one cycle).
    """
    if step < schedule.warm_up:
        return (step + 1) / schedule.warm_up
    t, whole = step - schedule.warm_up, steps - schedule.warm_up
    if schedule.kind == "step":
        return float(schedule.gamma ** (t // schedule.every))
    if schedule.kind == "cosine" and whole > 0:
        return schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * min(t / whole, 1.0))) / 2
    return 1.0
