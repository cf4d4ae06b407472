"""A real Label Studio before a real broker: our live model's guesses stand beside its tasks, what its two users say and
take back is on `labels.<project>`, and what either exports the other imports.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.peers.environment import environment
from connectors.images import encoded
from tests.scenarios.label_studio_server import Studio, StudioProject, done
from tests.scenarios.outside import ROOT, Outside
from tests.serving.helpers import until

pytestmark = [pytest.mark.slow, pytest.mark.stack]
pytest.importorskip("onnx", reason="the models that are asked are made with onnx: make torch")

KEY = "0123456789abcdef-one"
WORDS = """<View><Text name="t" value="$text"/><Choices name="said" toName="t" choice="single" showInLine="true">
<Choice value="None"/><Choice value="Some"/></Choices></View>"""
SHAPES = ((40, 70), (41, 70), (42, 70))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: Any) -> Iterator[Studio]:
    python = environment("label_studio")
    files = tmp_path_factory.mktemp("files")
    running = Studio(python, tmp_path_factory.mktemp("studio"), files)
    yield running
    running.close()


@pytest.fixture(scope="module")
def backend(stack: Any, tmp_path_factory: Any) -> Iterator[str]:
    """Our backend before our scoring server, each a process of its own."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    with contextlib.ExitStack() as running:

        def started(*words: object) -> str:
            command = Outside(stack).command(*words, "--port", 0)
            process = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
            running.callback(process.terminate)
            assert process.stdout is not None
            return str(json.loads(process.stdout.readline())["url"])

        scoring = started("serve", "--no-measure")
        yield started("labelling", "label-studio", "--scoring", scoring, "--api-key-file", keys)


class Told:
    """What stands on `labels.<project>` by the rules of its events: for each item what each annotator says of it."""

    def __init__(self, outside: Outside, project: str) -> None:
        self._outside, self._topic = outside, f"labels.{project}"

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self._outside.values(self._topic) if e["type"] == kind]

    def answers(self) -> dict[str, dict[str, Any]]:
        gone = {e["answer"] for e in self.events("answer.withdrawn.v1")}
        found: dict[str, dict[str, Any]] = {}
        for e in sorted(self.events("answer.given.v1"), key=lambda e: (e["time"], e["id"])):
            found.setdefault(e["about"], {})[e["by"]] = e
        return {
            about: said
            for about, all_said in found.items()
            if (said := {by: e["value"] for by, e in all_said.items() if e["id"] not in gone})
        }

    def become(self, wanted: dict[str, dict[str, Any]]) -> None:
        until(lambda: self.answers() == wanted, 30)


def deployed(outside: Outside, name: str, model: Callable[[], bytes], folder: Path, url: str) -> None:
    (folder / f"{name}.onnx").write_bytes(model())
    outside.tidemill("deploy", folder / f"{name}.onnx", "--name", name)
    ask = {"x-api-key": KEY}, f"{url}/{name}/versions"
    until(lambda: httpx.get(ask[1], headers=ask[0]).json().get("versions") == [f"{name}@1"], 60)


def chosen(*names: str) -> list[dict[str, Any]]:
    return [{"id": "a", "from_name": "said", "to_name": "t", "type": "choices", "value": {"choices": list(names)}}]


