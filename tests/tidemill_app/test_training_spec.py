"""How a run is asked to stop: a first signal is noted; a second ends the process, or is noted too."""

import os
import signal
import threading

import pytest

from tidemill_app.training_spec import Asked, Spec


@pytest.fixture
def seen():
    before = signal.signal(signal.SIGTERM, lambda *_: found.append("ended"))
    found = []
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("patient", "second"), [(False, ["ended"]), (True, [])])
def test_the_first_is_noted_and_the_second_goes_where_it_went_before(seen, patient, second):
    asked = Asked(patient)
    assert not asked()
    os.kill(os.getpid(), signal.SIGTERM)
    assert asked() and seen == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert asked() and seen == second
    asked.restore()


def test_beside_the_main_thread_nobody_is_asked():
    found = []
    thread = threading.Thread(target=lambda: found.append(Asked()()))
    thread.start()
    thread.join()
    assert found == [False]


def test_a_run_has_a_folder_of_its_own():
    spec = Spec(run="a-2", home="/h", bundle="", entry="", dataset="d@1", workers=1)
    assert str(spec.folder) == "/h/training/a-2"
