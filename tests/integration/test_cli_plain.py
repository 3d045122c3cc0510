# SPDX-License-Identifier: BSD-2-Clause
"""Consoles in plain bytes: manholectl with processes that have no agent but a manhole as the
pure-Python package serves it, and manhole-cli with both kinds."""
import os
import re
import signal
import socket
import subprocess

import pytest

from clilib import (DONE, FAILED, MANHOLE_CLI, TIMED_OUT, application, daemon, environment, kill, listed,
                    one_line, plain_application, run, spawned, terminal, until)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("broker")) as process:
        yield process


@pytest.fixture
def plain(broker):
    with plain_application() as process:
        until(lambda: process.pid in listed(broker.control), "manholed knows the process")
        yield process


@pytest.fixture(scope="module")
def agent():
    with application() as process:
        yield process


# -------------------------------------------------------------------------------- manholectl

@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_attach_without_a_terminal(broker, plain, direct):
    result = run("attach", plain.pid, *["--direct"][:direct], control=broker.control,
                 input="6 * 7\n'x' + 'y'\n")
    assert result.returncode == DONE
    assert re.search(r"\(ManholeConsole\)\n>>> 42\n>>> 'xy'\n>>> .*now exiting", result.stdout, re.DOTALL)
    assert plain.poll() is None


@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_attach_on_a_terminal(broker, plain, direct):
    with terminal("attach", plain.pid, *["--direct"][:direct], control=broker.control) as t:
        t.expect_exact(">>> ")
        t.line("for c in 'ab':")
        t.expect_exact("... ")
        t.line("\tprint(c * 3)")
        t.expect_exact("... ")
        t.line("")
        t.expect_exact("aaa\r\nbbb\r\n")
        t.expect_exact(">>> ")
        t.send("given up")
        t.expect_exact("given up")
        t.send("\x03")
        t.expect_exact(">>> ")
        t.line("'still ' + 'here'")
        t.expect_exact("'still here'")
        t.expect_exact(">>> ")
        t.send("\x04")
        t.expect_exact("now exiting ManholeConsole...")
        assert t.wait() == DONE
        assert f"the console is closed; process {plain.pid} goes on" in t.rest()
        assert t.modes() == t.found
    assert plain.poll() is None


def test_attach_to_a_process_that_is_killed(broker, plain):
    with terminal("attach", plain.pid, control=broker.control) as t:
        t.expect_exact(">>> ")
        kill(plain)
        assert t.wait() == FAILED
        assert f"process {plain.pid} has ended" in t.rest()
        assert t.modes() == t.found


def test_exec_says_what_it_needs(broker, plain):
    result = run("exec", plain.pid, "1", control=broker.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == \
        f"process {plain.pid} has the pure-Python manhole: exec needs manholed's agent"


# ------------------------------------------------------------------------------- manhole-cli

def cli(*args, **more):
    return run(*args, program=MANHOLE_CLI, **more)


def test_cli_pipes(agent):
    result = cli(agent.pid, input="6 * 7\n")
    assert result.returncode == DONE
    assert f"######### ProcessID={agent.pid}" in result.stdout
    assert "(ManholeConsole)\n>>> 42\n>>> " in result.stdout
    assert result.stderr == ""


def test_cli_pipes_to_the_pure_python_package():
    with plain_application() as process:
        result = cli(process.socket, input="6 * 7\n")
    assert result.returncode == DONE
    assert ">>> 42\n>>> " in result.stdout


def test_cli_passes_what_no_buffer_holds(agent):
    code = "import sys\n" + "x = '" + "y" * 500_000 + "'\nsys.stdout.write(x * 4)\n"
    result = cli(agent.pid, "-t", "10", input=code)
    assert result.returncode == DONE
    assert "y" * 2_000_000 in result.stdout


def test_cli_waits_for_output_no_longer_than_the_time_out(agent):
    with spawned([MANHOLE_CLI, "-t", "0.2", str(agent.pid)], stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        out, err = process.communicate("print('be' + 'gun', flush=True); import time; time.sleep(1)\n")
    assert process.returncode == TIMED_OUT
    assert "begun" in out
    assert one_line(err, "manhole-cli") == "timed out: no output for 0.2 s, and no end"


def test_cli_on_a_terminal(agent):
    with terminal(agent.pid, program=MANHOLE_CLI) as t:
        t.expect_exact(">>> ")
        t.line("'\\x1b[2J'; print('\\x1b[2J')")
        t.expect_exact("'\\x1b[2J'\r\n\\x1b[2J\r\n")
        t.send("\x04")
        t.expect_exact("now exiting ManholeConsole...")
        assert t.wait() == DONE
        assert t.modes() == t.found


@pytest.mark.parametrize("options, name", [
    (["-1"], "SIGUSR1"), (["-USR1"], "SIGUSR1"), (["-2"], "SIGUSR2"), (["-USR2"], "SIGUSR2"),
    (["-s", "HUP"], "SIGHUP"), (["--signal=sigwinch"], "SIGWINCH"), (["-s", "10"], "SIGUSR1")])
def test_cli_sends_a_signal_and_waits_for_the_socket(options, name):
    with plain_application(name) as process:
        result = cli(*options, "-t", "10", process.pid, input="6 * 7\n")
    assert result.returncode == DONE, result.stderr
    assert ">>> 42\n" in result.stdout


def test_cli_times_out_without_a_socket():
    with spawned(["sleep", "infinity"]) as process:
        result = cli("-t", "0.1", process.pid)
    assert result.returncode == TIMED_OUT
    assert one_line(result.stderr, "manhole-cli") == \
        f"timed out: /tmp/manhole-{process.pid} does not exist"


def test_cli_times_out_without_a_listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
    result = cli("-t", "0.1", tmp_path / "socket")
    assert result.returncode == TIMED_OUT
    assert one_line(result.stderr, "manhole-cli") == f"timed out: {tmp_path}/socket has no listener"


def test_cli_without_a_process():
    with spawned(["true"]) as process:
        process.wait()
        result = cli("-1", process.pid)
    assert result.returncode == FAILED
    assert one_line(result.stderr, "manhole-cli") == f"process {process.pid}: No such process"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_cli_of_somebody_else_gets_nothing(agent):
    result = cli(agent.pid, user=65534, group=65534, extra_groups=[], cwd="/")
    assert result.returncode == FAILED
    assert one_line(result.stderr, "manhole-cli") == f"cannot connect to {agent.socket}: Permission denied"


def test_ctrl_c_ends_the_client_and_not_the_process(agent):
    with spawned([MANHOLE_CLI, str(agent.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                 env=environment()) as process:
        while b">>> " not in process.stdout.readline() + process.stdout.peek():
            pass
        kill(process, signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    assert agent.poll() is None