def test_texts_that_two_people_label_there(
    studio: Studio, backend: str, stack: Any, fresh: Any, tmp_path: Path
) -> None:
    from tests.connectors.tiny_models import words

    outside, name = Outside(stack), fresh("said")
    outside.tidemill(
        "labelling", "project", "create", name, "--medium", "text", "--class", "none:None", "--class", "some:Some"
    )
    (tmp_path / "t0.txt").write_text("one two three four five six")
    (tmp_path / "t1.txt").write_text("one")
    outside.tidemill("labelling", "items", name, tmp_path / "t0.txt", tmp_path / "t1.txt")
    deployed(outside, name, words, tmp_path, backend)
    there, told = StudioProject(studio, WORDS), Told(outside, name)

    # Connected, it names the live model, and keeps what that says of its tasks.
    made = there.connect(f"{backend}/{name}", KEY)
    assert (made["state"], made["model_version"], made["error_message"]) == ("CO", f"{name}@1", None)
    assert done(studio.owner.get(f"/api/ml/{made['id']}/versions")) == {"versions": [f"{name}@1"]}
    data = [{"id": "t0.txt", "text": "one two three four five six"}, {"id": "t1.txt", "text": "one"}, {"text": "mine"}]
    t0, t1, t2 = there.put([{"data": one} for one in data])
    there.act("retrieve_tasks_predictions")
    kept = there.predictions()
    said = {task: (p["result"][0]["value"]["choices"], p["score"], p["model_version"]) for task, p in kept.items()}
    version = f"{name}@1"
    assert said == {t0: (["Some"], 0.75, version), t1: (["None"], 0.875, version), t2: (["None"], 0.875, version)}
    shown = done(studio.owner.get(f"/api/projects/{there.id}/next"))["predictions"]
    assert [p["result"][0]["value"]["choices"] for p in shown] == [["Some"]]

    # Two people answer, change, empty, skip and take back what they said.
    ann, carl = 1, studio.second("carl@example.org")
    other = done(carl.get("/api/current-user/whoami"))["id"]
    first, second = f"label-studio-{ann}", f"label-studio-{other}"
    mine = f"label-studio-{t2}"
    a0 = there.annotate(t0, chosen("Some"))
    b0 = there.annotate(t0, chosen("None"), carl)
    a2 = there.annotate(t2, chosen("Some"))
    told.become({"t0.txt": {first: "some", second: "none"}, mine: {first: "some"}})
    assert {e["seconds"] for e in told.events("answer.given.v1")} == {2.5}
    done(studio.owner.patch(f"/api/annotations/{a0}/", json={"result": chosen("None")}))
    done(studio.owner.patch(f"/api/annotations/{a2}/", json={"result": []}))
    told.become({"t0.txt": {first: "none", second: "none"}})
    done(carl.delete(f"/api/annotations/{b0}/"))
    a1 = there.annotate(t1, chosen("Some"))
    told.become({"t0.txt": {first: "none"}, "t1.txt": {first: "some"}})
    done(studio.owner.patch(f"/api/annotations/{a1}/", json={"was_cancelled": True}))
    told.become({"t0.txt": {first: "none"}})
    assert [(e["about"], e["by"]) for e in told.events("answer.withdrawn.v1")] == [
        (mine, first), ("t0.txt", second), ("t1.txt", first),
    ]  # fmt: skip

    # What the model said becomes annotations of all tasks in one call, and goes in one call.
    there.act("delete_tasks_annotations")
    told.become({})
    there.act("predictions_to_annotations", model_version=version)
    told.become({"t0.txt": {first: "some"}, "t1.txt": {first: "none"}, mine: {first: "none"}})

    # Its export is read by us.
    folder, copy = tmp_path / "export", fresh("copy")
    folder.mkdir()
    (folder / "tasks.json").write_text(json.dumps(there.export()))
    read = outside.tidemill("dataset", "import", copy, folder)
    assert read["items"] == 3 and read["format"] == "labelstudio"
    outside.tidemill("dataset", "create", f"{copy}-d", "--project", copy)
    outside.tidemill("dataset", "export", f"{copy}-d", tmp_path / "again", "--format", "labelstudio")
    again = json.loads((tmp_path / "again/tasks.json").read_text())
    assert {t["data"]["text"]: t["annotations"][0]["result"][0]["value"]["choices"] for t in again} == {
        "one two three four five six": ["Some"], "one": ["None"], "mine": ["None"],
    }  # fmt: skip
    # Once both have said something of a task, an export tells what the webhooks told, and no more.
    there.annotate(t0, chosen("None"), carl)
    there.annotate(t1, chosen("None"), carl)
    there.annotate(t2, chosen("Some"), carl)
    both = {
        "t0.txt": {first: "some", second: "none"}, "t1.txt": {first: "none", second: "none"},
        mine: {first: "none", second: "some"},
    }  # fmt: skip
    told.become(both)
    (folder / "tasks.json").write_text(json.dumps(there.export()))
    crowd = fresh("crowd")
    assert outside.tidemill("dataset", "import", crowd, folder)["answers"] == 6
    by_id = {e["id"]: (e["about"], e["by"], e["value"]) for e in Told(outside, crowd).events("answer.given.v1")}
    webhooks = {e["id"]: (e["about"], e["by"], e["value"].capitalize()) for e in told.events("answer.given.v1")}
    assert len(by_id) == 6 and by_id.items() <= webhooks.items()
    assert outside.tidemill("dataset", "import", name, folder)["answers"] == 0 and told.answers() == both

    # And what several said there goes into another project of it.
    outside.tidemill("dataset", "create", f"{crowd}-d", "--project", crowd)
    outside.tidemill("dataset", "export", f"{crowd}-d", tmp_path / "crowd", "--format", "labelstudio")
    elsewhere = StudioProject(studio, (tmp_path / "crowd/config.xml").read_text())
    elsewhere.put(json.loads((tmp_path / "crowd/tasks.json").read_text()))
    said = {
        task["data"]["text"]: [a["result"][0]["value"]["choices"] for a in task["annotations"]]
        for task in elsewhere.export()
    }
    assert said == {
        "one two three four five six": [["Some"], ["None"]], "one": [["None"], ["None"]], "mine": [["None"], ["Some"]],
    }  # fmt: skip
    there.act("delete_tasks_annotations")
    told.become({})


