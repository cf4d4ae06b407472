"""Scaffolding: a stream and a job that run as they are made."""

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest

from tidemill.decode import Decoder
from tidemill.errors import ConfigError
from tidemill.log import Record
from tidemill.order import Batch
from tidemill.stream import RECORD_TIME
from tidemill_app.declaration import read_declaration
from tidemill_app.job_file import load_job
from tidemill_app.rows import read_rows
from tidemill_app.scaffold import scaffold

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "loans.csv"
    rows = [f"l{i},2013-01-{i:02d},{i * 10},{i % 3},{'yes' if i % 2 else 'no'},x" for i in range(1, 21)]
    path.write_text("loan_id,made,amount,previous,paid,note\n" + "\n".join(rows) + "\n")
    return str(path)


def test_what_is_made_runs(sample, tmp_path):
    made = scaffold("loans", sample, folder=tmp_path / "loans")
    assert (made.label, made.positive, made.features) == ("paid", "yes", ("amount", "previous"))
    assert len((tmp_path / "loans" / "job.py").read_text().splitlines()) <= 30
    spec, _ = read_declaration("loans", made.files[0])
    assert spec == made.spec
    assert (spec.id, spec.time, spec.label) == ("loan_id", "made", "paid")
    job = load_job(Path(made.files[1]), None)
    records = [Record(spec.topic, 0, i, None, r.value, (), 0) for i, r in enumerate(read_rows(sample, spec))]
    (block,) = Decoder(spec).decode(records)
    effects = job.step(job.init(), Batch.sort([block]))
    assert sum(len(rows) for rows in effects.emit if rows.output == "predictions") == 20
    assert not effects.dead


def test_the_commands_it_prints_name_what_it_made(sample, tmp_path):
    made = scaffold("loans", sample, folder=tmp_path / "l")
    assert [step.split()[1] for step in made.next] == ["stream", "submit", "publish"]
    for file in made.files:
        assert any(file in step for step in made.next)


def test_names_and_values_in_any_script_make_a_job_and_commands_that_work(tmp_path):
    path = tmp_path / "my file.csv"
    path.write_text(
        "at,Größe?,😀,id\n" + "".join(f"2024-01-0{i},{'👍' if i % 2 else 'ä'},{i},e{i}\n" for i in range(1, 9))
    )
    made = scaffold("uni", str(path), folder=tmp_path / "my folder", label="Größe?", positive="👍")
    job = load_job(Path(made.files[1]), None)
    assert job.name == "uni-gr-e"
    assert dict(job.reads[0].fields) == {"Größe?": "label", "😀": "features"}
    assert 'positive="👍"' in Path(made.files[1]).read_text("utf-8")
    assert [shlex.split(step)[-1 - (i == 2)] for i, step in enumerate(made.next)] == [*made.files, str(path)]


def test_elec2_has_no_time_and_takes_that_of_arrival(tmp_path):
    path = DATA / "elec2" / "electricity.csv.gz"
    if not path.exists():
        pytest.skip(f"no data at {DATA}")
    made = scaffold("elec2", str(path), folder=tmp_path / "e")
    assert (made.label, made.spec.time) == ("class", RECORD_TIME)
    assert "nswprice" in made.features
    assert any("time of arrival" in note for note in made.notes)
    assert load_job(Path(made.files[1]), None).name == "elec2-class"


def test_what_is_not_obvious_is_asked_with_its_choices(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("at,a,b,x\n2013-01-01,0,u,1.5\n2013-01-02,1,v,2.5\n2013-01-03,1,v,3.5\n")
    with pytest.raises(ConfigError, match="a field of two values: a, b"):
        scaffold("t", str(path), folder=tmp_path / "t")
    made = scaffold("t", str(path), folder=tmp_path / "t", label="b", positive="u")
    assert made.positive == "u"
    with pytest.raises(ConfigError, match="not empty"):
        scaffold("t", str(path), folder=tmp_path / "t", label="b")
    with pytest.raises(ConfigError, match=r"wanted u or v.*'w'"):
        scaffold("t", str(path), folder=tmp_path / "t2", label="b", positive="w")
    with pytest.raises(ConfigError, match="has 3 values"):
        scaffold("t", str(path), folder=tmp_path / "t2", label="x")
    assert not (tmp_path / "t2").exists()


def test_many_features_and_hostile_names_stay_a_job_of_thirty_lines(tmp_path):
    names = [f"it's {i} %" for i in range(40)]
    path = tmp_path / "t.jsonl"
    rng = np.random.default_rng(1)
    rows = [
        {"at": f"2013-01-0{i}", "y": i % 2 == 0} | dict(zip(names, rng.random(40).tolist(), strict=True))
        for i in (1, 2, 3)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    made = scaffold("wide", str(path), folder=tmp_path / "w")
    text = (tmp_path / "w" / "job.py").read_text()
    assert len(text.splitlines()) <= 30
    assert made.positive is True
    assert load_job(Path(made.files[1]), None).name == "wide-y"
