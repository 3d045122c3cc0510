# SPDX-License-Identifier: BSD-2-Clause
"""manholectl with a real daemon and real processes that have the agent."""
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios

import pytest

from clilib import (APPLICATION, DONE, FAILED, MANHOLECTL, NO_TARGET, PATIENCE, REFUSED, TIMED_OUT, application,
                    daemon, environment, kill, listed, one_line, run, spawned, terminal, until)

NOBODY = 65534


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("broker")) as process:
        yield process


@pytest.fixture(scope="module")
def target(broker):
    with application(control=broker.control) as process:
        yield process


@pytest.fixture
def history(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def attached(target, broker, env=(), *options):
    return terminal("attach", target.pid, *options, control=broker.control, env=env)


def prompt(t, text=">>> "):
    """A prompt, with a line being edited behind it."""
    t.expect_exact(text)
    t.editing()


# ------------------------------------------------------------------------------ list, status

def test_list_shows_the_target(broker, target):
    assert listed(broker.control)[target.pid] == {
        "pid": target.pid, "uid": os.geteuid(), "user": listed(broker.control)[target.pid]["user"],
        "unit": listed(broker.control)[target.pid]["unit"],
        "comm": pathlib.Path(f"/proc/{target.pid}/comm").read_text().strip(),
        "command": listed(broker.control)[target.pid]["command"],
        "python": f"{sys.version_info.major}.{sys.version_info.minor}", "agent": "native",
        "state": "live", "sessions": 0, "socket": target.socket}
    rows = run("list", "--no-legend", control=broker.control).stdout.splitlines()
    row = next(r for r in rows if r.split()[0] == str(target.pid))
    assert row.split()[-2:] == ["live", "0"]


def test_list_is_the_default(broker, target):
    heading, *_, footer = run(control=broker.control).stdout.splitlines()
    assert heading.split() == ["PID", "USER", "UNIT", "COMMAND", "PYTHON", "STATE", "SESSIONS"]
    assert footer.endswith(" listed.")


def test_status_of_a_live_target(broker, target):
    status = json.loads(run("status", target.pid, "-j", control=broker.control).stdout)
    assert status["target"] == listed(broker.control)[target.pid]
    assert status["allowed"] is True
    assert status["diagnosis"] is None
    text = run("status", target.socket, control=broker.control).stdout
    assert f"Socket: {target.socket}\n" in text
    assert "State: live\n" in text


@pytest.mark.parametrize("verb", [["status"], ["attach"], ["exec"]])
def test_no_such_target(broker, verb):
    code = ["1"] if verb == ["exec"] else []
    result = run(*verb, "no-such-process", *code, control=broker.control)
    assert result.returncode == NO_TARGET
    one_line(result.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("verb", [["attach"], ["exec"]])
def test_somebody_else_is_refused(broker, target, verb):
    code = ["1"] if verb == ["exec"] else []
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o755)
        with daemon(folder) as own:
            until(lambda: target.pid in listed(own.control), "manholed knows the target")
            result = run(*verb, target.pid, *code, control=own.control, user=NOBODY, group=NOBODY,
                         extra_groups=[], cwd="/")
    assert result.returncode == REFUSED
    assert result.stdout == ""
    one_line(result.stderr)


# -------------------------------------------------------------------------------------- exec

def test_exec_prints_from_inside(broker, target):
    result = run("exec", target.pid, "import os; print('in'); os.getpid()", control=broker.control)
    assert (result.returncode, result.stdout, result.stderr) == (DONE, f"in\n{target.pid}\n", "")


def test_exec_shows_an_exception(broker, target):
    code = "import sys\nprint('o')\nprint('e', file=sys.stderr)\n1/0"
    result = run("exec", target.pid, "-", control=broker.control, input=code)
    assert result.returncode == FAILED
    assert result.stdout == "o\n"
    lines = result.stderr.splitlines()
    assert lines[0] == "e" and lines[1].startswith("Traceback")
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("code, status", [
    ("raise SystemExit", DONE), ("raise SystemExit(0)", DONE), ("raise SystemExit(7)", FAILED),
    ("import sys; sys.exit('no')", FAILED), ("1 +", FAILED)])
def test_exec_s_exit_status(broker, target, code, status):
    assert run("exec", target.pid, code, control=broker.control).returncode == status


def test_exec_as_json(broker, target):
    report = json.loads(run("exec", target.pid, "-j", "print('o'); 6 * 7", control=broker.control).stdout)
    assert report == {"result": "42", "status": 0, "exception": None, "output": "o\n", "error": ""}
    report = json.loads(run("exec", target.pid, "-j", "raise SystemExit(7)", control=broker.control).stdout)
    assert report["status"] == 7


def test_exec_has_no_standard_input(broker, target):
    code = "import sys\n[sys.stdin.readline(), sys.stdin.read()]"
    result = run("exec", target.pid, code, control=broker.control)
    assert result.stdout == "['', '']\n"


def test_exec_times_out(broker, target):
    result = run("exec", target.pid, "while True: pass", "--timeout=0.2", control=broker.control)
    assert result.returncode == TIMED_OUT
    assert "KeyboardInterrupt" in result.stderr
    assert result.stderr.endswith("manholectl: timed out: the code was interrupted\n")


def test_ctrl_c_interrupts_an_exec(broker, target):
    with spawned([MANHOLECTL, "exec", str(target.pid), "print('go', flush=True)\nwhile True: pass"],
                 env=environment(MANHOLED_CONTROL=str(broker.control)), text=True,
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "go\n"
        kill(process, signal.SIGINT)
        assert process.wait(PATIENCE) == FAILED
        assert process.stderr.read().splitlines()[-1] == "KeyboardInterrupt"


def test_exec_in_a_process_that_dies(broker):
    with application(control=broker.control) as victim:
        result = run("exec", victim.pid, "import os; os.kill(os.getpid(), 9)", control=broker.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "the process has ended"


# ------------------------------------------------------------------------- attach, on a terminal

@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_a_console_on_a_terminal(broker, target, history, direct):
    with attached(target, broker, history, *["--direct"][:direct]) as t:
        if direct:
            t.expect_exact(f"Process {target.pid}, without manholed: this session is not recorded.")
        else:
            t.expect(rf"\({target.pid}\) of \S+, .*Python 3\.\d+\r\n")
            t.expect(r"Session \S+, recorded: file:\S+\r\n")
        t.expect_exact(f"ProcessID={target.pid}")
        t.expect_exact("(ManholeConsole)")
        prompt(t)
        t.line("import os; os.getpid()")
        t.expect_exact(f"\r\n{target.pid}\r\n")
        prompt(t)
        t.line("for i in range(2):")
        prompt(t, "... ")
        t.line("\tprint('line', i)")
        prompt(t, "... ")
        t.line("")
        t.expect_exact("line 0\r\nline 1\r\n")
        prompt(t)
        t.send("\x04")
        t.expect_exact("now exiting ManholeConsole...")
        assert t.wait() == DONE
        assert f"end of input; process {target.pid} goes on" in t.rest()
        assert t.modes() == t.found
    assert target.poll() is None


def test_exit_ends_the_console_only(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.line("exit()")
        assert t.wait() == DONE
        assert f"process {target.pid} goes on" in t.rest()
    assert target.poll() is None


def test_ctrl_c_interrupts_the_code_that_runs(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.line("print('run' + 'ning'); exec('while True: pass')")
        t.expect_exact("running\r\n")
        t.send("\x03")
        t.expect_exact("KeyboardInterrupt")
        prompt(t)
        t.line("'still ' + 'here'")
        t.expect_exact("'still here'")


def test_ctrl_c_gives_up_a_line_and_an_unfinished_statement(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.line("def f():")
        prompt(t, "... ")
        t.send("    retu")
        t.expect_exact("    retu")
        t.send("\x03")
        t.expect_exact("KeyboardInterrupt\r\n")
        prompt(t)
        t.line("'not a ' + 'body'")
        t.expect_exact("'not a body'")


def test_ctrl_d_is_the_end_of_input_for_code_too(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.line("input('name: ')")
        prompt(t, "name: ")
        t.line("some" + "body")
        t.expect_exact("'somebody'")
        prompt(t)
        t.line("input('again: ')")
        prompt(t, "again: ")
        t.send("\x04")
        t.expect_exact("EOFError")
        prompt(t)
        t.send("\x04")
        assert t.wait() == DONE


def test_lines_typed_ahead_are_not_lost(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.send("import time; print('a' + 'b'); time.sleep(0.3)\n'c' + 'd'\n'e' + 'f'\n")
        t.expect_exact("ab\r\n")
        t.expect_exact("'cd'\r\n")
        t.expect_exact("'ef'\r\n")


def test_output_of_the_process_comes_above_the_line(broker):
    code = APPLICATION.replace("import signal, sys", """import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: print("from the application"))
""").replace("signal.pause()", "while True: signal.pause()")
    with application(code, control=broker.control) as target, attached(target, broker) as t:
        prompt(t)
        t.send("1 + ")
        t.expect_exact("1 + ")
        kill(target, signal.SIGUSR1)
        t.expect_exact("from the application\r\n")
        t.expect_exact(">>> 1 + ")
        t.line("41")
        t.expect_exact("42\r\n")


@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_a_tab_completes(broker, target, direct):
    with attached(target, broker, (), *["--direct"][:direct]) as t:
        prompt(t)
        t.line("one_long_name = 41; one_long_word = 1")
        prompt(t)
        t.send("one\t")
        t.expect_exact("one_long_")
        t.send("\t")  # all that they agree in is there
        t.expect_exact("one_long_name  one_long_word\r\n")
        t.expect_exact(">>> one_long_")
        t.send("n\t")
        t.expect_exact("ame")
        t.send(" + 1\n")
        t.expect_exact("42\r\n")
        prompt(t)
        t.send("nothing.like.this\t")
        t.expect_exact("nothing.like.this")
        t.send("\x15'st' + 'ill'\n")
        t.expect_exact("'still'")


def test_the_history_is_kept(broker, target, history):
    for line in ("'first' + 'line'", None):
        with attached(target, broker, history) as t:
            prompt(t)
            if line:
                t.line(line)
            else:
                t.send("\x10\n")  # the line before
            t.expect_exact("'firstline'")
    path = pathlib.Path(history["XDG_STATE_HOME"]) / "manholectl/history"
    assert path.read_text() == "'first' + 'line'\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_home_there_is_no_history_and_no_harm(broker, target):
    with attached(target, broker, {"XDG_STATE_HOME": "/proc/nowhere"}) as t:
        prompt(t)
        t.line("6 * 7")
        t.expect_exact("42")


def test_a_window_that_changes_its_size(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.send("6 * ")
        t.expect_exact("6 * ")
        fcntl.ioctl(t.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 30, 0, 0))
        kill(t.process, signal.SIGWINCH)
        t.expect_exact(">>> 6 * ")  # drawn again
        t.line("7")
        t.expect_exact("42")


def test_stopped_and_continued(broker, target):
    with attached(target, broker) as t:
        prompt(t)
        t.send("6 * ")
        t.expect_exact("6 * ")
        t.send("\x1a")
        until(lambda: state(t.process.pid) == "T", "the tool stops")
        assert t.modes() == t.found
        kill(t.process, signal.SIGCONT)
        t.expect_exact(">>> 6 * ")
        t.line("7")
        t.expect_exact("42")


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# ---------------------------------------------------------------------------- the end of it all

@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_restored_after_a_signal(broker, target, signo):
    with attached(target, broker) as t:
        prompt(t)
        t.send("half")
        t.expect_exact("half")
        assert t.modes() != t.found
        kill(t.process, signo)
        assert t.wait() == -signo
        assert t.modes() == t.found


def test_the_terminal_is_restored_after_the_daemon_is_killed(tmp_path):
    with daemon(tmp_path) as broker, application(control=broker.control) as target, \
            attached(target, broker) as t:
        prompt(t)
        t.send("half")
        t.expect_exact("half")
        kill(broker)
        assert t.wait() == FAILED
        assert "manholectl: the console is lost: the connection is gone" in t.rest()
        assert t.modes() == t.found
        assert target.poll() is None


def open_sessions(broker):
    return {s["session"]: s for s in json.loads(run("sessions", "--json=short", control=broker.control).stdout)}


def test_a_console_survives_its_terminal(broker, target):
    before = set(open_sessions(broker))
    with attached(target, broker) as t:
        prompt(t)
        t.line("kept = 6 * 7")
        prompt(t)
        session, = set(open_sessions(broker)) - before
        kill(t.process)
        t.wait()
    until(lambda: open_sessions(broker)[session]["state"] == "lingering", "the broker notices")
    with attached(target, broker) as t:
        t.expect_exact(f"session {session}, lingering")
    with terminal("attach", "--resume", session, control=broker.control) as t:
        t.expect_exact(f"Session {session}, in ")
        t.expect_exact("kept = 6 * 7")
        prompt(t)
        t.line("kept")
        t.expect_exact("42")
        prompt(t)
        t.send("\x04")
        assert t.wait() == DONE
        last = t.process.pid

    def events():
        lines = (broker.record / "events.jsonl").read_text().split("\n")[:-1]
        return [e for e in map(json.loads, lines) if e.get("MANHOLE_SESSION") == session]

    # The client hears of the end before it is recorded.
    until(lambda: events()[-1]["MANHOLE_EVENT"] == "end", "the end's record")
    linger, resume, end = events()[1:]
    assert [e["MANHOLE_EVENT"] for e in (linger, resume, end)] == ["linger", "resume", "end"]
    assert linger["MANHOLE_CLIENT_PID"] == resume["MANHOLE_CLIENT_PID"] != str(last)
    assert resume["MANHOLE_ACTOR_PID"] == end["MANHOLE_CLIENT_PID"] == str(last)
    assert run("attach", "--resume", session, control=broker.control).returncode == NO_TARGET


def test_a_console_is_watched(broker, target):
    before = set(open_sessions(broker))
    with attached(target, broker) as t:
        prompt(t)
        session, = set(open_sessions(broker)) - before
        with terminal("watch", session, control=broker.control) as w:
            t.expect_exact("watches this session]")
            t.line("6 * 7")
            w.expect_exact("6 * 7")
            w.expect_exact("42")
            assert run("terminate", session, "--reason=lunch", control=broker.control).returncode == DONE
            assert t.wait() == FAILED
            assert "the session was ended: terminated by" in t.rest()
            assert w.wait() == DONE
            assert "lunch" in w.rest()


@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_a_target_that_is_killed(broker, direct):
    with application(control=broker.control) as target, \
            attached(target, broker, (), *["--direct"][:direct]) as t:
        prompt(t)
        kill(target)
        assert t.wait() == FAILED
        assert f"manholectl: process {target.pid} has ended\r\n" in t.rest()
        assert t.modes() == t.found


# ---------------------------------------------------------------------- attach, without a terminal

@pytest.mark.parametrize("direct", [False, True], ids=["recorded", "direct"])
def test_a_console_without_a_terminal(broker, target, direct):
    result = run("attach", target.pid, *["--direct"][:direct], control=broker.control,
                 input="import os\nos.getpid()\nx = input('? ')\nanswer\nx\n")
    assert result.returncode == DONE
    assert f"\n######### ProcessID={target.pid}" in result.stdout
    console = result.stdout[result.stdout.index("(ManholeConsole)"):]
    assert console == ("(ManholeConsole)\n>>> >>> " + f"{target.pid}\n" +
                       ">>> ? >>> 'answer'\n>>> \nnow exiting ManholeConsole...\n")


def test_input_that_ends_inside_code_still_ends_the_console(broker, target):
    result = run("attach", target.pid, control=broker.control, input="input()\n")
    assert result.returncode == DONE
    assert "EOFError" in result.stdout
    assert result.stdout.endswith("now exiting ManholeConsole...\n")


def test_a_last_line_without_an_end(broker, target):
    result = run("attach", target.pid, control=broker.control, input="6 * 7")
    assert result.returncode == DONE
    assert "\n>>> 42\n" in result.stdout


# ------------------------------------------------------------------------------------- --direct

def test_direct_to_nothing():
    result = run("attach", "--direct", "4194304")
    assert result.returncode == NO_TARGET
    assert one_line(result.stderr) == "no manhole at /tmp/manhole-4194304"


def test_direct_to_a_file(tmp_path):
    (tmp_path / "file").touch()
    result = run("attach", "--direct", tmp_path / "file")
    assert result.returncode == NO_TARGET
    assert one_line(result.stderr) == f"{tmp_path}/file is not a socket"


def test_direct_to_a_stale_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
    result = run("attach", "--direct", tmp_path / "socket")
    assert result.returncode == FAILED
    assert "nobody listens" in one_line(result.stderr)


def test_direct_does_not_believe_a_file_name():
    """A socket of this process, with another process's number in its name."""
    with spawned(["sleep", "infinity"]) as other, socket.socket(socket.AF_UNIX) as s:
        path = f"/tmp/manhole-{other.pid}"
        s.bind(path)
        try:
            s.listen()
            result = run("attach", "--direct", other.pid)
        finally:
            os.unlink(path)
    assert result.returncode == REFUSED
    assert one_line(result.stderr) == \
        f"{path} is not the socket of process {other.pid}: process {os.getpid()} listens there"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_direct_is_refused_by_the_agent(target):
    # The file's mode refuses first, so it is opened for all: the agent refuses by itself.
    with contextlib.ExitStack() as stack:
        stack.callback(os.chmod, target.socket, 0o600)
        result = run("attach", "--direct", target.pid, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        assert result.returncode == REFUSED
        assert one_line(result.stderr) == f"{target.socket} belongs to another user"
        os.chmod(target.socket, 0o666)
        result = run("attach", "--direct", target.pid, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    assert result.returncode == REFUSED
    assert one_line(result.stderr) == "the process refused the connection"