def test_boxes_of_a_data_set_that_are_corrected_there(
    studio: Studio, backend: str, stack: Any, fresh: Any, tmp_path: Path
) -> None:
    from tests.connectors.tiny_models import whole_image

    outside, name = Outside(stack), fresh("cells")
    folder = tmp_path / "first"
    (folder / "images").mkdir(parents=True)
    for n, (height, width) in enumerate(SHAPES):
        picture = encoded(np.full((height, width, 3), 50 * n + 9, np.uint8))
        (folder / f"images/p{n}.png").write_bytes(picture)
    value = {"x": 10, "y": 20, "width": 50, "height": 50, "rectanglelabels": ["all"]}
    region = {"type": "rectanglelabels", "original_width": 70, "original_height": 40, "value": value}
    labelled = [[region], [], None]
    tasks = [
        {"data": {"id": f"a/p{n}.png", "image": f"images/p{n}.png", "note": f"n{n}"}} for n in range(3)
    ]  # the last without a label
    for task, result in zip(tasks, labelled, strict=True):
        task |= {"annotations": [{"result": result}]} if result is not None else {}
    (folder / "tasks.json").write_text(json.dumps(tasks))
    (folder / "config.xml").write_text(
        '<View><Image name="i" value="$image"/><RectangleLabels name="b" toName="i"><Label value="all"/>'
        '<Label value="White"/></RectangleLabels></View>'
    )
    outside.tidemill("dataset", "import", name, folder)
    outside.tidemill("labelling", "items", name, "--events")
    deployed(outside, name, whole_image, tmp_path, backend)

    # A version of ours goes there, and nothing of it is lost.
    outside.tidemill("dataset", "create", f"{name}-d", "--project", name)
    ours = studio.files
    outside.tidemill("dataset", "export", f"{name}-d", ours, "--format", "labelstudio")
    given = json.loads((ours / "tasks.json").read_text())
    there, told = StudioProject(studio, (ours / "config.xml").read_text()), Told(outside, name)
    storage = {"project": there.id, "path": str(ours / "images"), "use_blob_urls": True, "title": "ours"}
    done(studio.owner.post("/api/storages/localfiles", json=storage))
    made = there.connect(f"{backend}/{name}", KEY)
    assert (made["state"], made["model_version"]) == ("CO", f"{name}@1")
    numbers = there.put(given)
    exported = there.export()
    assert [task["data"] for task in exported] == [task["data"] for task in given]
    assert [[a["result"] for a in task["annotations"]] for task in exported] == [
        [a["result"] for a in task.get("annotations", [])] for task in given
    ]
    for task in exported:
        stored = (folder / "images" / task["data"]["name"]).read_bytes()
        assert studio.owner.get(task["data"]["image"]).content == stored

    # The live model's boxes, and those of a person, who corrects one and finds none in the last.
    there.act("retrieve_tasks_predictions")
    for task, (height, width) in zip(numbers, SHAPES, strict=True):
        (found,) = there.predictions()[task]["result"]
        assert found["value"] == {
            "x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0, "rectanglelabels": ["all"],
        }  # fmt: skip
        assert (found["original_width"], found["original_height"]) == (width, height)
    corrected = json.loads(json.dumps(exported[0]["annotations"][0]["result"]))
    corrected[0]["value"] |= {"x": 50, "rectanglelabels": ["White"]}
    done(studio.owner.patch(f"/api/annotations/{exported[0]['annotations'][0]['id']}/", json={"result": corrected}))
    there.annotate(numbers[2], [])
    told.become(
        {
            "a/p0.png": {"label-studio-1": [["White", 35.0, 8.0, 35.0, 20.0]]},
            "a/p2.png": {"label-studio-1": []},
        }
    )

    # Its export, beside the files, is a data set of ours again.
    back, copy = tmp_path / "back", fresh("back")
    shutil.copytree(ours, back)
    (back / "tasks.json").write_text(json.dumps(there.export()))
    read = outside.tidemill("dataset", "import", copy, back)
    assert (read["items"], read["left_out"]) == (3, [])
    outside.tidemill("dataset", "create", f"{copy}-d", "--project", copy)
    outside.tidemill("dataset", "export", f"{copy}-d", tmp_path / "again", "--format", "labelstudio")
    again = json.loads((tmp_path / "again/tasks.json").read_text())
    assert [task["data"] for task in again] == [task["data"] for task in given]
    said = [
        [[*r["value"]["rectanglelabels"], *(r["value"][k] for k in ("x", "y", "width", "height"))] for r in a["result"]]
        for task in again
        for a in task["annotations"]
    ]
    assert said == [[["White", 50, 20, 50, 50]], [], []]
