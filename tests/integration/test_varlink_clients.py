# SPDX-License-Identifier: BSD-2-Clause
"""Other people's Varlink clients: systemd's varlinkctl, and python3-varlink (unpacked by
tests/fetch-from-sid, or that of the interpreter that MANHOLED_VARLINK_PYTHON names)."""
import os
import shlex
import shutil

import pytest

from agentlib import SOURCE
from daemonlib import *  # noqa: F403

VARLINKCTL = shlex.split(os.environ.get("MANHOLED_VARLINKCTL", "varlinkctl"))
INTERFACES = ["org.manholed", "org.manholed.Broker", "org.varlink.service"]
PACKAGE = "tests/python-varlink/usr/lib/python3/dist-packages"


@pytest.fixture
def varlinkctl(daemon):
    if not shutil.which(VARLINKCTL[0]):
        pytest.skip("varlinkctl is missing (systemd 257, Debian 13)")

    def run(verb, *words, options=(), status=0, **more):
        result = subprocess.run([*VARLINKCTL, *options, verb, f"unix:{daemon.control}", *words], capture_output=True,
                                text=True, timeout=TIMEOUT, **({"stdin": subprocess.DEVNULL} if not more else more))
        assert (result.returncode == 0) == (status == 0), result
        return result.stdout if status == 0 else result.stderr

    run.options = subprocess.run([*VARLINKCTL, "--help"], capture_output=True, text=True).stdout
    return run


@contextlib.contextmanager
def target(daemon):
    with application(daemon.scan) as t:
        daemon.wait_state(t.pid, "live")
        yield t


def test_varlinkctl_tells_who_serves(varlinkctl):
    info = json.loads(varlinkctl("info", options=["--json=short"]))
    assert info["product"] == "manholed"
    assert sorted(info["interfaces"]) == INTERFACES
    assert sorted(varlinkctl("list-interfaces").split()) == INTERFACES


def test_varlinkctl_reads_every_interface(varlinkctl):
    for name in INTERFACES:
        shown = varlinkctl("introspect", name)
        words = (SOURCE / f"daemon/{name}.varlink").read_text()
        assert f"interface {name}" in shown
        for line in words.splitlines():
            if line.startswith(("method ", "error ", "type ")):
                assert line.split("(")[0].rstrip() in shown
        # What it is for is told as well.
        assert [line for line in shown.splitlines() if line.startswith("# ")]


def test_varlinkctl_calls(daemon, varlinkctl):
    with target(daemon) as t:
        listed = json.loads(varlinkctl("call", f"{BROKER}.List", "{}", options=["--json=short"]))
        assert t.pid in [shown["pid"] for shown in listed["targets"]]
        status = json.loads(varlinkctl("call", f"{BROKER}.Status", json.dumps({"target": str(t.pid)}), options=["-j"]))
        assert status["target"]["pid"] == t.pid and status["allowed"]
        metrics = json.loads(varlinkctl("call", f"{BROKER}.Metrics", "{}", options=["-j"]))
        assert metrics["metrics"]


@pytest.mark.parametrize("method, parameters, error", [
    ("org.manholed.Broker.Status", {"target": "nobody-has-this-name"}, "org.manholed.NoSuchTarget"),
    ("org.manholed.Broker.Attach", {"target": "1"}, "org.varlink.service.ExpectedUpgrade"),
    ("org.manholed.Broker.Nothing", {}, "org.varlink.service.MethodNotFound"),
    ("org.manholed.Broker.Status", {"target": 1}, "org.varlink.service.InvalidParameter"),
])
def test_varlinkctl_knows_errors(varlinkctl, method, parameters, error):
    """By their names, which it translates where they are Varlink's own."""
    varlinkctl("call", method, json.dumps(parameters), status=1)
    varlinkctl("call", method, json.dumps(parameters), options=[f"--graceful={error}"])


def test_varlinkctl_attaches(daemon, varlinkctl):
    if "--upgrade" not in varlinkctl.options:
        pytest.skip("this varlinkctl has no --upgrade (systemd 262)")
    with target(daemon) as t:
        shown = varlinkctl("call", f"{BROKER}.Attach", json.dumps({"target": str(t.pid)}), options=["--upgrade"],
                           input="print('six times seven', 6 * 7)\nexit()\n")
    assert "six times seven 42" in shown
    daemon.wait_event(event="end")


CLIENT = """
import json, sys, varlink
path, target = sys.argv[1:3]
with varlink.Client(address=f"unix:{path}") as client:
    info = client.get_interfaces()
    with client.open("org.manholed.Broker") as broker:
        pids = [t["pid"] for t in broker.List()["targets"]]
        status = broker.Status(target)
        counts = broker.Metrics()["metrics"]
        try:
            broker.Status("nobody-has-this-name")
        except varlink.VarlinkError as e:
            error, reason = e.error(), e.parameters()["reason"]
print(json.dumps([sorted(info), pids, status, len(counts), error, reason]))
"""


def test_python3_varlink_calls(daemon, build):
    python = shlex.split(os.environ.get("MANHOLED_VARLINK_PYTHON", ""))
    package = build / PACKAGE
    if not python and not (package / "varlink").is_dir():
        pytest.skip("python3-varlink is not here: run tests/fetch-from-sid python3-varlink tests/python-varlink")
    with target(daemon) as t:
        result = subprocess.run([*(python or [PYTHON]), "-c", CLIENT, str(daemon.control), str(t.pid)],
                                capture_output=True, text=True, timeout=TIMEOUT,
                                env={**os.environ, **({} if python else {"PYTHONPATH": str(package)})})
        assert result.returncode == 0, result.stderr
        interfaces, pids, status, n, error, reason = json.loads(result.stdout)
        assert interfaces == INTERFACES
        assert t.pid in pids and status["target"]["pid"] == t.pid
        assert n > 10
        assert error == f"{ERROR}.NoSuchTarget" and reason
