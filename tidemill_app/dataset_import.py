"""Data sets of others into a project: items into `data.<project>`, their bytes into the artefact store, their labels
into `labels.<project>`.

An import goes batch by batch: the bytes are stored, then items and labels are written in one transaction. What is there
is known by its id, which the source decides, so an import that was killed goes on where it was when it is called again,
and a second one beside it is fenced off. There is no state but the log.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from connectors.datasets.examples import PLACED
from connectors.datasets.formats import coco, folders, idx, label_studio, parquet, voc
from connectors.datasets.formats.files import Root, is_archive, unpack
from connectors.datasets.formats.item import EXTENSIONS, Incoming, RawItem, check_classes
from tidemill.errors import ConfigError, TidemillError, UserError
from tidemill.stream import Field, StreamSpec, check_name
from tidemill_app.dataset_answers import check_order
from tidemill_app.dataset_sending import Imported, Sending
from tidemill_app.wiring import Platform

READERS: dict[str, Callable[[Path], Incoming]] = {
    "parquet": parquet.read,
    "coco": coco.read,
    "voc": voc.read,
    "labelstudio": label_studio.read,
    "folders": folders.read,
    "idx": idx.read,
}
_BATCH = 4000
"""Items of a batch: each waits twice for the disk, and is one transaction."""
_BATCH_BYTES = 64 * 1024 * 1024


def import_(
    platform: Platform,
    project: str,
    source: Path,
    format: str = "",
    *,
    prefix: str = "",
    partitions: int = 1,
    batch: int = _BATCH,
    ask: bool = False,
    progress: Callable[[int], None] = lambda items: None,
) -> Imported:
    """Import a folder or an archive. A project that is not there yet is made, with the source's classes.

    `prefix` goes before every id and every annotator's name, for two sources with the same ones. With `ask`, people are
    asked about the items sent now that have no label. What several annotators said of an item are answers, which a
    consensus makes the label of. Raises `UserError` for a source that is not what it should be, an item whose id is
    another's already, a class that the project does not have.
    """
    check_name(project, "project")
    with tempfile.TemporaryDirectory(prefix="tidemill-import-") as scratch:
        folder = source
        if is_archive(source):
            folder = Path(scratch)
            unpack(source, folder)
        try:
            format = format or guess(folder)
            incoming = READERS[format](folder)
        except TidemillError as error:
            raise _named(error, folder, source) from None
        check_classes(incoming.classes, str(source))
        if incoming.people and prefix[-1:].isdigit():
            raise UserError(
                "numbers of annotators would run into the prefix", wanted="one that ends in no digit", got=prefix,
                fix=f"Say --prefix {prefix}/ (annotator 1 of prefix 1 is annotator 11 of none).",
            )  # fmt: skip
        check_order(incoming.fewest, _partitions(platform, project, partitions), project)
        spec = _declared(platform, project, incoming, partitions)
        done = Imported(project, format)
        run = Sending(platform, spec, incoming, done, prefix, ask)
        try:
            with ThreadPoolExecutor(1) as pool:  # one batch is stored while the next is read
                under_way: Future[None] | None = None
                for items in _batches(incoming.items, batch):
                    if under_way is not None:
                        under_way.result()
                        progress(done.items + done.there)
                    under_way = pool.submit(run.send, items)
                if under_way is not None:
                    under_way.result()
                    progress(done.items + done.there)
        except TidemillError as error:
            raise _named(error, folder, source) from None
        finally:
            run.close()
    return done


def _batches(items: Iterator[RawItem], most: int) -> Iterator[list[RawItem]]:
    """Items, so many at a time, or fewer where they are large."""
    held: list[RawItem] = []
    size = 0
    for item in (item.kept() for item in items):
        held.append(item)
        size += len(item.data or b"")
        if len(held) >= most or size >= _BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _named(error: TidemillError, folder: Path, source: Path) -> TidemillError:
    """The error with the archive's name in place of the folder that it was unpacked into."""
    if folder != source:
        for part in ("message", "where", "wanted", "got", "fix"):
            setattr(error, part, getattr(error, part).replace(str(folder), str(source)))
        error.args = (error._line(),)
    return error


def guess(folder: Path) -> str:
    """The format of a folder by what is in it. Raises `ConfigError` where nothing is known."""
    names = Root(folder).names()
    if any("JPEGImages" in Path(n).parts for n in names):
        return "voc"
    if any(n.endswith(".parquet") for n in names):
        return "parquet"
    if any("-images-idx3-ubyte" in n for n in names):
        return "idx"
    if "tasks.json" in names or "config.xml" in names:
        return "labelstudio"
    if any(n.endswith(".json") for n in names):
        return "coco"
    if any(Path(n).suffix.lower() in EXTENSIONS.values() for n in names):
        return "folders"
    raise ConfigError("of no format that is known", where=str(folder), wanted=", ".join(READERS), fix="Say --format.")


def _partitions(platform: Platform, project: str, wanted: int) -> int:
    """How many partitions `labels.<project>` has, or will have where it is declared as `wanted`."""
    if (topic := f"labels.{project}") in platform.log.topics():
        return len(platform.log.partitions(topic))
    there = platform.catalogue().versions()
    declared = there.get(topic) or there.get(project)
    return declared[-1].partitions if declared else wanted


def _declared(platform: Platform, project: str, incoming: Incoming, partitions: int) -> StreamSpec:
    """The project's stream; declared for what comes, where there is none."""
    catalogue = platform.catalogue()
    if (there := catalogue.versions().get(project)) is not None:
        spec = there[-1]
        lacking = [n for n in ("media", "media_type") if n not in {f.name for f in spec.fields}]
        if lacking and incoming.medium in ("image", "audio"):
            raise ConfigError("the stream has no field for media", where=f"stream {project}", wanted=", ".join(lacking))
        if spec.id is None:
            raise ConfigError("the stream has no id field", where=f"stream {project}", wanted="ids, to label items by")
    else:
        fields = [Field("id", "string"), Field("time", "time")]
        fields += [Field(n, "string", default="") for n in PLACED[2:]]
        extra: dict[str, Any] = dict(incoming.fields)
        if incoming.medium == "image":
            extra = {"name": "string", "width": "int", "height": "int"} | extra
        fields += [Field(n, kind, nullable=True) for n, kind in extra.items() if n not in PLACED]
        spec = catalogue.declare(
            StreamSpec(
                name=project,
                fields=tuple(fields),
                key="id",
                time="time",
                id="id",
                time_unit="us",
                partitions=partitions,
            )
        )
    catalogue.declare_labels(project)
    return spec
