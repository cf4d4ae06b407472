"""`tidemill graph`: a job's graph as its owner looks at it, made anew from the log."""

import json
import random
from unittest.mock import patch

import pytest

from tests.examples.examples import EXAMPLES
from tidemill.time import DAY
from tidemill_app import graph_page, graphs
from tidemill_app.job_file import load_job

pytestmark = pytest.mark.stack

ARRIVAL = "from tidemill.order import Arrival"
JOB = """
from graph.job import graph_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation

def job():
    return graph_job(name="{name}", spec=GraphSpec(
        nodes=["trader", "shop"],
        relations=[Relation("trusts", "trader", "trader", ("rating",)), Relation("buys", "trader", "shop")],
        rules=[EdgeFrom("trusts", "{name}", "who", "whom"), EdgeFrom("buys", "{name}", "who", "shop", optional=True)],
    ))
"""
ROWS = [
    ("2024-01-01T00:00:00Z", 1, 2, 5.0, "tea"),
    ("2024-01-02T00:00:00Z", 2, 3, -1.0, None),
    ("2024-01-03T00:00:00Z", 1, 3, 2.5, "7"),
    ("2024-01-04T00:00:00Z", 3, 1, 4.0, "tea"),
    ("2024-01-05T00:00:00Z", 7, 1, 1.0, "<b>$\\x$"),
]


@pytest.fixture
def job(tidemill, tmp_path, name):
    """The job file, with its events published."""
    lines = [
        {"id": f"e{i}", "time": time, "who": who, "whom": whom, "rating": rating, "shop": shop}
        for i, (time, who, whom, rating, shop) in enumerate(ROWS)
    ]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = tmp_path / "job.py"
    file.write_text(JOB.format(name=name))
    tidemill("stream", "create", name, "--infer", rows, "--time", "time", "--id", "id")
    tidemill("publish", name, rows)
    return file


def test_figures_of_the_whole(tidemill, job, tmp_path):
    stats = tidemill("graph", "stats", job, "--json").json
    assert stats["nodes"] == {"trader": 4, "shop": 3}
    assert stats["edges"] == stats["living"] == {"trusts": 5, "buys": 4}
    assert stats["degrees"]["trusts out"] == {"mean": 1.25, "median": 1.0, "largest": 2.0}
    page = tmp_path / "all.html"
    assert f"Page: {page}" in tidemill("graph", "stats", job, "--page", page).out
    text = page.read_text()
    assert text.count("<svg") == 1 and "trusts: 5 edges, 5 that stand" in text
    assert "trusts out" in text and "trusts in" in text and "Graph of" in text and "2024-01-05T00:00:00.000001Z" in text


def test_figures_as_of_a_time_count_nothing_of_later(tidemill, job, tmp_path):
    early = tidemill("graph", "stats", job, "--at", "2024-01-02T12:00:00Z", "--json").json
    assert early["nodes"] == {"trader": 3, "shop": 1}  # 7, and two shops, were not seen yet
    assert early["edges"] == early["living"] == {"trusts": 2, "buys": 1}
    assert early["degrees"]["trusts in"] == {"mean": pytest.approx(2 / 3), "median": 1.0, "largest": 1.0}
    exact = tidemill("graph", "stats", job, "--at", "2024-01-02T00:00:00Z", "--json").json
    assert exact["nodes"] == {"trader": 2, "shop": 1} and exact["edges"]["trusts"] == 1  # strictly before
    page = tmp_path / "early.html"
    words = ("--at", "2024-01-02T12:00:00Z", "--page", page)
    assert " ".join(tidemill("graph", "stats", job, *words).out.split()).startswith(
        "trader nodes 3 shop nodes 1 trusts "
    )
    assert "2  2 that stand" in tidemill("graph", "stats", job, *words).out
    assert "Graph of" in page.read_text() and "as of 2024-01-02T12:00:00Z" in page.read_text()
    none = tidemill("graph", "stats", job, "--at", "2023-01-01T00:00:00Z", "--page", page, "--json").json
    assert none["nodes"] == {"trader": 0, "shop": 0} and none["degrees"] == {}
    empty = load_job(job, "job").init().graph
    assert "<h1>Graph of x</h1>" in graph_page.whole(graphs.stats(empty, "x", empty.clock + 1), empty, empty.clock + 1)


def declared(tidemill, folder, stream, *events):
    rows = folder / f"{stream}.jsonl"
    rows.write_text("".join(json.dumps(event) + "\n" for event in events))
    tidemill("stream", "create", stream, "--infer", rows, "--time", "time", "--id", "id")
    assert tidemill("publish", stream, rows).code == 0


