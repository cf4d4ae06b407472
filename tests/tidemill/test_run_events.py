"""Events of data sets, runs and gates say by default what is least: nothing accepted, no alias, no label alone."""

from tidemill.run_events import GateDecided, ItemRetracted, RunChanged


def test_what_is_not_said_grants_nothing():
    assert GateDecided(id="g", time=1, model="m", candidate="2", accepted=False).alias == ""
    assert ItemRetracted(id="r", time=1, stream="p", about="i").label_only is False
    assert RunChanged(id="r", time=1, run="r", state="started").workers == 1
