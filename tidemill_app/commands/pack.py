"""`tidemill pack`: an environment for the machines of a Flink cluster."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill_app.cli import Output, command


@command("pack")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("names", nargs=-1, metavar="[PACKAGE]...")
def pack(out: Output, file: Path, names: tuple[str, ...]) -> None:
    """Pack the Python packages that Tidemill needs on a Flink cluster's machines, and the PACKAGEs that your jobs need
    besides, as they are installed here, into the zip FILE. Name it at `tidemill submit --option archive=FILE`."""
    from tidemill_app.flink_packing import environment

    done = environment(file, names)
    out.answer(
        done,
        f"{done.file}: {len(done.packages)} packages, {done.bytes / 1e6:.0f} MB, for machines with Python "
        f"{done.python}.\nUse it: tidemill submit FILE --engine flink --option archive={done.file}",
    )