def test_edges_that_were_ended_or_forbidden_do_not_stand(tidemill, job, tmp_path, name):
    declared(tidemill, tmp_path, f"{name}-off", {"id": "r0", "time": "2024-01-06T00:00:00Z", "who": 1, "whom": 3})
    declared(
        tidemill,
        tmp_path,
        f"{name}-said",
        {"id": "v0", "time": "2024-01-07T00:00:00Z", "who": 3, "whom": 1, "verdict": "forbid"},
    )
    rules = [f'RetractionFrom("trusts", "{name}-off", "who", "whom")']
    rules.append(f'ExpertFrom("trusts", "{name}-said", "who", "whom", "verdict")')
    text = job.read_text().replace("EdgeFrom, ", "EdgeFrom, ExpertFrom, RetractionFrom, ").replace(', ("rating",)', "")
    job.write_text(text.replace("optional=True)]", f"optional=True), {', '.join(rules)}]"))

    def figures(*words):
        told = tidemill("graph", "stats", job, "--json", *words).json
        return told["edges"]["trusts"], told["living"]["trusts"], told["degrees"]["trusts out"]["mean"]

    assert figures() == (5, 3, 0.75)
    assert figures("--at", "2024-01-07T00:00:00Z") == (5, 4, 1.0)
    assert figures("--at", "2024-01-06T00:00:00Z") == (5, 5, 1.25)
    graph = load_job(job, "job").init().graph
    graph.add("trusts", [1, 1, 1], [2, 3, 4], [0, DAY, 2 * DAY])
    graph.retract("trusts", 1, 4, 3 * DAY)
    (grown,) = grew(graph, 4 * DAY)
    assert grown == ([0, 1], [1, 2])  # days, edges: without the one that was ended
    ((_, count),) = grew(graph, 3 * DAY)
    assert count == [1, 2, 3]


def grew(graph, before):
    """What the picture of a graph's growth shows, relation by relation that has edges."""
    with patch.object(graph_page, "svg", side_effect=lambda figure: figure) as drawn:
        graph_page.shape(graph, before)
    growth, _ = drawn.call_args.args[0].axes
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in growth.lines]


def test_the_features_of_nodes_are_shown_as_of_the_time(tidemill, job, tmp_path, name):
    declared(
        tidemill,
        tmp_path,
        f"{name}-who",
        {"id": "n0", "time": "2024-01-01T00:00:00Z", "who": 1, "age": 20.0, "<i>": 0.5},
        {"id": "n1", "time": "2024-01-04T12:00:00Z", "who": 1, "age": 21.0, "<i>": 1.5},
        {"id": "n2", "time": "2024-01-03T00:00:00Z", "who": 3, "age": 40.0, "<i>": 2.5},
    )
    text = job.read_text().replace("EdgeFrom, ", "EdgeFrom, NodeFrom, ")
    text = text.replace("import Relation\n", "import NodeType, Relation\n")
    text = text.replace('["trader",', '[NodeType("trader", ("age", "<i>")),')
    job.write_text(text.replace("optional=True)]", f'optional=True), NodeFrom("trader", "{name}-who", "who")]'))
    now = tidemill("graph", "neighbours", job, "1", "--json").json
    assert (now["node"], now["features"]) == ("trader 1", {"age": 21.0, "<i>": 1.5})
    assert now["time"] == 1_704_412_800_000_001
    own = [(edge["node"], edge["node_features"]) for edge in now["edges"] if edge["relation"] == "trusts"]
    assert own[:2] == [("trader 3", {"age": 40.0, "<i>": 2.5}), ("trader 2", {})]
    then = tidemill("graph", "neighbours", job, "3", "--at", "2024-01-04T12:00:00Z", "--json").json
    assert then["features"]["age"] == 40.0
    assert {e["node_features"]["age"] for e in then["edges"] if e["node"] == "trader 1"} == {20.0}
    assert tidemill("graph", "neighbours", job, "3", "--at", "2024-01-03T00:00:00Z", "--json").json["features"] == {}
    first, head, *_ = tidemill("graph", "neighbours", job, "1").out.splitlines()
    assert first.split() == ["trader", "1:", '{"age":21.0,"<i>":1.5}'] and head.endswith("of the node")
    none = tidemill("graph", "neighbours", job, "1", "--at", "2024-01-01T00:00:00Z").out
    assert none == "No edges before that.\n"
    page = tmp_path / "one.html"
    told = tidemill("graph", "show", job, "1", "--page", page, "--json").json
    assert told["features"] == {"age": 21.0, "<i>": 1.5}
    text = page.read_text()
    assert "<p>age 21, &lt;i&gt; 1.5</p>" in text and "<td>age 40, &lt;i&gt; 2.5</td>" in text and "<i>" not in text


