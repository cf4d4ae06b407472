"""Graph networks are tested where torch is: `make torch`, and `make test-slow`, which installs it."""

from importlib.util import find_spec
from pathlib import Path

import pytest


class _Untested(pytest.Module):
    """A file of tests that cannot be imported here."""

    def _getobj(self) -> None:
        pytest.skip("torch is not installed: make torch", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return None if find_spec("torch") else _Untested.from_parent(parent, path=module_path)
