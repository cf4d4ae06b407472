"""The floor of Tidemill: the words every other package shares.

Events, time, order, jobs, the protocols (`Log`, `StateStore`, `Learner`, `Engine`, `Servable`), the error tree, and
the conformance suites in `tidemill.checks`. It depends on the standard library, msgspec and numpy, and on nothing
else; it performs no input or output of its own.
"""

__version__ = "0.1.0"