@pytest.mark.usefixtures("supervised")
def test_a_running_job_is_asked_whether_it_passed_a_barrier(tidemill, job, tmp_path, name):
    declared(tidemill, tmp_path, f"{name}-marks", {"id": "b0", "time": "2024-01-06T00:00:00Z", "mark": "first"})
    text = job.read_text().replace("EdgeFrom, ", "BarrierFrom, EdgeFrom, ")
    text = text.replace("optional=True)]", f'optional=True), BarrierFrom("{name}-marks", "mark")]')
    job.write_text(text.replace("spec=", "order=Arrival(), spec=").replace("def job", f"{ARRIVAL}\n\ndef job"))
    never = tidemill("graph", "reached", job, "first", "--json")
    assert never.code == 1 and never.json == {"job": name, "name": "first", "reached": False, "position": 0}
    assert tidemill("submit", job).code == 0
    try:
        first = tidemill("graph", "reached", name, "first", "--wait", "120", "--json")
        assert first.code == 0 and first.json["reached"] and 0 < first.json["position"] <= 6
        second = tidemill("graph", "reached", name, "second")
        assert (second.code, second.err) == (1, "") and second.out.startswith("second: not reached, at position ")
        (tmp_path / "more.jsonl").write_text('{"id": "b1", "time": "2024-01-07T00:00:00Z", "mark": "second"}\n')
        assert tidemill("publish", f"{name}-marks", tmp_path / "more.jsonl").code == 0
        assert tidemill("graph", "reached", name, "second", "--wait", "120").out == "second: reached, at position 7.\n"
    finally:
        tidemill("job", "stop", name, "--wait", "0")
    refused = tidemill("graph", "reached", "nowhere", "first")
    assert refused.code == 2 and "no such job" in refused.err


def test_neighbours_are_those_before_the_time(tidemill, job):
    found = tidemill("graph", "neighbours", job, "1", "--json").json["edges"]
    seen = [(e["relation"], e["direction"], e["node"], e["features"]) for e in found]
    assert seen == [
        ("trusts", "out", "trader 3", {"rating": 2.5}),
        ("trusts", "out", "trader 2", {"rating": 5.0}),
        ("trusts", "in", "trader 7", {"rating": 1.0}),
        ("trusts", "in", "trader 3", {"rating": 4.0}),
        ("buys", "out", "shop 7", {}),
        ("buys", "out", "shop tea", {}),
    ]
    then = tidemill("graph", "neighbours", job, "1", "--at", "2024-01-03T00:00:00Z", "--json").json["edges"]
    assert [e["node"] for e in then] == ["trader 2", "shop tea"]
    newest = tidemill("graph", "neighbours", job, "1", "-k", "1", "--json").json["edges"]
    assert [e["node"] for e in newest] == ["trader 3", "trader 7", "shop 7"]
    lines = tidemill("graph", "neighbours", job, "tea", "--hops", "2").out.splitlines()
    assert lines[0].split() == ["hop", "of", "relation", "node", "time", "features"]
    assert lines[1].split()[:8] == ["1", "shop", "tea", "<-", "buys", "trader", "3", "2024-01-04T00:00:00Z"]
    assert sum(line.startswith("2") for line in lines) > 3


