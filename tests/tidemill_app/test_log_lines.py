"""The lines of a log as they come: whole, each once, also where the log is begun anew."""

import os

from tidemill_app.log_lines import MAX_READ, LogLines


def test_the_last_lines_then_what_comes(tmp_path):
    log = tmp_path / "x.log"
    early = LogLines(log, 5)
    assert early.read() == []
    log.write_text("1\n2\n3\n")
    assert early.read() == ["1", "2", "3"]
    later, none = LogLines(log, 2), LogLines(log, 0)
    assert (later.read(), none.read()) == (["2", "3"], [])
    with open(log, "a") as stream:
        stream.write("4\n5 begins")
        stream.flush()
        assert (later.read(), none.read()) == (["4"], ["4"])
        stream.write(" and ends\n")
    assert later.read() == ["5 begins and ends"]
    assert later.read() == []


def test_a_log_that_is_moved_away_is_followed_into_the_new_one(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("old\n" * 10)
    lines = LogLines(log, 1)
    assert lines.read() == ["old"]
    os.replace(log, tmp_path / "x.log.1")
    assert lines.read() == []
    log.write_text("new\n")
    assert lines.read() == ["new"]


def test_a_line_without_end_does_not_grow_in_memory(tmp_path):
    log = tmp_path / "x.log"
    log.touch()
    lines = LogLines(log, 1)
    lines.read()
    log.write_bytes(b"x" * (MAX_READ + 10) + b"\nend\n")
    assert [len(line) for line in lines.read()] == [MAX_READ]
    assert lines.read() == ["x" * 10, "end"]
