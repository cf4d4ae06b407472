"""Publishing a model that was made elsewhere: checked, stored, signed, told to everyone who follows the log."""

from __future__ import annotations

from pathlib import Path

from serving.encoded import servable_of
from serving.onnx import FILE, KIND
from serving.plane import LATEST
from tidemill.errors import IncompatibleError, UserError
from tidemill.events import ModelPublished
from tidemill.state import content_digest, digest
from tidemill.stream import check_name
from tidemill.version import Manifest, cpu_class
from tidemill_app.published import Published, publish_version
from tidemill_app.wiring import Platform

MAX_BYTES = 2 << 30


def deploy(platform: Platform, file: Path, name: str, version: str | None = None) -> ModelPublished:
    """Publish the ONNX model in `file` as `name`; deploying the newest version's very bytes again changes nothing.

    Raises `UserError` where the file cannot be read or the version is named as an alias is, `IncompatibleError` where
    it is no ONNX model that runs here, or the version is there already with other content, or a job has the name.
    """
    check_name(name, "model")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError("model file too large", where=str(file), wanted=f"at most {MAX_BYTES} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise UserError("model file cannot be read", where=str(file), got=error.strerror or str(error)) from None
    servable_of(data)
    content = content_digest(KIND, digest(data))
    published = Published(platform.log).refresh()
    there = {v: event for (model, v), event in published.versions.items() if model == name}
    newest = max((v for v in there if v.isdigit()), key=int, default=None)
    if version is None:
        version = str(int(newest) + 1) if newest is not None else "1"
        if newest is not None and there[newest].content_digest == content:
            version = newest
    check_name(version, "version")
    if version == LATEST or (name, version) in published.aliases:
        raise UserError("this name stands for another version", where=name, got=version, fix="Name another --version.")
    if newest is not None and there[newest].job:
        job = there[newest].job
        raise IncompatibleError(
            "a job publishes the versions of this model", where=name, got=f"job {job}", fix="Deploy under another name."
        )
    if version in there:
        if there[version].content_digest != content:
            fix = "Deploy under a new version."
            raise IncompatibleError("a version never changes", where=f"{name}@{version}", fix=fix)
        return there[version]
    if name in platform.jobs().jobs:
        raise IncompatibleError(
            f"a job of this name writes its predictions to predictions.{name}, where the model's answers would be kept",
            where=name,
            fix="Deploy under another name.",
        )
    manifest = Manifest(
        model=name,
        version=version,
        kind=KIND,
        content_digest=content,
        files={FILE: digest(data)},
        created=platform.clock.now(),
        cpu_class=cpu_class(),
    )
    return publish_version(platform, manifest, {FILE: data}, "/tidemill/deploy")
