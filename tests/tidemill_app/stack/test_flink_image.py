"""The compose file's Flink services, run by their own commands, and health checks, without containers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tidemill_app.stack import flink_files, flink_image, ports

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = {name: COMPOSE["services"][name] for name in ("zookeeper", "jobmanager", "taskmanager")}
DOCKERFILE = (ROOT / "deploy" / "docker" / "flink.Dockerfile").read_text()


def test_it_is_the_release_of_the_lock_and_of_the_connector():
    lock = (ROOT / "requirements" / "flink.lock").read_text()
    assert f"apache-flink=={flink_files.VERSION} " in lock
    (connector,) = flink_files.jars.pinned("flink")
    assert str(connector) == flink_files.jars.CONNECTOR
    assert connector.version.split("-")[1] == flink_files.VERSION.rsplit(".", 1)[0]
    assert {service["image"] for service in SERVICES.values()} == {f"tidemill-flink:{flink_files.VERSION}"}


def test_it_is_configured_as_the_embedded_one_but_for_addresses():
    placed = {name for name in flink_image.PLACED if name in flink_files.CLUSTER}
    assert all(re.search(r"address|host", name) for name in placed)
    assert DOCKERFILE.count(flink_image.DATA) >= 2
    assert all(f"flink:{flink_image.DATA}" in service["volumes"] for service in SERVICES.values())


@pytest.fixture
def here(tmp_path):
    """The image's folder, made here, and how addresses and folders of containers become those of this machine."""
    folder, numbers = tmp_path / "flink", {}
    flink_image.fill(folder)
    for number in ("8081", "6122", "6123", "6124", "2181"):
        numbers[number] = str(ports.find_free({int(n) for n in numbers.values()}))

    def translate(text):
        text = text.replace(flink_image.DATA, str(tmp_path / "data")).replace("/opt/flink", str(folder))
        text = re.sub(r"\b(0\.0\.0\.0|(?<=[ \"])jobmanager(?=\")|zookeeper(?=:))", "127.0.0.1", text)
        return re.sub(r"\b(8081|612[234]|2181)\b", lambda match: numbers[match[0]], text)

    (tmp_path / "data").mkdir()
    for file in (folder / "conf" / "config.yaml", folder / "conf" / "zoo.cfg"):
        file.write_text(translate(file.read_text()))
    with open(folder / "conf" / "config.yaml", "a") as more:
        more.write('taskmanager.host: "127.0.0.1"\n')
    return translate


@pytest.mark.slow
@pytest.mark.stack
def test_the_services_run_with_their_own_commands_and_health_checks(here, tmp_path):
    said = dict(re.findall(r"(\w+)=(\S+)", "\n".join(DOCKERFILE.split("ENV ")[-1].splitlines()[:4])))
    environment = {name: here(value.replace("/tmp", str(tmp_path))) for name, value in said.items()}
    environment |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOSTNAME": "127.0.0.1"}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    started = []
    try:
        for name, service in SERVICES.items():
            with open(tmp_path / f"{name}.log", "wb") as log:
                started.append(
                    subprocess.Popen(
                        [here(word) for word in service["command"]],
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            check = [here(word.replace("$$", "$")) for word in service["healthcheck"]["test"][1:]]
            deadline = time.monotonic() + 90
            while subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0:
                assert started[-1].poll() is None, (tmp_path / f"{name}.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / f"{name}.log").read_text()
                time.sleep(0.1)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