def test_what_experts_said_is_seen_and_can_be_left_out(tidemill, job, tmp_path, name):
    said = [
        {"id": "v0", "time": "2024-01-06T00:00:00Z", "who": 1, "whom": 3, "verdict": "forbid", "weight": 0.0},
        {"id": "v1", "time": "2024-01-06T00:00:00Z", "who": 1, "whom": 2, "verdict": "weight", "weight": 2.5},
    ]
    rows = tmp_path / "said.jsonl"
    rows.write_text("".join(json.dumps(line) + "\n" for line in said))
    rule = f'ExpertFrom("trusts", "{name}-said", "who", "whom", "verdict", "weight")'
    text = (
        job.read_text()
        .replace("EdgeFrom, ", "EdgeFrom, ExpertFrom, ")
        .replace("optional=True)]", f"optional=True), {rule}]")
    )
    relation = 'Relation("trusts", "trader", "trader", ("rating",))'
    job.write_text(text.replace(relation, 'Relation("trusts", "trader", "trader")'))
    tidemill("stream", "create", f"{name}-said", "--infer", rows, "--time", "time", "--id", "id")
    tidemill("publish", f"{name}-said", rows)

    def seen(*words):
        found = tidemill("graph", "neighbours", job, "1", *words, "--json").json["edges"]
        return [(e["node"], e["weight"]) for e in found if e["relation"] == "trusts" and e["direction"] == "out"]

    assert seen() == [("trader 2", 2.5)]
    page = tmp_path / "one.html"
    assert tidemill("graph", "show", job, "1", "--page", page).code == 0
    assert "<td>weight 2.5</td>" in page.read_text()
    assert seen("--without-experts") == seen("--at", "2024-01-06T00:00:00Z") == [("trader 3", 1.0), ("trader 2", 1.0)]


def test_what_experts_change_in_scores_is_shown(tidemill, tmp_path, name):
    rng, last = random.Random(1), {}
    edges = []
    for i in range(600):
        who = rng.randrange(12)
        last[who] = last[who] if who in last and rng.random() < 0.9 else rng.randrange(20, 32)
        edges.append({"id": f"e{i}", "time": 60 * i, "who": who, "whom": last[who]})
    other = next(n for n in range(20, 32) if n != last[5])
    said = [
        {"id": "v0", "time": 60 * 600, "who": 5, "whom": last[5], "verdict": "forbid"},
        {"id": "v1", "time": 60 * 600, "who": 5, "whom": other, "verdict": "assert"},
        {"id": "v2", "time": 60 * 602, "who": 5, "whom": last[5], "verdict": "revoke"},
    ]
    rule = f'EdgeFrom("trusts", "{name}", "who", "whom"), ExpertFrom("trusts", "{name}-said", "who", "whom", "verdict")'
    job = tmp_path / "job.py"
    text = JOB.format(name=name).replace("EdgeFrom, ", "EdgeFrom, ExpertFrom, ").replace(', "shop"]', "]")
    first, _, _ = text.partition("relations=")
    job.write_text(f'{first}relations=[Relation("trusts", "trader", "trader")],\n        rules=[{rule}],\n    ))\n')
    how = ("--time", "time", "--time-unit", "s", "--id", "id")
    for stream, events in ((name, edges), (f"{name}-said", said)):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
        tidemill("stream", "create", stream, "--infer", tmp_path / "rows.jsonl", *how)
        assert tidemill("publish", stream, tmp_path / "rows.jsonl").code == 0
    page = tmp_path / "effect.html"
    at = ("--at", "1970-01-01T10:01:00Z")
    answered = tidemill("graph", "effect", job, "5", *at, "--page", page, "--json")
    assert answered.code == 0, answered.err
    told = answered.json
    assert (told["relation"], told["source"], told["version"]) == ("trusts", "5", "")
    by = {one["node"]: one for one in told["effects"]}
    # The best ten of either ranking; what experts say of some moves others, too.
    ranks = [(one["rank_before"], one["rank_after"]) for one in told["effects"]]
    assert sorted(rank for rank, _ in ranks if rank and rank <= 10) == list(range(1, 11))
    assert sorted(rank for _, rank in ranks if rank and rank <= 10) == list(range(1, 11))
    assert all(min(rank or 99 for rank in pair) <= 10 for pair in ranks) and len(by) == len(ranks)
    assert by[str(last[5])]["after"] is None and by[str(last[5])]["rank_before"] == 1
    assert by[str(other)]["rank_after"] == 1 and by[str(other)]["after"] > by[str(other)]["before"]
    text = page.read_text()
    assert text.count("<svg") == 1 and "<td>forbidden</td>" in text and "<script" not in text
    named = str(last[5]), str(other), "--at", "1970-01-01T10:00:00Z"
    early = tidemill("graph", "effect", job, "5", *named, "--json").json
    assert all(one["before"] == one["after"] for one in early["effects"]) and len(early["effects"]) == 2
    later = tidemill("graph", "effect", job, "5", str(last[5]), "--json").json["effects"][0]
    assert later["after"] is not None  # revoked
    lines = tidemill("graph", "effect", job, "5", *at, "--top", "1").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [str(other), str(last[5])] and "forbidden" in lines[2]
    for words, line in (
        (("5", "--relation", "buys"), "along which relation?"),
        (("99",), "no such node"),
        (("5", "--at", "1970-01-01T00:05:00Z"), "too few edges"),
    ):
        refused = tidemill("graph", "effect", job, *words)
        assert refused.code == 2 and line in refused.err, refused.err


