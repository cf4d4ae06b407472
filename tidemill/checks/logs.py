"""What every log must keep, as code: order, keys, bytes, transactions, positions, limits.

A `Subject` says how to open a log, and what it can do beside reading; `unmet` names what a check needs and a subject
lacks, so that a test skips by name and nothing else. A log of your own is checked the same way::

    subject = Subject("mine", open=MyLog)
    for check in CHECKS:
        if not unmet(check, subject):
            check(subject)
"""

from __future__ import annotations

import inspect

from tidemill.checks import log_reading, log_transactions, log_writing
from tidemill.checks.log_subject import Check
from tidemill.checks.log_subject import Subject as Subject
from tidemill.checks.log_subject import unmet as unmet


def find_checks() -> tuple[Check, ...]:
    """Every `check_…` function of the suite's modules, in the order of their lines."""
    found: list[Check] = []
    for module in (log_reading, log_writing, log_transactions):
        checks = [f for name, f in inspect.getmembers(module, inspect.isfunction) if name.startswith("check_")]
        found.extend(sorted(checks, key=lambda f: f.__code__.co_firstlineno))
    return tuple(found)


CHECKS = find_checks()
"""All checks, each an ordinary function of a subject that raises `AssertionError` saying what differs and where."""
