"""Annotators and tasks as a graph that grows with the labels, and who of them is poor, which no one had to tell.

The answers (`task,worker,answer`, answers being classes from 0) have no time: a second a row stands for it.

    python -c "import csv, json
    for i, r in enumerate(csv.DictReader(open('rte.answers.csv'))):
        given = {'about': r['task'], 'by': r['worker'], 'value': int(r['answer']), 'time': i * 10**6}
        print(json.dumps(given))" > given.jsonl
    echo '{"id": "t0", "time": 0}' > tasks.jsonl
    tidemill stream create tasks --infer tasks.jsonl --id id --time time --time-unit s
    tidemill publish labels.tasks given.jsonl
    tidemill graph annotators examples/annotators/job.py
    tidemill graph neighbours examples/annotators/job.py w3
"""

from graph.job import graph_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from tidemill.stream import label_stream


def job():
    return graph_job(
        name="annotators",
        spec=GraphSpec(
            nodes=["annotator", "task"],
            relations=[Relation("gave", "annotator", "task", features=("value",))],
            rules=[EdgeFrom("gave", "labels.tasks", source="by", target="about", optional=True)],
        ),
    )


def streams():
    return {"labels.tasks": label_stream("tasks")}
