"""`tidemill labelling` as people use it: a project from nothing to answers through the served API, on a real stack."""

import json

import pytest

from serving.labelling.accounts import Accounts
from tests.serving.helpers import serving
from tests.serving.labelling.project import PASSWORD, Caller, png
from tests.tidemill_app.labelled import labelled
from tests.tidemill_app.test_live_prelabels import KEY, Scoring

pytestmark = pytest.mark.stack


def test_a_project_from_nothing(tidemill, stack, name, tmp_path):
    told = tidemill(
        "labelling", "project", "create", name, "--class", "cat", "--class", "dog:Dog", "--overlap", 1, 2, "--cost", 0.5
    )
    assert told.code == 0, told.err
    pictures = tmp_path / "scene1"
    pictures.mkdir()
    for i in range(3):
        (pictures / f"{i}.png").write_bytes(png(4 + i, 4))
    (pictures / "not.png").write_text("GIF89a")
    refused = tidemill("labelling", "items", name, pictures)
    assert (refused.code, "not.png" in refused.err and "image/png" in refused.err) == (2, True)
    (pictures / "not.png").unlink()
    assert tidemill("labelling", "items", name, pictures, "--json").json["added"] == ["0.png", "1.png", "2.png"]
    again = tidemill("labelling", "items", name, pictures, "--json").json
    assert again == {"added": [], "known": 3}
    # Another file of the same name is not lost.
    (tmp_path / "0.png").write_bytes(png(9, 9))
    refused = tidemill("labelling", "items", name, tmp_path / "0.png")
    assert (refused.code, "0.png" in refused.err and "--prefix" in refused.err) == (2, True)
    assert tidemill("labelling", "items", name, tmp_path / "0.png", "--prefix", "b-", "--json").json["added"] == [
        "b-0.png"
    ]

    person = name + "-ann"
    code = tidemill("labelling", "members", name, "--add", person, "--skill", "cats").out.strip()
    with labelled(stack, tmp_path / "log") as service, Caller(service.url) as ann:
        assert ann.post("/api/join", {"code": code, "password": PASSWORD}) == {"name": person}
        at = f"/api/projects/{name}"
        first, second = ann.post(at + "/next", {"count": 2})["tasks"]
        assert (first["item"], first["payload"]) == ("0.png", {"width": 4, "height": 4})
        assert ann.http.get(first["media"]["url"]).content == png(4, 4)
        assert ann.post(at + "/drafts", {"lease": second["lease"], "value": ["half"]}) == {"kept": True}
        assert ann.post(at + "/next", {"count": 2})["tasks"][1]["draft"] == ["half"]
        ann.post(at + "/answers", {"lease": first["lease"], "value": "dog", "seconds": 0.001})
        # A running service sees at once what the command line does.
        assert tidemill("labelling", "restrict", name, person, "on holiday").code == 0
        assert ann.post(at + "/next", {"count": 2})["restricted"] == "on holiday"
        text = tidemill("labelling", "token", person, name).out.strip()
        with Caller(service.url, text) as program:
            assert program.get("/api/me")["name"] == person
            assert tidemill("labelling", "revoke", name).code == 0
            program.get("/api/me", 401)

    assert tidemill("labelling", "schema", name, "--merge", "dog=cat", "--json").json["version"] == 2
    (line,) = [x for x in tidemill("labelling", "export", name).lines if x["answers"]]
    assert [(a["by"], a["value"]) for a in line["answers"]] == [(person, "cat")]
    (row,) = tidemill("labelling", "figures", name, "annotators", "--json").json
    assert (row["answers"], row["money"], row["seconds"]) == (1, 0.5, 0.001)
    told = {what: tidemill("labelling", "figures", name, what, "--json").json for what in ("agreement", "costs")}
    assert (told["agreement"]["items"], told["costs"]["spent"]) == (0, 0.5)
    assert tidemill("labelling", "figures", name, "disputes", "--json").json == []
    assert tidemill("labelling", "figures", name, "progress", "--json").json["answers"] == 1
    assert tidemill("labelling", "members", name, "--remove", person).code == 0
    assert tidemill("labelling", "project", "close", name).code == 0
    shown = tidemill("labelling", "project", "show", name, "--json").json
    assert (shown["project"]["closed"], shown["progress"]["answers"]) == (True, 1)
    assert name in {row["project"] for row in tidemill("labelling", "project", "list", "--json").json}
    # The items are events of a declared stream.
    found = [seen["data"] for seen in tidemill("tail", name, "-n", 4, "--json").lines]
    assert [(e["id"], e["group"], e["width"]) for e in found][:3] == [(f"{i}.png", "scene1", 4 + i) for i in range(3)]
    assert Accounts(stack.home.keys).names().count(person) == 1
    assert tidemill("labelling", "revoke", person, "--account").code == 0


