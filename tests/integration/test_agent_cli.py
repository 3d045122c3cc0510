# SPDX-License-Identifier: BSD-2-Clause
"""python -m manhole.cli, and the functions that its importers use."""
import os
import signal
import socket
import subprocess
import threading

import pytest

from agentlib import *


def cli(*arguments, input="", timeout=TIMEOUT):
    return subprocess.run([PYTHON, "-m", "manhole.cli", *map(str, arguments)], input=input, text=True,
                          capture_output=True, timeout=timeout, env=environment(COLUMNS="80"))


def parsed(function, *values):
    code = (
        "import argparse, sys; from manhole import cli\n"
        "for value in eval(sys.argv[2]):\n"
        "    try: print(int(getattr(cli, sys.argv[1])(value)))\n"
        "    except argparse.ArgumentTypeError as e: print(e)\n"
    )
    result = subprocess.run([PYTHON, "-c", code, function, repr(values)], capture_output=True, text=True,
                            timeout=TIMEOUT, env=environment())
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_parse_pid():
    wrong = "PID must be in one of these forms: 1234 or /tmp/manhole-1234"
    assert parsed("parse_pid", "12", "/tmp/manhole-12", "", "x", "-1", "/tmp/foo", "12 ", "/tmp/manhole-x") == [
        "12", "12", wrong, wrong, wrong, wrong, wrong, wrong,
    ]


def test_parse_signal():
    out = parsed("parse_signal", "12", "USR1", "SIGUSR1", "usr2", "sigterm", "NOPE", "", "0", "999")
    assert out[:5] == ["12", "10", "10", "12", "15"]
    assert out[5:7] == ["Invalid signal name 'NOPE'.", "Invalid signal name ''."]
    assert out[7].startswith("Invalid signal number 0. Expected one of: 1, 2, 3, ")
    assert out[8].startswith("Invalid signal number 999. Expected one of: 1, 2, 3, ")


def test_usage_is_the_documented_one():
    result = cli("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: manhole-cli [-h] [-t TIMEOUT] [-1 | -2 | -s SIGNAL] PID\n")
    text = " ".join(result.stdout.split())
    for sentence in (
        "Connect to a manhole.", "PID A numerical process id, or a path in the form: /tmp/manhole-1234",
        "Timeout to use. Default: 1 seconds.", "-1, -USR1 Send USR1 (10) to the process before connecting.",
        "-2, -USR2 Send USR2 (12) to the process before connecting.",
        "Send the given SIGNAL to the process before connecting.",
    ):
        assert sentence in text, result.stdout


@pytest.mark.parametrize("arguments", [[], ["x"], ["-1", "-2", "1"], ["-s", "NOPE", "1"], ["-t", "x", "1"],
                                       ["-t", "-1", "1"], ["1", "2"], ["--nope", "1"]])
def test_usage_errors(arguments):
    result = cli(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage: manhole-cli" in result.stderr


def test_piped_input_is_run_and_its_output_printed():
    with plain_host() as host:
        for target in host.pid, host.path:
            result = cli(target, input="print(6 * 7)\n")
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith("\n######### ProcessID=")
            assert result.stdout.endswith(">>> 42\n>>> \nnow exiting ManholeConsole...\n")


@pytest.mark.parametrize("how", [["-1"], ["-USR1"], ["-s", "USR1"], ["--signal", "10"]])
def test_signal_is_sent_before_connecting(how):
    with plain_host("activate_on='USR1'") as host:
        assert cli(*how, host.pid, input="1 + 1\n").stdout.endswith(">>> 2\n>>> \nnow exiting ManholeConsole...\n")


def test_second_signal_is_sent_too():
    with plain_host("oneshot_on='USR2'") as host:
        assert ">>> 2\n" in cli("-2", host.pid, input="1 + 1\n").stdout


def test_nobody_listens():
    with plain_host("thread=False") as host:
        result = cli("-t", "0.1", host.pid)
        assert (result.returncode, result.stdout) == (5, "")
        assert "timed out" in result.stderr


def test_no_such_process():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    result = cli(process.pid)
    assert (result.returncode, result.stdout) == (1, "")
    assert "No such process" in result.stderr


def test_manhole_that_says_no_more_is_given_up(tmp_path):
    """After the end of the input it has the time-out's length for each piece of output."""
    path = f"/tmp/manhole-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        try:
            listener.listen()

            def serve():
                client, _ = listener.accept()
                client.sendall(b"said")
                while client.recv(100):
                    pass
                served.append(client)

            served = []
            thread = threading.Thread(target=serve)
            thread.start()
            result = cli("-t", "0.1", os.getpid(), input="x\n")
            thread.join()
            assert (result.returncode, result.stdout) == (5, "said")
        finally:
            os.unlink(path)
