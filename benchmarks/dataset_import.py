"""60,000 images into a project, and a page about them ÷ writing the same images as files, and as one Parquet file.

The images are Fashion-MNIST's training part (28 by 28 pixels), encoded as PNG by all three from the same IDX files.
Ours stores each by its digest, durably, and writes an item and a label for each to a real Kafka in transactions of
4,000; the files stand in a folder for each class and are flushed to the disk once at the end; the Parquet file holds
`image` (a struct of bytes and path) and `label`, as Hugging Face's `imagefolder` makes it, in groups of 1,000 rows,
flushed too. Each import runs in a process of its own, which tells its peak memory; its start is not counted. After one
import: the time to make a version, to read it again and verify it, and to make the report and its page, at first and
again. `TIDEMILL_BOOTSTRAP` names the broker.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import compare, measure
from connectors.datasets.formats import idx
from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin
from tidemill.time import SystemClock
from tidemill_app import dataset_page, dataset_report, datasets
from tidemill_app.config import Connection, Secret, Settings
from tidemill_app.dataset_import import import_
from tidemill_app.home import Home
from tidemill_app.wiring import Platform, open_store

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "fashion_mnist"
IMAGES = 60_000
RUNS = 2


def platform(folder: Path) -> Platform:
    """A home in `folder` on the broker."""
    home = Home(folder / "home")
    home.create()
    bootstrap = os.environ["TIDEMILL_BOOTSTRAP"]
    connection = Connection(home=home, settings=Settings(), bootstrap=bootstrap, redis=Secret(""))
    return Platform(home, connection, KafkaLog(connection.confluent()), open_store(connection), SystemClock())


def ours(folder: Path, project: str, source: Path) -> dict[str, Any]:
    return {"items": import_(platform(folder), project, source, "idx").items}


def look(folder: Path, project: str, source: Path) -> dict[str, Any]:
    """A version, read again, and its page, twice."""
    there, times = platform(folder), {}

    def timed(name: str, work: Any) -> Any:
        start = time.perf_counter()
        out = work()
        times[name] = time.perf_counter() - start
        return out

    timed("create", lambda: datasets.create(there, project, datasets.Wanted(project)))
    for turn in ("first", "again"):
        start = time.perf_counter()
        version = timed("load", lambda: datasets.load(there, project))
        report = dataset_report.report(there, version)
        dataset_page.write(version, report, folder / "page.html")
        times[f"page_{turn}"] = time.perf_counter() - start
    return {"items": len(version), "near": report["near"]["count"], **times}


def files(folder: Path, project: str, source: Path) -> dict[str, Any]:
    count = 0
    for item in idx.read(source).items:
        path = folder / str(item.label) / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert item.data is not None
        path.write_bytes(item.data)
        count += 1
    os.sync()
    return {"items": count}


def parquet(folder: Path, project: str, source: Path) -> dict[str, Any]:
    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    schema = pa.schema([pa.field("image", image), pa.field("label", pa.int64())])
    count, rows = 0, []
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / "train.parquet", schema) as out:
        for item in idx.read(source).items:
            rows.append({"image": {"bytes": item.data, "path": f"{item.id}.png"}, "label": int(item.label)})
            count += 1
            if len(rows) == 1000:
                out.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        if rows:
            out.write_table(pa.Table.from_pylist(rows, schema=schema))
    with (folder / "train.parquet").open("rb") as written:
        os.fsync(written.fileno())
    return {"items": count}


WORK = {work.__name__: work for work in (ours, look, files, parquet)}


def child(name: str, folder: str, project: str, source: str) -> None:
    start = time.perf_counter()
    found = WORK[name](Path(folder), project, Path(source))
    found |= {"seconds": time.perf_counter() - start}
    found |= {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    print(json.dumps(found))


def run(name: str, folder: Path, project: str, source: Path) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.dataset_import", name, str(folder), project, str(source)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["items"] != IMAGES:
        raise AssertionError(f"{name}: {found['items']} of {IMAGES} images")
    return found


def main() -> None:
    if not os.environ.get("TIDEMILL_BOOTSTRAP"):
        sys.exit("dataset_import: set TIDEMILL_BOOTSTRAP to a broker's address (`tidemill status` shows the stack's)")
    if not DATA.is_dir():
        print(f"dataset_import: no fashion_mnist under TIDEMILL_DATA ({DATA})", file=sys.stderr)
        return
    workload = f"{IMAGES:,} images of 28 x 28 pixels, PNG, from IDX files; encoding counted"
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        top, last, made = Path(scratch), {}, []
        source = top / "source"
        source.mkdir()
        for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
            shutil.copy(DATA / name, source / name)

        def measured(name: str, keep: bool = False) -> float:
            project = f"bench-{uuid.uuid4().hex[:8]}"
            folder = top / project
            made.append(project)
            last[name] = run(name, folder, project, source) | {"folder": folder, "project": project}
            if not keep:
                shutil.rmtree(folder)
            return IMAGES / float(last[name]["seconds"])

        try:
            for name, peer in (
                ("files", "a PNG file each"),
                ("parquet", f"one Parquet file, pyarrow {pa.__version__}"),
            ):
                compare(
                    "dataset_import",
                    ours=lambda: measured("ours", True),
                    theirs=lambda name=name: measured(name),  # type: ignore[misc]
                    check=lambda: None,  # each run counts its images, and raises
                    peer=peer,
                    unit="images/s",
                    workload=workload,
                    runs=RUNS if name == "files" else 1,
                    warmup=0,
                )
            mine = last["ours"]
            figure(mine, "dataset_import_time", "seconds", "s", workload)
            figure(mine, "dataset_import_memory", "peak", "MiB", workload)
            seen = run("look", mine["folder"], mine["project"], source)
            about = f"{IMAGES:,} images, {seen['near']} groups that look alike"
            for key in ("create", "load", "page_first", "page_again"):
                figure(seen, f"dataset_{key}", key, "s", about)
            figure(seen, "dataset_page_memory", "peak", "MiB", about)
        finally:
            admin = KafkaAdmin({"bootstrap.servers": os.environ["TIDEMILL_BOOTSTRAP"]})
            for project in made:
                for topic in (f"data.{project}", f"labels.{project}"):
                    admin.delete(topic)
            admin.close()


def figure(found: dict[str, Any], bench: str, key: str, unit: str, workload: str) -> None:
    measure(bench, lambda: float(found[key]), unit=unit, workload=workload, better="lower")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(*sys.argv[1:])
    else:
        main()
