"""States of bytes are bytes in both modes; and PyFlink's own type for them still is not, in thread mode."""

import subprocess
import sys

import pytest

from streams.engines.flink.kept import BYTES, kept
from tidemill_app.stack import flink_files

PLAIN = """
import sys
from pyflink.common import Configuration, Types
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor

class Remembers(KeyedProcessFunction):
    def open(self, context):
        self.state = context.get_state(ValueStateDescriptor("state", Types.PRIMITIVE_ARRAY(Types.BYTE())))

    def process_element(self, value, context):
        yield repr(self.state.value())
        self.state.update(b"ab")

settings = Configuration()
settings.set_string("python.execution-mode", sys.argv[1])
settings.set_string("python.executable", sys.executable)
settings.set_string("parallelism.default", "1")
environment = StreamExecutionEnvironment.get_execution_environment(settings)
numbers = environment.from_collection([1, 2], Types.INT()).key_by(lambda value: 0, Types.INT())
with numbers.process(Remembers(), Types.STRING()).execute_and_collect() as found:
    print(*found)
"""


def test_in_process_mode_it_is_pyflinks_own_type():
    assert kept("process") == BYTES
    assert type(kept("thread")) is not type(BYTES)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "told"), [("process", "None b'ab'"), ("thread", "'NoneType' object is not iterable")])
def test_pyflinks_own_type_fails_in_thread_mode_without_any_code_of_ours(flink, tmp_path, mode, told):
    """Once it no longer does, `kept` may go."""
    (tmp_path / "plain.py").write_text(PLAIN)
    told_by_pyflink = flink_files.client_environment(flink.home, flink.settings, flink.flink)
    # In a cluster inside the process: no setting of ours.
    conf = flink_files.write_configuration(
        tmp_path / "conf",
        {"env.java.opts.all": " ".join(flink_files.java_options())},
        "log4j-cli.properties",
        "rootLogger.level = off\n",
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "plain.py"), mode],
        env=told_by_pyflink | {"FLINK_CONF_DIR": str(conf)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert told in done.stdout + done.stderr, done.stderr[-3000:]
