"""`tidemill dataset create|list|show|diff|export|import|retract`: versions of what models are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidemill.errors import ConfigError
from tidemill.time import to_rfc3339
from tidemill_app.cli import TEXT, Output, command, human_bytes
from tidemill_app.tables import table
from tidemill_app.wiring import connected


@click.group("dataset")
def dataset() -> None:
    """Versions of data sets: create, list, show, diff, export, import, retract."""


@command("create")
@click.argument("name", type=TEXT)
@click.option("--project", type=TEXT, required=True, help="The labelling project, which is the stream of that name.")
@click.option("--split", "splits", multiple=True, metavar="NAME=SHARE", help="Default: train=0.8 valid=0.1 test=0.1.")
@click.option("--by", default="", type=TEXT, help="The field whose values stay in one split (default: `group`).")
@click.option("--split-field", "fixed", default="", type=TEXT, help="A field that names an item's split outright.")
@click.option("--salt", default="", type=TEXT, help="Another draw of the splits.")
@click.option("--where", multiple=True, type=TEXT, help="FIELD OP VALUE; given again, all must hold. See the docs.")
@click.option("--labelled", is_flag=True, help="Leave out what has no label.")
@click.option("--augment", type=click.Path(path_type=Path), help="JSON: the transforms to train with.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Readers of the log (the result is the same).")
def create(out: Output, name: str, project: str, splits: tuple[str, ...], augment: Path | None, **options: Any) -> None:
    """Make a version of what the project's topics hold now. Nothing is copied: it names offsets, and pins them."""
    from connectors.datasets.statistics import unheard
    from tidemill_app.dataset_report import answered, unheard_line
    from tidemill_app.datasets import Wanted, load, manifest_of
    from tidemill_app.datasets import create as make

    workers = options.pop("workers")
    if splits:
        options["splits"] = dict(map(_share, splits))
    wanted = Wanted(project, augmentation=_augmentation(augment), **options)
    with connected(out) as platform:
        event, new = make(platform, name, wanted, workers)
        manifest = manifest_of(platform, f"{name}@{event.version}")[1]
        sounds = manifest.schema is not None and manifest.schema.medium == "audio"
        examples = load(platform, f"{name}@{event.version}", workers).examples() if sounds else []
        lost = [e.id for e in examples if unheard(e)]
    facts = {"dataset": name, "version": event.version, "digest": event.digest, "examples": event.examples, "new": new}
    unlabelled, waiting = manifest.counts["@unlabelled"], manifest.counts.get("@answered", 0)
    facts |= {"unlabelled": unlabelled, "answered": waiting, "unheard": len(lost)}
    said = "" if new else " is there already, of the same offsets and settings"
    lines = [f"{name}@{event.version}{said}: {event.examples:,} examples, manifest {event.digest[:16]}"]
    lines += [answered(waiting)] if waiting else []
    lines += [unheard_line(lost)] if lost else []
    out.answer(facts, "\n".join(lines))


@command("list")
@click.argument("name", required=False, type=TEXT)
def list_(out: Output, name: str | None) -> None:
    """List data sets' versions, or those of one."""
    from tidemill_app.datasets import versions

    with connected(out) as platform:
        rows = versions(platform, name)
    head = ["data set", "version", "project", "examples", "splits", "created", "digest"]
    cells = [
        [
            r["dataset"],
            r["version"],
            r["project"],
            f"{r['examples']:,}",
            ", ".join(f"{k} {v:,}" for k, v in sorted(r["splits"].items())),
            to_rfc3339(r["created"]),
            f"refused: {r['refused']}" if r["refused"] else r["digest"][:16],
        ]
        for r in rows
    ]
    out.answer(rows, table(head, cells) if rows else "No data sets yet.")


@command("show")
@click.argument("version", metavar="NAME[@VERSION]", type=TEXT)
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with previews too.")
@click.option("--near", type=click.IntRange(0, 12), default=4, help="Bits of 128 that near-duplicates may differ in.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Readers of the log.")
def show(out: Output, version: str, page: Path | None, near: int, workers: int) -> None:
    """Statistics, near-duplicates, leakage between splits, and what breaks the schema."""
    from tidemill_app import dataset_report
    from tidemill_app.datasets import load

    with connected(out) as platform:
        found = load(platform, version, workers)
        report = dataset_report.report(platform, found, near)
        if page is not None:
            from tidemill_app.dataset_page import write

            write(found, report, page)
    out.answer(report, lambda: dataset_report.text(report))


