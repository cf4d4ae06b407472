"""The page: everything in it, nothing that runs, nothing from elsewhere."""

import re

import msgspec

from tests.tidemill_app.dataset_project import class_folders, label, project
from tests.tidemill_app.in_memory import memory_platform
from tidemill_app.dataset_import import import_
from tidemill_app.dataset_page import page, write
from tidemill_app.dataset_report import report
from tidemill_app.datasets import Wanted, create, load

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def shown(platform, name):
    create(platform, name, Wanted(name))
    version = load(platform, name)
    found = report(platform, version)
    return page(version, found), found


def test_previews_stand_in_the_page(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in"))
    text, found = shown(platform, "pets")
    leaked = 2 * sum(found["leakage"][kind]["count"] for kind in ("same", "near"))
    assert len(re.findall(r'<image [^>]*href="data:image/webp;base64,', text)) == 12 + 2 + leaked
    assert all(f"<h3>{name}</h3>" in text for name in ("cat", "dog", "hen"))


def test_what_others_wrote_is_shown_and_never_run(tmp_path):
    platform = project(tmp_path)
    label(platform, "i0", HOSTILE)
    label(platform, "i1", [[HOSTILE, 1, 2, 3, 4], [HOSTILE, "<b>", 2, 3, 4]])
    text, _ = shown(platform, "cells")
    assert HOSTILE not in text and "&lt;script&gt;" in text
    assert not re.search(r"<(script|img|iframe|link)\b", text)
    assert "default-src 'none'" in text and "http" not in text.replace("http-equiv", "")


def test_boxes_are_drawn_and_a_lost_image_is_said(tmp_path):
    platform = memory_platform(tmp_path)
    import_(platform, "pets", class_folders(tmp_path / "in", 3))
    label(platform, "cat-000", [["cat", 1, 2, 3, 4], ["cat", None, 2, 3, 4]], "pets")
    create(platform, "pets", Wanted("pets"))
    version = load(platform, "pets")
    found = report(platform, version)
    lost = next(e for e in version.examples() if e.id == "dog-001")
    platform.artefacts.discard(lost.media)
    write(version, found, tmp_path / "to" / "page.html")
    text = (tmp_path / "to" / "page.html").read_text()
    assert '<rect x="1" y="2" width="3" height="4"/>' in text and "nothing of this name is stored" in text
    assert msgspec.json.encode(found)