def test_items_are_assigned_as_they_are_added_and_afterwards(tidemill, name, tmp_path):
    told = tidemill("labelling", "project", "create", name, "--medium", "text", "--class", "a", "--class", "b")
    assert told.code == 0, told.err
    ann, bob = f"{name}-ann", f"{name}-bob"
    for person in (ann, bob):
        assert tidemill("labelling", "members", name, "--add", person).code == 0
    for file in ("one.txt", "two.txt"):
        (tmp_path / file).write_text(file)
    refused = tidemill("labelling", "items", name, tmp_path / "one.txt", "--assign", "nobody")
    assert (refused.code, "no annotator of this project" in refused.err and "one.txt" in refused.err) == (2, True)
    assert tidemill("labelling", "items", name, tmp_path / "one.txt", "--assign", ann, "--assign", bob).code == 0
    assert tidemill("labelling", "items", name, tmp_path / "two.txt").code == 0
    assert tidemill("labelling", "assign", name, "two.txt", "--to", "nobody").code == 2
    given = tidemill("labelling", "assign", name, "two.txt", "--to", ann, "--json")
    assert given.json == {"assigned": ["two.txt"]}
    assert tidemill("labelling", "assign", name, "one.txt").out.strip() == "1 items for whoever"
    asked = {}
    for line in tidemill("tail", f"labels.{name}", "--json", "-n", 9).lines:
        if line["data"].get("about"):
            asked.setdefault(line["data"]["about"], []).append((line["data"]["annotators"], line["data"]["overlap"]))
    assert asked == {"one.txt": [([ann, bob], [2, 2]), ([], [3, 5])], "two.txt": [(None, None), ([ann], [1, 1])]}


def test_events_that_are_in_the_stream_are_asked_about(tidemill, name, tmp_path):
    made = tidemill("labelling", "project", "create", name, "--kind", "rating", "--medium", "text")
    assert made.code == 0, made.err
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": f"e{i}", "time": i, "text": f"text {i}"}) + "\n" for i in range(5)))
    assert tidemill("publish", name, rows).code == 0
    for words in ([], ["--where", "id = e0"], ["--events", rows], ["--events", "--where", "nosuch = 1"]):
        assert tidemill("labelling", "items", name, *words).code == 2, words
    told = tidemill("labelling", "items", name, "--events", "--where", "text != text 3", "--json")
    assert (told.code, told.json) == (0, {"added": ["e0", "e1", "e2", "e4"], "known": 0}), told.err
    assert tidemill("labelling", "items", name, "--events", "--json").json == {"added": ["e3"], "known": 4}
    shown = {line["item"]: line["payload"] for line in tidemill("labelling", "export", name).lines}
    assert shown == {f"e{i}": {"text": f"text {i}"} for i in range(5)}


