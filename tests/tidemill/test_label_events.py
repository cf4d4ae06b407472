"""Events of labelling projects: on one topic, each of them none of the stream of labels that learners read."""

from tidemill import events
from tidemill.label_events import LABELLING, LabelClass, LabelSchema, ProjectChanged
from tidemill.stream import answer_stream, label_stream


def test_every_event_of_a_project_is_the_platforms_and_no_learners_label():
    assert set(LABELLING) <= set(events.TAGS)
    assert "label.given.v1" not in LABELLING
    assert set(label_stream("p").beside) == set(LABELLING)
    assert answer_stream("p").topic == label_stream("p").topic


def test_a_project_reads_back_as_it_was_written():
    schema = LabelSchema(kind="single", medium="image", classes=(LabelClass("c1", "cat"),))
    event = ProjectChanged(id="p/1", time=1, project="p", schema=schema, rules=[{"when": "fast"}], budget=9.5)
    assert events.decode(events.encode(event)) == event
