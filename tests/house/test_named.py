"""One concept, one file, one same-named test: `room/part/thing.py` has `tests/room/part/test_thing.py`.

What has none stands here with what proves it instead. The lists only shrink: an entry that is needed no longer fails.
"""

from pathlib import Path

from tests.house.test_layout import ROOT, room_files, tracked

PROVEN = {
    "tests/conformance/test_engines.py": [
        "tidemill/checks/engines.py",
        "tidemill/checks/inputs.py",
        "tidemill/checks/reference.py",
        "tidemill/checks/scenarios.py",
    ],
    "tests/conformance/test_learners.py": [
        "streams/learners/bayes.py",
        "streams/learners/rowwise.py",
        "streams/learners/statistics.py",
        "tidemill/learner.py",
    ],
    "tests/graph/test_mapping.py": ["graph/job.py", "graph/usable.py"],
    "tests/graph/test_nodes.py": ["graph/table.py"],
    "tests/graph/test_replay.py": ["graph/turn.py"],
    "tests/graph/test_sampling.py": ["graph/reach.py"],
    "tests/graph/test_store.py": [
        "graph/adjacency.py",
        "graph/checking.py",
        "graph/edges.py",
        "graph/lock.py",
        "graph/relation.py",
        "graph/selection.py",
        "graph/versions.py",
    ],
    "tests/graph/nn/test_backend.py": ["graph/nn/dgl_backend.py", "graph/nn/pyg_backend.py"],
    "tests/scenarios/test_served_metrics.py": ["tidemill_app/commands/serve.py"],
    "tests/serving/test_follow.py": ["serving/freshness.py"],
    "tests/serving/test_http.py": ["serving/metrics.py", "serving/oip.py", "serving/openapi.py"],
    "tests/serving/labelling/test_door.py": [
        "serving/labelling/annotator_desk.py",
        "serving/labelling/desk.py",
        "serving/labelling/manager_desk.py",
        "serving/labelling/page_desk.py",
        "serving/labelling/project_desk.py",
        "serving/labelling/reviewer_desk.py",
    ],
    "tests/streams/engines/test_recovery.py": ["tidemill/checks/faults.py"],
    "tests/streams/test_anomaly.py": ["streams/learners/deviation.py"],
    "tests/streams/test_classifier.py": ["streams/learning.py"],
    "tests/streams/test_intake.py": ["streams/rejecting.py"],
    "tests/streams/test_multiclass.py": ["streams/tally.py"],
    "tests/streams/test_walk.py": ["streams/ledger.py"],
    "tests/streams/test_windows.py": ["streams/open_windows.py"],
    "tests/training/test_loop.py": ["training/feed.py", "training/report.py"],
    "tests/tidemill_app/test_label_tail.py": ["tidemill_app/label_items.py"],
    "tests/tidemill_app/test_training_run.py": [
        "tidemill_app/commands/run.py",
        "tidemill_app/commands/train.py",
        "tidemill_app/run_reporter.py",
        "tidemill_app/trained.py",
        "tidemill_app/training_work.py",
    ],
    "tests/tidemill/checks/test_logs.py": [
        "tidemill/checks/log_reading.py",
        "tidemill/checks/log_subject.py",
        "tidemill/checks/log_transactions.py",
        "tidemill/checks/log_writing.py",
    ],
    "tests/tidemill_app/test_demo_graph.py": ["tidemill_app/commands/demo_graph.py"],
    "tests/tidemill_app/test_demo_perception.py": [
        "tidemill_app/commands/demo_perception.py",
        "tidemill_app/demo_perception_retrain.py",
    ],
    "tests/tidemill_app/commands/test_graph.py": [
        "tidemill_app/graph_effect.py",
        "tidemill_app/graph_page.py",
        "tidemill_app/graphs.py",
    ],
    "tests/tidemill_app/commands/test_labelling.py": [
        "tidemill_app/commands/labelling_project.py",
        "tidemill_app/labelling_service.py",
    ],
    "tests/tidemill_app/stack/test_kafka.py": ["tidemill_app/stack/parts.py"],
    "tests/tidemill_app/stack/test_lifecycle.py": ["tidemill_app/stack/supervisor.py"],
    "tests/tidemill_app/test_compose.py": ["tidemill_app/commands/service.py"],
    "tests/tidemill_app/test_gating.py": ["tidemill_app/commands/gate.py"],
    "tests/tidemill_app/test_models.py": ["tidemill_app/deploy.py"],
    "tests/tidemill_app/test_publishing.py": ["tidemill_app/reading.py"],
    "tests/tidemill_app/test_submission.py": ["tidemill_app/engines.py"],
    "tests/tidemill_app/test_trust.py": ["tidemill_app/commands/key.py"],
    "tests/tidemill_app/test_endpoints.py": ["tidemill_app/wiring.py"],
}
"""By another test, which uses it as it is used."""

UNPROVEN: dict[str, str] = {}
"""By no test of its own yet, or not each file of the folder; and why."""


def without_a_test() -> set[str]:
    there = {p.relative_to(ROOT) for p in tracked("tests/*.py")}
    modules = [p.relative_to(ROOT) for p in room_files() if p.name != "__init__.py"]
    return {str(p) for p in modules if Path("tests") / p.parent / f"test_{p.stem.strip('_')}.py" not in there}


def test_every_module_has_a_test_of_its_name_or_says_what_proves_it():
    listed = [module for modules in PROVEN.values() for module in modules]
    lacking = without_a_test()
    under = {entry: {m for m in lacking if m == entry or m.startswith(entry + "/")} for entry in UNPROVEN}
    unlisted = lacking - set(listed) - set().union(*under.values())
    assert not unlisted, f"no test of their name: {sorted(unlisted)}"
    assert sorted(set(listed)) == sorted(listed)
    over = (set(listed) - lacking) | {entry for entry, modules in under.items() if not modules}
    assert not over, f"have a test of their name, or are gone; take them off the list: {sorted(over)}"


def test_what_is_said_to_prove_something_is_there():
    assert [test for test in PROVEN if not (ROOT / test).is_file()] == []
