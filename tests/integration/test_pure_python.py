# SPDX-License-Identifier: BSD-2-Clause
"""The pure-Python package's sockets, served by manholed in plain.

The package is Debian's own python3-manhole, unpacked by tests/fetch-from-sid.
"""
import json
import pathlib
import signal
import subprocess
import sys

import pytest

from agentlib import TIMEOUT, environment, is_listening, wait_for

PACKAGE = "tests/python-manhole/usr/lib/python3/dist-packages"


@pytest.fixture
def application(build):
    """A process that imports the pure-Python package and installs it."""
    package = build / PACKAGE
    if not (package / "manhole").is_dir():
        pytest.skip("Debian's python3-manhole is not here: run tests/fetch-from-sid python3-manhole FOLDER")
    env = environment(PYTHONPATH=str(package))
    process = subprocess.Popen(
        [sys.executable, "-c", "import manhole; manhole.install(verbose=False); input()"],
        stdin=subprocess.PIPE, env=env,
    )
    path = pathlib.Path(f"/tmp/manhole-{process.pid}")
    wait_for(lambda: is_listening(path), "the package listens")
    yield process
    process.communicate(b"\n", timeout=TIMEOUT)


@pytest.fixture
def broker(build, tmp_path):
    control, record = tmp_path / "control", tmp_path / "record"
    process = subprocess.Popen(
        [build / "daemon/manholed", f"--control={control}", f"--record=file:{record}"]
    )
    wait_for(lambda: is_listening(control), "the broker listens")

    def manholectl(*arguments, **kwargs):
        return subprocess.run(
            [build / "cli/manholectl", f"--control={control}", *map(str, arguments)],
            capture_output=True, text=True, timeout=TIMEOUT, **kwargs,
        )

    manholectl.record = record
    yield manholectl
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0


def listed(broker, pid):
    targets = json.loads(broker("list", "--json=short").stdout)
    return next((t for t in targets if t["pid"] == pid), None)


def test_the_list_tells_the_package_from_our_agent(application, broker):
    target = listed(broker, application.pid)
    assert target["agent"] == "python"
    assert target["state"] == "live"
    assert target["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_console_in_it_works_and_is_recorded(application, broker):
    done = broker("attach", application.pid, input="print(6 * 7 * 1000)\n")
    assert done.returncode == 0, done.stderr
    assert "42000" in done.stdout
    (cast,) = broker.record.glob("*.cast")
    events = [json.loads(line) for line in cast.read_text().splitlines()][1:]
    assert "".join(text for _, code, text in events if code == "i") == "print(6 * 7 * 1000)\r\n"
    assert "42000" in "".join(text for _, code, text in events if code == "o")


def test_listing_opens_no_console_in_it(application, broker):
    """The package serves one client at a time: a probe that connected would be in the way."""
    for _ in range(3):
        assert listed(broker, application.pid)["sessions"] == 0
    assert "1764" in broker("attach", application.pid, input="42 * 42\n").stdout


def test_exec_says_what_it_needs(application, broker):
    done = broker("exec", application.pid, "1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