@command("diff")
@click.argument("one", metavar="NAME@VERSION", type=TEXT)
@click.argument("other", metavar="NAME@VERSION", type=TEXT)
def diff(out: Output, one: str, other: str) -> None:
    """What the second has that the first has not, and what changed."""
    from connectors.datasets.difference import difference
    from tidemill_app.datasets import load

    with connected(out) as platform:
        found = difference(load(platform, one).examples(), load(platform, other).examples())
    lines = [
        f"{what}: {len(ids):,}" + (f" ({', '.join(ids[:5])}{', …' * (len(ids) > 5)})" if ids else "")
        for what, ids in found.items()
    ]
    out.answer(found, "\n".join(lines))


@command("export")
@click.argument("version", metavar="NAME[@VERSION]", type=TEXT)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(["parquet", "coco", "voc", "labelstudio"]), required=True)
def export(out: Output, version: str, folder: Path, format: str) -> None:
    """Write a version's examples into FOLDER, which must be empty or not there."""
    from tidemill_app.dataset_export import export as write
    from tidemill_app.datasets import load

    with connected(out) as platform:
        count = write(load(platform, version, answers=format == "labelstudio"), format, folder)
    out.answer({"examples": count, "format": format, "folder": str(folder)}, f"{count:,} examples to {folder}")


@command("import")
@click.argument("project", type=TEXT)
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--format",
    type=click.Choice(["parquet", "coco", "voc", "labelstudio", "folders", "idx"]),
    help="Default: by what is in it.",
)
@click.option("--prefix", default="", type=TEXT, help="Goes before every id.")
@click.option("--partitions", type=click.IntRange(1, 1000), default=1, help="Of a stream that is declared now.")
@click.option("--ask", is_flag=True, help="Ask people about the items that come without a label.")
def import_(
    out: Output, project: str, source: Path, format: str | None, prefix: str, partitions: int, ask: bool
) -> None:
    """Import a folder or an archive (.tar.gz, .zip) into PROJECT: items, their bytes, and their labels.

    Call it again where it broke off: what is there is not sent twice.
    """
    from tidemill_app.dataset_import import import_ as run

    with connected(out) as platform, out.progress(f"importing into {project}") as tell:
        done = run(
            platform,
            project,
            source,
            format or "",
            prefix=prefix,
            partitions=partitions,
            ask=ask,
            progress=lambda items: tell(f"importing into {project}: {items:,} items"),
        )
    lines = [f"{done.items:,} items ({human_bytes(done.bytes)}) and {done.labels:,} labels to {project}"]
    if done.answers:
        lines.append(f"{done.answers:,} answers of several annotators: a consensus job makes labels of them")
    lines += [f"people are asked about {done.asked:,} of them"] if ask else []
    lines += [f"{done.there:,} items were there"] if done.there else []
    lines += [f"left out: {what}" for what in done.left_out]
    out.answer(done, "\n".join(lines))


@command("retract")
@click.argument("project", type=TEXT)
@click.argument("item", type=TEXT)
@click.option("--label-only", is_flag=True, help="Only the labels given so far; the item stays.")
@click.option("--reason", default="", type=TEXT)
def retract(out: Output, project: str, item: str, label_only: bool, reason: str) -> None:
    """Leave ITEM, or its label, out of all later versions, and list the versions and models that saw it."""
    from tidemill_app.dataset_retract import retract as record

    with connected(out) as platform:
        facts = record(platform, project, item, label_only=label_only, reason=reason)
    what = "the labels of " if label_only else ""
    lines = [f"{what}{item} of {project}: retracted" + (", as it was before" if not facts["new"] else "")]
    for title, of in (("data set versions", facts["datasets"]), ("model versions", facts["models"])):
        lines.append(f"{title} that saw it: {', '.join(of) or 'none'}")
    out.answer(facts, "\n".join(lines))


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise ConfigError("not a split", wanted="NAME=SHARE, as train=0.8", got=repr(text)) from None


def _augmentation(path: Path | None) -> list[dict[str, Any]]:
    """The transforms in a file, which exist and take these arguments, as far as can be told without torch."""
    from importlib.util import find_spec

    import msgspec

    from training.augmentation import declared

    if path is None:
        return []
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except OSError as error:
        raise ConfigError("cannot be read", where=str(path), got=error.strerror or "") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        wanted = "a JSON list of objects"
        raise ConfigError("not a list of transforms", where=str(path), wanted=wanted, got=str(error)) from None
    transforms = declared(found)
    if find_spec("torchvision") is not None:
        from training.augment import Augmenter  # torchvision itself says what it takes

        Augmenter(transforms)
    return found


for _command in (create, list_, show, diff, export, import_, retract):
    dataset.add_command(_command)