CLASSES = """
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from training.graph_classifier import graph_classifier


def job():
    spec = GraphSpec(
        nodes=["trader"],
        relations=[Relation("trusts", "trader", "trader")],
        rules=[EdgeFrom("trusts", "{name}", "who", "whom")],
    )
    seeds = {{"who": "trader"}}
    return graph_classifier(name="{name}-late", spec=spec, stream="{name}", seeds=seeds, features=["size"])
"""


def test_a_job_of_classes_has_no_scores_of_links_for_experts_to_change(tidemill, tmp_path, name):
    (tmp_path / "job.py").write_text(CLASSES.format(name=name))
    refused = tidemill("graph", "effect", tmp_path / "job.py", "5")
    assert refused.code == 2 and "learns classes of events" in refused.err and "graph.link_job" in refused.err


def test_annotators_are_listed_the_poorest_first(tidemill, tmp_path, name):
    rng = random.Random(0)
    given = [
        {"about": f"t{task}", "by": who, "value": right if rng.random() < skill else 1 - right, "time": task * 10 + i}
        for task, right in enumerate(rng.choices([0, 1], k=60))
        for i, (who, skill) in enumerate({"ann": 0.95, "bob": 0.9, "cem": 0.3, "dee": 0.9}.items())
    ]
    given += [
        {"about": "t1", "by": None, "value": 1, "time": 700},
        {"about": "t1", "by": "x", "value": "cat", "time": 700},
    ]
    for file, rows in (("tasks", [{"id": "t0", "time": 0}]), ("given", given)):
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = tmp_path / "annotators.py"
    job.write_text((EXAMPLES / "annotators" / "job.py").read_text().replace("tasks", name))
    fields = ("--id", "id", "--time", "time", "--time-unit", "s")
    made = tidemill("stream", "create", name, "--infer", tmp_path / "tasks.jsonl", *fields)
    assert made.code == 0, made.err
    told = tidemill("publish", f"labels.{name}", tmp_path / "given.jsonl", "--json")
    assert told.code == 0 and told.json["sent"] == len(given), told.err
    told = tidemill("graph", "annotators", job, "--json").json
    assert told[0]["annotator"] == "cem" and {a["annotator"] for a in told} == {"ann", "bob", "cem", "dee"}
    assert told[0]["poorness"] > 0.5 > 0.2 > told[1]["poorness"] and told[0]["features"]["labels"] == 60
    lines = tidemill("graph", "annotators", job, "--top", "1").out.splitlines()
    assert [line.split()[0] for line in lines] == ["annotator", "cem"]
    assert tidemill("graph", "annotators", job, "--relation", "gave").code == 0
    assert "no such relation" in tidemill("graph", "annotators", job, "--relation", "took").err


def test_a_page_shows_a_node(tidemill, job, tmp_path):
    page = tmp_path / "one.html"
    told = tidemill("graph", "show", job, "1", "--page", page, "--json").json
    text = page.read_text()
    assert told == {"page": str(page), "edges": text.count("<tr><td>"), "features": {}}
    assert "<h1>trader 1 as of 2024-01-05T" in text and text.count("<svg") == 1
    assert "shop &lt;b&gt;$\\x$" in text and "<b>" not in text and "<script" not in text


def test_what_is_not_there_is_told(tidemill, job, tmp_path, name):
    other = tmp_path / "other.py"
    other.write_text("from streams.classifier import online_classifier\n\ndef job():\n")
    other.write_text(
        other.read_text() + f"    return online_classifier(name='x', stream='{name}', features=['rating'])\n"
    )
    for words, said in (
        (("stats", "nowhere"), "no such job"),
        (("stats", tmp_path / "none.py"), "no such job file"),
        (("stats", other), "the job holds no graph"),
        (("neighbours", job, "99"), "no such node"),
        (("neighbours", job, "7"), "several nodes are called so"),
        (("neighbours", job, "7", "--type", "dog"), "no such node type"),
        (("stats", job, "--at", "yesterday"), "--at"),
    ):
        told = tidemill("graph", *words)
        assert (told.code, told.err.count("\n"), said in told.err) == (2, 1, True), told.err
    assert len(tidemill("graph", "neighbours", job, "7", "--type", "shop", "--json").json["edges"]) == 1