def test_words_that_cannot_be_are_refused(tidemill, name, tmp_path):
    for words, why in (
        (
            ["project", "create", name, "--kind", "boxes", "--medium", "text", "--class", "a"],
            "boxes are drawn on images",
        ),
        (["project", "create", name], "wanted classes"),
        (["project", "create", "labels." + name, "--class", "a"], "named as the stream"),
        (["project", "show", name], "no such project"),
        (["items", name, str(tmp_path)], "no such project"),
        (["token", name, "x"], "no account"),
        (["revoke", name], "no token"),
    ):
        told = tidemill("labelling", *words)
        assert (told.code, why in told.err) == (2, True), (words, told.err)
    wish = tmp_path / "wish.json"
    rules = [{"collector": "skips", "at_least": 3, "action": "restrict"}]
    schema = {"kind": "rating", "medium": "text", "rating": [1, 3]}
    wish.write_text(json.dumps({"project": "x", "schema": schema, "rules": rules}))
    assert tidemill("labelling", "project", "create", name, "--file", wish).code == 0
    wish.write_text(json.dumps({"rules": [{**rules[0], "colector": 1}]}))
    told = tidemill("labelling", "settings", name, wish)
    assert (told.code, "colector" in told.err) == (2, True), told.err
    wish.write_text(json.dumps({"instructions": "be kind", "budget": 3}))
    made = tidemill("labelling", "settings", name, wish, "--json").json
    assert (made["budget"], made["schema"]["instructions"], made["rules"]) == (3, "be kind", rules)


def test_what_is_wrong_is_said_with_its_file_its_place_and_what_may_stand_there(tidemill, name, tmp_path):
    file = tmp_path / "rules.json"
    assert tidemill("labelling", "project", "create", name, "--class", "a").code == 0

    def said(content, *words):
        file.write_text(json.dumps(content))
        told = tidemill("labelling", *words, file)
        assert told.code == 2
        return told.err

    rules = [{"collector": "skips", "at_least": 3}, {"collector": "skips", "at_least": 3, "action": "ban"}]
    for words, content in (
        (("settings", name), {"rules": rules}),
        (("project", "create", f"{name}-2", "--class", "a", "--rules"), rules),
    ):
        err = said(content, *words)
        assert all(part in err for part in (str(file), "rule 2", "ban", "restrict, review")), err
    assert '"rules": [{...}]}' in said(rules, "settings", name)
    assert "a list of rules" in said({}, "project", "create", f"{name}-2", "--class", "a", "--rules")
    assert "colector" in said({"rules": [{"collector": "skips", "colector": 1}]}, "settings", name)
    err = tidemill("labelling", "project", "show", "none-such").err
    assert "no such project" in err and "tidemill labelling project list" in err


def test_what_the_live_model_says_comes_with_the_tasks(tidemill, stack, name, tmp_path):
    made = tidemill("labelling", "project", "create", name, "--medium", "text", "--class", "cat", "--class", "dog")
    assert made.code == 0, made.err
    (tmp_path / "texts.csv").write_text("text\nwuff\nbroken\n")
    assert tidemill("labelling", "items", name, tmp_path / "texts.csv").code == 0
    person = name + "-ann"
    code = tidemill("labelling", "members", name, "--add", person).out.strip()
    keys = tmp_path / "scoring-key"
    keys.write_text(KEY)
    keys.chmod(0o600)
    with serving(Scoring()) as url:
        options = ("--scoring", url, "--scoring-key-file", str(keys), "--model", "pets")
        with labelled(stack, tmp_path / "log", *options) as service, Caller(service.url) as ann:
            ann.post("/api/join", {"code": code, "password": PASSWORD})
            tasks = ann.post(f"/api/projects/{name}/next", {"count": 2})["tasks"]
            told = {task["payload"]["text"]: task["prelabel"] for task in tasks}
            assert told == {"wuff": {"value": "dog", "confidence": 0.75, "model": "pets@3"}, "broken": None}
    told = tidemill("labelling", "serve", "--port", 0, "--scoring", "http://10.0.0.1:8080")
    assert told.code == 2 and "--scoring" in told.err
