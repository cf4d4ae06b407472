"""What a cluster and its clients read: links, configuration, environment."""

import importlib.util
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tidemill.errors import ConfigError
from tidemill_app import config
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import flink_files, lifecycle

RECORD = StackRecord(
    flink="http://127.0.0.1:20001",
    ports={"flink": 20_001, "flink-rpc": 20_002, "flink-blob": 20_003, "flink-zookeeper": 20_004},
    taskmanagers=1,
)


def read(folder):
    return YAML(typ="safe").load(folder / "config.yaml")


def test_a_home_with_any_name_is_named_as_it_is(tmp_path):
    home = Home(tmp_path / "a home: 50% #1 'ü'")
    found = read(flink_files.write_cluster(home, RECORD))
    assert found["execution.checkpointing.dir"] == f"file://{home.path}/flink/checkpoints"
    assert found["rest.bind-address"] == "127.0.0.1"


def test_clients_know_an_address_and_nothing_of_the_clusters_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEMILL_API_KEY", "k" * 32)
    home = Home(tmp_path)
    environment = flink_files.client_environment(home, config.load(tmp_path), "https://far:8443")
    found = read(home.part("flink") / "client")
    assert (found["rest.address"], found["rest.port"], found["security.ssl.rest.enabled"]) == ("far", 8443, True)
    assert not any(name.startswith("high-availability") for name in found)
    assert "k" * 32 not in str(environment), "no secret gets there by inheritance"
    assert environment["FLINK_CONF_DIR"] == str(home.part("flink") / "client")


def test_python_of_that_environment_is_this_one():
    code = "import sys, numpy, tidemill; print(sys.executable)"
    environment = flink_files.python_environment()
    done = subprocess.run(["python", "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.executable


def test_the_library_is_kept_in_step_with_the_package(tmp_path):
    lib = flink_files.fill_library(tmp_path / "lib", config.load(tmp_path))
    (lib / "flink-old-1.0.jar").symlink_to(tmp_path / "gone.jar")
    wrong = next(lib.glob("flink-csv*.jar"))
    wrong.unlink()
    wrong.symlink_to(tmp_path / "gone.jar")
    assert flink_files.fill_library(lib, config.load(tmp_path)) == lib
    assert all(jar.exists() for jar in lib.iterdir())
    names = [path.rsplit("/", 1)[1] for path in flink_files.class_path(lib).split(":")]
    assert names[0] == flink_files.LOOPBACK_JAR and names[-1].startswith("flink-dist-")
    assert {name.split("-2.2")[0] for name in names} >= {"flink-python", "flink-sql-connector-kafka-5.0.0"}


@pytest.mark.parametrize("spec", [None, importlib.util.find_spec("json.decoder")])
def test_without_flink_nothing_is_started_and_the_remedy_is_named(spec, own_home, monkeypatch):
    monkeypatch.setattr(flink_files.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match="make flink"):
        lifecycle.up(config.load(own_home), taskmanagers=1)
    assert not list((own_home / "run").glob("*.pid"))
    assert Home(own_home).read() is None, "the home is not said to have a cluster"
    monkeypatch.setattr(flink_files.importlib.util, "find_spec", importlib.util.find_spec)


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setattr(flink_files, "VERSION", "2.3.0")
    with pytest.raises(ConfigError, match=r"wanted apache-flink 2.3.0, got 2.2.1|2\.3\.0.*2\.2\.1"):
        flink_files.package()
