"""`make bench`: every benchmark, or those named. JSON lines on standard output, for people on standard error."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("__init__", "__main__", "harness"))


def main(names: list[str]) -> int:
    """Run the benchmarks `names`, all without any, against a broker of their own unless TIDEMILL_BOOTSTRAP is set."""
    if unknown := [name for name in names if name not in NAMES]:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    from tidemill_app import config
    from tidemill_app.stack import lifecycle

    with tempfile.TemporaryDirectory() as folder:
        settings = config.load(Path(folder) / "home")
        started = not settings.bootstrap
        if started:
            lifecycle.up(settings, parts=lifecycle.BROKERS)
            os.environ["TIDEMILL_BOOTSTRAP"] = config.connect(settings.home).bootstrap
        try:
            for name in names or NAMES:
                print(f"== {name}", file=sys.stderr)
                importlib.import_module(f"benchmarks.{name}").main()
        finally:
            if started:
                lifecycle.down(settings, True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
