# SPDX-License-Identifier: BSD-2-Clause
"""PYTHONMANHOLE, through sitecustomize.py and through manhole.pth."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from agentlib import *

REPORT = (
    "import os, sys; print(os.path.exists('/tmp/manhole-%d' % os.getpid()), 'manhole' in sys.modules)"
)


def run(code=REPORT, flags=(), **changes):
    result = subprocess.run(
        [PYTHON, *flags, "-c", code],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment(**changes),
    )
    return result.stdout, result.stderr


def test_variable_installs():
    out, err = run(PYTHONMANHOLE="")
    assert out == "True True\n"
    assert err.count("Manhole UDS path") == 1


def test_unset_variable_costs_nothing():
    assert run() == ("False False\n", "")


def test_variable_carries_options(tmp_path):
    path = tmp_path / "socket"
    out, err = run(f"import os; print(os.path.exists({str(path)!r}))",
                   PYTHONMANHOLE=f"socket_path={str(path)!r}, verbose=False")
    assert (out, err) == ("True\n", "")


def test_variable_may_ask_for_a_signal():
    """The documented example."""
    out, err = run("import signal; print(signal.getsignal(signal.SIGUSR2).__name__)",
                   PYTHONMANHOLE='oneshot_on="USR2"')
    assert out == "handle_oneshot\n"
    assert "Oneshot activation is done by signal 12" in err


@pytest.mark.parametrize("value, what", [
    ("onshot_on='USR2'", "TypeError"), ("1/", "SyntaxError"), ("oneshot_on='KILL'", "ValueError"),
])
def test_failure_is_told_and_the_program_goes_on(value, what):
    out, err = run(PYTHONMANHOLE=value)
    assert out == "False True\n"
    assert err.startswith(f"Failed to manhole.install({value}):\nTraceback (most recent call last):\n")
    assert what in err


def test_kill_switch():
    out, err = run(PYTHONMANHOLE="", MANHOLE_DISABLE=1)
    assert (out, err) == ("False True\n", "")


@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_isolated_interpreters_are_left_alone(flag):
    assert run(flags=(flag,), PYTHONMANHOLE="") == ("False False\n", "")


def test_next_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.chained = __file__, __name__\n")
    code = "import sys, sitecustomize; print(*sys.chained, sitecustomize.__file__)"
    mine = str(tmp_path / "sitecustomize.py")
    out, err = run(code, PYTHONPATH=f"{AGENT}:{tmp_path}", PYTHONMANHOLE="verbose=False")
    assert (out, err) == (f"{mine} sitecustomize {mine}\n", "")


def test_without_a_next_sitecustomize_there_is_none():
    code = (
        "import sys; print('sitecustomize' in sys.modules)\n"
        "sys.path = [p for p in sys.path if 'dist-packages' not in p and '/etc' not in p]"
    )
    out, err = run(code, PYTHONMANHOLE="verbose=False")
    # The distribution may have one of its own.
    own = subprocess.run([PYTHON, "-c", "import sitecustomize"], capture_output=True).returncode == 0
    assert (out, err) == (f"{own}\n", "")


def test_failing_next_sitecustomize_fails_as_without_us(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise RuntimeError('its own fault')\n")
    out, err = run(PYTHONPATH=f"{AGENT}:{tmp_path}", PYTHONMANHOLE="verbose=False")
    assert out == "True True\n"
    assert "RuntimeError: its own fault" in err


def test_two_copies_do_not_chain_for_ever(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(AGENT, copy)
    out, err = run(PYTHONPATH=f"{AGENT}:{copy}:{AGENT}", PYTHONMANHOLE="")
    assert out == "True True\n"
    assert err.count("Manhole UDS path") == 1 and "Traceback" not in err


def test_broken_extension_stops_nothing(tmp_path):
    shutil.copy(AGENT / "sitecustomize.py", tmp_path)
    (tmp_path / "manhole").mkdir()
    (tmp_path / "manhole" / "__init__.py").write_text("raise ImportError('wrong machine')\n")
    out, err = run("print('runs on')", PYTHONPATH=tmp_path, PYTHONMANHOLE="")
    assert out == "runs on\n"
    assert "Failed to manhole.install(...): ImportError: wrong machine" in err


def test_unwritable_tmp_stops_nothing(tmp_path):
    out, err = run("print('runs on')", PYTHONMANHOLE="socket_path='/nowhere/at/all'")
    assert out == "runs on\n"
    assert "Failed to bind /nowhere/at/all: No such file or directory" in err


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """A virtual environment with the agent and its .pth in the site folder."""
    folder = tmp_path_factory.mktemp("venv")
    made = subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no virtual environment can be made: {made.stderr or made.stdout}")
    python = folder / "bin" / "python"
    site = pathlib.Path(
        subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                       capture_output=True, text=True, check=True).stdout.strip()
    )
    shutil.copytree(AGENT / "manhole", site / "manhole")
    shutil.copy(SOURCE / "agent" / "manhole.pth", site)
    return python


def run_venv(venv, *flags, **changes):
    changes.setdefault("PYTHONPATH", None)
    result = subprocess.run([venv, *flags, "-c", REPORT], capture_output=True, text=True,
                            timeout=TIMEOUT, env=environment(**changes))
    return result.stdout, result.stderr


def test_pth_installs(venv):
    out, err = run_venv(venv, PYTHONMANHOLE="")
    assert out == "True True\n" and err.count("Manhole UDS path") == 1


def test_pth_costs_nothing_when_the_variable_is_unset(venv):
    assert run_venv(venv) == ("False False\n", "")


@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_pth_respects_isolation(venv, flag):
    out, err = run_venv(venv, flag, PYTHONMANHOLE="")
    assert out.startswith("False") and err == ""


def test_pth_and_sitecustomize_install_once(venv):
    out, err = run_venv(venv, PYTHONMANHOLE="", PYTHONPATH=str(AGENT))
    assert out == "True True\n"
    assert err.count("Manhole UDS path") == 1 and "Failed" not in err


def test_http_server_with_the_variable_alone():
    with Host("-m", "http.server", "0", "--bind", "127.0.0.1", ready=None,
              env=environment(PYTHONMANHOLE="")) as host:
        host.wait_out("^Serving HTTP")
        with Plain(host.path).start() as client:
            assert client.run("6 * 7") == "42\n"
            client.socket.shutdown(1)
            client.wait_closed()
        assert host.process.poll() is None
        with Plain(host.path).start() as client:
            assert "http" in client.run("[m for m in sys.modules if m.startswith('http')]")
