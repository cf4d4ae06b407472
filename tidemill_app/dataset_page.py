"""A page about a version of a data set: one file, with previews in it, that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from connectors import images
from connectors.datasets.examples import Example
from connectors.datasets.formats.item import classes_in
from connectors.datasets.images import probe
from connectors.datasets.version import DatasetVersion
from tidemill.errors import IntegrityError, NotFoundError, UserError

THUMBNAIL = 96
OF_A_CLASS = 12
GROUPS = 24
_OF_A_GROUP = 8

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}
.row{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0 1rem}
figure{margin:0;width:110px;font-size:11px;overflow-wrap:anywhere}svg{width:100%;height:96px;background:#8882}
rect{fill:none;stroke:#e33;vector-effect:non-scaling-stroke}.text{height:96px;overflow:hidden;border:1px solid #8884}
code{overflow-wrap:anywhere}
"""


def write(version: DatasetVersion, report: dict[str, Any], path: Path) -> None:
    """Write the page to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(version, report), encoding="utf-8")


def page(version: DatasetVersion, report: dict[str, Any]) -> str:
    """The page: counts, previews of each class, groups that are alike, what leaks, and what breaks the schema."""
    examples, facts = version.examples(), report["statistics"]
    by_id = {e.id: e for e in examples}
    title = escape(f"{report['dataset']}@{report['version']}")
    splits = list(facts["splits"])
    rows = [[name, *(n.get(s, 0) for s in splits), sum(n.values())] for name, n in facts["classes"].items()]
    rows.append(["examples", *facts["splits"].values(), facts["examples"]])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>Project {escape(report['project'])}, {facts['examples']:,} examples, "
        f"{facts['unlabelled']:,} without a label, {facts['answered']:,} with answers and no label of these.<br>"
        f"Manifest <code>{report['digest']}</code>.</p>",
        _table(["class", *splits, "all"], rows),
        "<h2>Previews</h2>",
    ]
    for name, chosen in _by_class(version, examples):
        parts.append(f"<h3>{escape(name)}</h3>{_row(version, chosen)}")
    near, leakage = report["near"], report["leakage"]
    parts.append(f"<h2>Are alike: {near['count']:,} groups</h2>{_groups(version, by_id, near['first'])}")
    leaked = leakage["same"]["first"] + leakage["near"]["first"]
    counts = ", ".join(f"{kind} {leakage[kind]['count']:,}" for kind in ("same", "near", "groups"))
    parts.append(f"<h2>In more than one split: {counts}</h2>{_groups(version, by_id, leaked)}")
    wrong = [[v["id"], v["what"]] for v in report["violations"]["first"]]
    parts.append(f"<h2>Break the schema: {report['violations']['count']:,}</h2>{_table(['item', 'why'], wrong)}")
    return "\n".join(parts) + "</html>\n"


def _by_class(version: DatasetVersion, examples: Sequence[Example]) -> Iterable[tuple[str, list[Example]]]:
    """The first examples of each class, by name."""
    schema = version.manifest.schema
    names = {c.id: c.name for c in schema.classes} if schema else {}
    kind = schema.kind if schema else "single"
    chosen: dict[str, list[Example]] = {names[c.id]: [] for c in schema.classes if not c.into} if schema else {}
    for e in examples:
        of = {names.get(c, c) for c in classes_in(e.label, kind)} or {"no class" if e.label is None else kind}
        for name in of:
            mine = chosen.setdefault(name, [])
            if len(mine) < OF_A_CLASS:
                mine.append(e)
    return chosen.items()


def _groups(version: DatasetVersion, by_id: dict[str, Example], groups: Sequence[Sequence[str]]) -> str:
    return "".join(_row(version, [by_id[i] for i in ids[:_OF_A_GROUP]]) for ids in groups[:GROUPS])


def _row(version: DatasetVersion, examples: Iterable[Example]) -> str:
    return "<div class=row>" + "".join(_figure(version, e) for e in examples) + "</div>"


def _figure(version: DatasetVersion, e: Example) -> str:
    label = "" if e.label is None else str(e.label) if not isinstance(e.label, list) else f"{len(e.label)} labels"
    caption = f"<figcaption>{escape(e.id)} · {escape(e.split)} · {escape(label[:60])}</figcaption>"
    if e.media_type.startswith("image/"):
        try:
            return f"<figure>{_image(version, e)}{caption}</figure>"
        except (UserError, IntegrityError, NotFoundError) as error:
            return f"<figure><div class=text>{escape(error.message)}</div>{caption}</figure>"
    shown = e.payload.get("text") or ", ".join(f"{k} {v}" for k, v in e.payload.items() if k not in ("id", "time"))
    return f"<figure><div class=text>{escape(str(shown)[:200])}</div>{caption}</figure>"


def _image(version: DatasetVersion, e: Example) -> str:
    """The image, made small, with its boxes over it."""
    data = version.bytes_of(e)
    found = probe(data, e.id)
    out = io.BytesIO()
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small = images.turned(small, images.orientation(data))
            small.save(out, "webp", quality=80)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError("an image cannot be decoded", where=e.id, got=str(error)[:100]) from None
    link = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    size = f"width={found.width} height={found.height}"
    return f'<svg viewBox="0 0 {found.width} {found.height}"><image {size} href="{link}"/>{_rectangles(e)}</svg>'


def _rectangles(e: Example) -> str:
    boxes = [b for b in e.label if isinstance(b, list) and len(b) == 5] if isinstance(e.label, list) else []
    numbers = [tuple(float(v) for v in b[1:]) for b in boxes if all(isinstance(v, (int, float)) for v in b[1:])]
    return "".join(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"/>' for x, y, w, h in numbers)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        shown = (f"{c:,}" if isinstance(c, int) else escape(str(c)) for c in cells)
        return "<tr>" + "".join(f"<{tag}>{c}</{tag}>" for c in shown)

    return "<table>" + line(head, "th") + "".join(line(r, "td") for r in rows) + "</table>"
