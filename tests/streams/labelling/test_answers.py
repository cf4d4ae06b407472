"""The answers that stand are the latest of each annotator about each item, in whatever order they came."""

from hypothesis import given
from hypothesis import strategies as st

from streams.labelling.answers import Answers
from tidemill import state as states

PUTS = st.lists(
    st.tuples(st.sampled_from("tuv"), st.sampled_from("abc"), st.sampled_from(["x", "y", None]), st.integers(0, 9)),
    max_size=30,
)


def made(puts):
    answers = Answers()
    for item, by, value, time in puts:
        # An event that comes again is the same event: who says what is part of its id.
        answers.put(answers.item_of(item), by, value, (time, f"{item}{by}{value}{time}"))
    return answers


def standing(answers):
    order = answers.order()
    rows = order.rows.tolist()
    named = [(answers.items[answers.item[r]], answers.annotators[answers.who[r]], answers.value[r]) for r in rows]
    assert named == sorted(named, key=lambda row: row[:2])
    assert [sorted(answers.items)[i] for i in order.item.tolist()] == [name for name, _, _ in named]
    assert [sorted(answers.annotators)[a] for a in order.who.tolist()] == [by for _, by, _ in named]
    return named


@given(PUTS, st.randoms())
def test_order_and_repetition_do_not_matter(puts, random):
    want = standing(made(puts))
    again = [*puts, *puts]
    random.shuffle(again)
    assert standing(made(again)) == want
    latest = {}
    for item, by, value, time in puts:
        stamp = (time, f"{item}{by}{value}{time}")
        if (item, by) not in latest or latest[item, by][0] < stamp:
            latest[item, by] = (stamp, value)
    assert want == sorted((i, b, v) for (i, b), (_, v) in latest.items() if v is not None)
    assert made(puts).standing == len(want)


def test_only_what_changes_something_is_told():
    answers = Answers()
    item = answers.item_of("t")
    assert answers.put(item, "a", "x", (5, "e1")) == 0
    assert answers.put(item, "a", "x", (5, "e1")) is None
    assert answers.put(item, "a", "y", (4, "e9")) is None
    assert answers.put(item, "a", "x", (6, "e2")) is None  # said again: nothing changes, but it is said as of then
    assert answers.put(item, "a", "y", (5, "e3")) is None
    assert answers.put(item, "a", None, (7, "e4")) == 0
    assert answers.put(item, "b", None, (7, "e5")) == 1
    assert answers.standing == 0


@given(PUTS)
def test_saved_and_read_back_it_is_the_same(puts):
    answers = made(puts)
    data = states.encode(answers)
    again = states.decode(data, Answers)
    assert states.encode(again) == data and standing(again) == standing(answers)
    for one in (answers, again):
        one.put(one.item_of("new"), "a", "x", (99, "late"))
    assert states.encode(again) == states.encode(answers)
