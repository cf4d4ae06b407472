"""What the doctor finds, and that every fault comes with how to mend it."""

import importlib.metadata
import socket

import pytest

from tidemill_app import config
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack import doctor, flink_files


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """The findings for a home, by name."""
    monkeypatch.setenv("TIDEMILL_CACHE", str(tmp_path / "cache"))

    def run(**environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return {finding.name: finding for finding in doctor.examine(config.load(tmp_path / "home"))}

    return run


def failed(findings):
    assert all(finding.fix for finding in findings.values() if not finding.ok)
    return sorted(name for name, finding in findings.items() if not finding.ok)


def test_a_sound_machine_is_found_sound(examine, tmp_path):
    found = examine()
    assert failed(found) == []
    assert "21." in found["Java"].found and "Redis" in found["Redis"].found
    assert "not fetched yet" in found["Kafka's jars"].found
    assert "apache-flink" in found["Flink"].found and "not fetched yet" in found["Flink's jars"].found
    assert not (tmp_path / "home").exists(), "looking changes nothing"


def test_a_missing_flink_is_a_fault_only_where_there_is_a_cluster(examine, tmp_path, monkeypatch):
    monkeypatch.setattr(flink_files.importlib.util, "find_spec", lambda name: None)
    found = examine(TIDEMILL_REDIS="redis://127.0.0.1:1/0", TIDEMILL_BOOTSTRAP="127.0.0.1:1")
    assert found["Flink"].ok and "not installed" in found["Flink"].found
    home = Home(tmp_path / "home")
    home.create()
    home.write(StackRecord(taskmanagers=1))
    found = examine()["Flink"]
    assert not found.ok and "make flink" in found.fix


def test_a_missing_package_is_named(examine, monkeypatch):
    version = importlib.metadata.version

    def without(name):
        if name == "river":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", without)
    found = examine()
    assert failed(found) == ["packages"]
    assert found["packages"].found == "missing: river"


def test_a_full_disk_is_a_fault(examine, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**60)
    assert failed(examine()) == ["disk"]


def test_what_others_run_is_asked_and_not_looked_for_here(examine):
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"127.0.0.1:{server.getsockname()[1]}"
    found = examine(TIDEMILL_BOOTSTRAP=silent, TIDEMILL_REDIS=f"redis://:secret@{silent}/0")
    assert not {"Java", "Kafka's jars", "Redis"} & found.keys()
    assert failed(found) == ["kafka", "redis"]
    assert "secret" not in str(found)


def test_a_pinned_port_that_is_taken_is_a_fault_and_one_of_ours_is_not(examine, tmp_path):
    home = Home(tmp_path / "home")
    home.create()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        home.write(StackRecord(ports={"redis": port}))
        assert failed(examine()) == []  # `up` finds another
        home.write(StackRecord(ports={"redis": port}, pinned=["redis"]))
        found = examine()
        assert failed(found) == [f"port {port}"]
        assert "--redis-port" in found[f"port {port}"].fix
