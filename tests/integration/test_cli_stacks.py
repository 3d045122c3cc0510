# SPDX-License-Identifier: BSD-2-Clause
"""manholectl stacks, tasks and health: what is asked of manholed, what is printed, and the real thing, in one
process and in a hundred."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

import daemonlib
from agentlib import HOSTS, PYTHON, Host, environment, plain_host
from clilib import (ANSWER, DONE, FAILED, NO_TARGET, PATIENCE, REFUSED, TIMED_OUT, USAGE, daemon, fake_daemon, frame,
                    hello, one_line, plain_application, run, target, terminal, until)

BLOCK = '\n######### ProcessID={pid}, ThreadID=1 #########\nThread {pid} "MainThread": sleeping in {call}\n' \
        'File: "app.py", line 3, in {function}\n  {call}()\n' + "#" * 45 + "\n\n"


def answer(pid, function="main", call="read", gil=True, **more):
    return {"target": target(pid), "gil": gil, "text": BLOCK.format(pid=pid, function=function, call=call),
            "threads": [], **more}


class Broker:
    """Serves each connection by itself: a survey has many."""

    def __init__(self, targets=(), respond=lambda peer, parameters: peer.reply(answer(int(parameters["target"])))):
        self.targets, self.respond, self.asked, self.lock = targets, respond, [], threading.Lock()

    def serve(self, peer):
        while True:
            call = peer.call()
            method = call["method"].rpartition(".")[2]
            if method == "List":
                peer.reply({"targets": list(self.targets)})
                continue
            with self.lock:
                self.asked.append((method, call["parameters"]))
            self.respond(peer, call["parameters"])


@contextlib.contextmanager
def broker(*args, **kwargs):
    b = Broker(*args, **kwargs)

    def script(peer):
        copy = type(peer)(peer.sock.dup())

        def serve():
            with contextlib.suppress(EOFError, ConnectionError), copy.sock:
                b.serve(copy)
        threading.Thread(target=serve, daemon=True).start()

    with fake_daemon(script) as fake:
        b.control = fake.control
        yield b


def refuse(peer, error, reason="because"):
    peer.error(f"org.manholed.{error}", reason=reason)


# ------------------------------------------------------------------ which ones


def asked(b):
    return sorted(parameters["target"] for _, parameters in b.asked)


def test_one_target():
    with broker() as b:
        result = run("stacks", "7", control=b.control)
    assert b.asked == [("Stacks", {"target": "7"})]
    assert result.returncode == DONE and result.stderr == ""
    assert result.stdout == """
7 (python3): Thread 7 "MainThread": sleeping in read
  File: "app.py", line 3, in main
    read()

1 distinct stack, 1 thread, 1 process.
""".lstrip("\n")


def test_the_same_stacks_are_printed_once():
    with broker(respond=lambda peer, p: peer.reply(answer(int(p["target"]), gil=p["target"] != "8", truncated=True)
                                                   if p["target"] != "9" else answer(9, "other"))) as b:
        result = run("stacks", 7, 8, 9, 7, control=b.control)
    assert asked(b) == ["7", "8", "9"]
    assert result.stdout == """
2 threads of 2 processes (python3): 7, 8
"MainThread"
sleeping in read
  File: "app.py", line 3, in main
    read()

9 (python3): Thread 9 "MainThread": sleeping in read
  File: "app.py", line 3, in other
    read()

Taken without the GIL: 8.
Cut short: 7, 8.
2 distinct stacks, 3 threads, 3 processes.
""".lstrip("\n")


LISTED = [target(1), target(2, unit="app.service"), target(3, unit="app.service"), target(4, state="stale"),
          target(5, state="untrusted"), target(6, state="stopped"), target(7, agent="python"),
          target(8, unit="app.service", state="stale"), target(9, unit="app-other.service")]


def test_all_are_those_that_can_be_asked():
    with broker(LISTED) as b:
        result = run("stacks", "--all", control=b.control)
    assert asked(b) == ["1", "2", "3", "6", "9"]
    assert result.returncode == DONE
    assert one_line(result.stderr) == "not asked: 1 process without manholed's agent"


@pytest.mark.parametrize("word, pids", [("app", ["2", "3"]), ("app.service", ["2", "3"]), ("app-other", ["9"])])
def test_a_unit_is_all_its_processes(word, pids):
    with broker(LISTED) as b:
        assert run("stacks", word, "2", control=b.control).returncode == DONE
    assert asked(b) == sorted({*pids, "2"})


def test_other_words_are_manholed_s_to_understand():
    with broker(LISTED, respond=lambda peer, p: peer.reply(answer(1))) as b:
        run("stacks", "name", "/tmp/manhole-1", control=b.control)
    assert asked(b) == ["/tmp/manhole-1", "name"]


def test_nobody_to_ask():
    with broker() as b:
        result = run("stacks", "--all", control=b.control)
        assert (result.returncode, result.stdout) == (DONE, "No targets.\n")
        assert run("stacks", "--all", "--no-legend", control=b.control).stdout == ""
        assert run("stacks", "--all", "-j", control=b.control).stdout == "[]\n"


def test_locals_are_asked_for():
    with broker() as b:
        run("stacks", 7, "--locals", control=b.control)
    assert b.asked == [("Stacks", {"target": "7", "locals": True})]


def test_without_legend_there_are_stacks_only():
    with broker() as b:
        assert "distinct" not in run("stacks", 7, "--no-legend", control=b.control).stdout


@pytest.mark.parametrize("args", [["stacks"], ["stacks", "--all", "1"], ["stacks", "--direct"]])
def test_targets_or_all(args):
    result = run(*args)
    assert result.returncode == USAGE
    assert one_line(result.stderr) == "stacks takes TARGET... or --all"


# ------------------------------------------------------------------ in parallel


def test_all_are_asked_before_the_first_answers():
    gate = threading.Barrier(40)

    def respond(peer, parameters):
        gate.wait(PATIENCE)
        peer.reply(answer(int(parameters["target"])))

    with broker(respond=respond) as b:
        result = run("stacks", *range(1, 41), control=b.control)
    assert result.returncode == DONE
    assert "40 threads of 40 processes" in result.stdout


def test_more_targets_than_connections():
    with broker() as b:
        result = run("stacks", *range(1, 501), "-j", control=b.control)
    assert [a["target"]["pid"] for a in json.loads(result.stdout)] == list(range(1, 501))
    assert sorted(map(int, asked(b))) == list(range(1, 501))


# ------------------------------------------------------------------- in vain


@pytest.mark.parametrize("error, status", [
    ("NoSuchTarget", NO_TARGET), ("AmbiguousTarget", NO_TARGET), ("NotAuthorized", REFUSED), ("TargetUntrusted", REFUSED),
    ("TargetGone", FAILED), ("Unsupported", FAILED), ("TimedOut", TIMED_OUT), ("TooManySessions", FAILED),
])
def test_why_one_has_no_answer(error, status):
    with broker(respond=lambda peer, p: refuse(peer, error)) as b:
        result = run("stacks", 7, control=b.control)
        assert (result.returncode, result.stdout) == (status, "")
        assert one_line(result.stderr) == "because"
        for verb in "tasks", "health":
            result = run(verb, 7, control=b.control)
            assert (result.returncode, one_line(result.stderr)) == (status, "because")


def test_one_that_fails_does_not_hide_the_others():
    def respond(peer, parameters):
        if parameters["target"] == "8":
            refuse(peer, "TimedOut", "it is late\x1b[31m")
        elif parameters["target"] == "9":
            peer.end()
            raise EOFError
        else:
            peer.reply(answer(int(parameters["target"])))

    with broker(respond=respond) as b:
        result = run("stacks", 7, 8, 9, 10, control=b.control)
        assert set(result.stderr.splitlines()) == {
            r"manholectl: 8: it is late\x1b[31m",
            "manholectl: 9: manholed ended the connection without an answer"}
        assert "2 threads of 2 processes (python3): 7, 10" in result.stdout
        assert result.returncode in (TIMED_OUT, FAILED)
        result = run("stacks", 7, 8, 9, 10, "-j", control=b.control)
        assert [a["target"]["pid"] for a in json.loads(result.stdout)] == [7, 10]


def test_without_a_daemon(tmp_path):
    result = run("stacks", 7, control=tmp_path / "none")
    assert result.returncode == FAILED
    assert "cannot connect to manholed" in one_line(result.stderr)


@pytest.mark.parametrize("reply", [{}, {"text": 1}, {"target": 1, "text": "x"}, {"target": {}, "text": None, "gil": "x"}])
def test_an_answer_that_is_none(reply):
    with broker(respond=lambda peer, p: peer.reply(reply)) as b:
        assert run("stacks", 7, control=b.control).returncode == DONE
        assert run("stacks", 7, "-j", control=b.control).returncode == DONE
        assert run("tasks", 7, control=b.control).returncode == DONE
        assert run("health", 7, control=b.control).returncode == DONE


# --------------------------------------------------------------------- shown


def test_foreign_text_is_escaped():
    with broker(respond=lambda peer, p: peer.reply({**answer(7, "\x1b]0;x\x07"), "tasks": [], "greenlets": []})) as b:
        for args in ["stacks", 7], ["tasks", 7], ["stacks", 7, "-j"]:
            with terminal(*args, control=b.control, env={"PAGER": "cat"}) as t:
                assert t.wait() == DONE
                text = t.rest()
            assert "]0;x" in text and "\x1b" not in text and "\x07" not in text


def test_a_long_answer_goes_through_the_pager():
    with broker(respond=lambda peer, p: peer.reply(answer(int(p["target"]), f"f{p['target']}"))) as b, \
            terminal("stacks", *range(1, 11), control=b.control, env={"PAGER": "sed s/^/paged:/"}) as t:
        assert t.wait() == DONE
        lines = t.rest().splitlines()
    assert len(lines) == 41 and all(line.startswith("paged:") for line in lines)


TASKS_ANSWER = {"target": target(7), "tasks": [{}, {}], "greenlets": [], "truncated": True, "n_all": 9,
                "text": '"a": waiting in f (x.py:1)\n  "b": ready in g (x.py:2)\n'}


def test_tasks_print_a_tree():
    with broker(respond=lambda peer, p: peer.reply(TASKS_ANSWER)) as b:
        assert run("tasks", 7, control=b.control).stdout == \
            '"a": waiting in f (x.py:1)\n  "b": ready in g (x.py:2)\n\n2 tasks, 0 greenlets, of 9.\n'
        assert json.loads(run("tasks", 7, "-j", control=b.control).stdout) == TASKS_ANSWER
    assert b.asked[0] == ("Tasks", {"target": "7"})


HEALTH_ANSWER = {
    "target": target(7), "gil": True, "version": "0.1.0", "pid": 7, "uptime": 12.25, "threads": 3, "rss": 10 << 20,
    "descriptors": 5, "descriptors_max": 1024, "connections": 1, "consoles": 0, "dropped": 17,
    "python": {"version": "3.11.2", "gil_wait_ms": 0.1, "gc": {"enabled": True, "counts": [1, 2, 3]},
               "loop": {"tasks": 4, "lag_ms": None}},
}


def test_health_prints_what_is_known():
    with broker(respond=lambda peer, p: peer.reply(HEALTH_ANSWER)) as b:
        result = run("health", 7, control=b.control)
        assert json.loads(run("health", 7, "-j", control=b.control).stdout) == HEALTH_ANSWER
    assert b.asked[0] == ("Health", {"target": "7"})
    assert result.stdout == """
python3(7)
      Uptime: 12.2 s
      Memory: 10.0 MiB
     Threads: 3
 Descriptors: 5 of 1024
 Interpreter: 3.11.2; the GIL was to be had after 0.1 ms
   Collector: on; counts 1, 2, 3
        Loop: more than 100 ms late, 4 tasks
       Agent: 0.1.0; 1 connections, 0 consoles
     Dropped: 17 bytes of output
""".lstrip("\n")
    nothing = {key: None for key in HEALTH_ANSWER} | {"target": target(7), "gil": False, "version": "1"}
    with broker(respond=lambda peer, p: peer.reply(nothing)) as b:
        assert run("health", 7, control=b.control).stdout.splitlines()[1:] == [
            " Interpreter: busy: the GIL was not to be had within 300 ms", "       Agent: 1; 0 connections, 0 consoles"]


# ------------------------------------------------------------------ without manholed


@contextlib.contextmanager
def stuck():
    """A process whose GIL is held."""
    with Host(HOSTS / "stuck.py", "hold_gil()", ready="HOLDS") as host:
        yield host


def test_direct_asks_the_process():
    with plain_host() as host, stuck() as other:
        for name in host.pid, host.path:
            result = run("stacks", "--direct", name)
            assert (result.returncode, result.stderr) == (DONE, "")
            assert f'{host.pid} (python3): Thread {host.pid} "MainThread"' in result.stdout
        begun = time.monotonic()
        result = run("stacks", "--direct", host.pid, other.pid, "-j")
        answers = json.loads(result.stdout)
        assert [(a["target"]["pid"], a["gil"]) for a in answers] == [(host.pid, True), (other.pid, False)]
        assert time.monotonic() - begun < 2
        assert not any("Started" in line for line in host.err)  # no console was opened


def test_direct_shows_locals():
    with plain_host() as host:
        host.do("secret = 'drowssap'")
        assert "drowssap" not in run("stacks", "--direct", host.pid).stdout
        assert "secret = 'drowssap'" in run("stacks", "--direct", "--locals", host.pid).stdout


def test_direct_all_are_the_caller_s_own():
    with plain_host() as host, plain_host() as other, plain_application() as plain:
        result = run("stacks", "--direct", "--all", "-j")
        pids = {a["target"]["pid"] for a in json.loads(result.stdout)}
        assert {host.pid, other.pid} <= pids and plain.pid not in pids


def test_direct_leaves_the_pure_python_package_alone():
    with plain_application() as plain:
        result = run("stacks", "--direct", plain.pid)
        assert result.returncode == FAILED and "agent" in one_line(result.stderr)


def test_direct_says_what_is_wrong():
    with plain_host() as host, plain_host() as stopped:
        os.kill(stopped.pid, signal.SIGSTOP)
        result = run("stacks", "--direct", host.pid, 4194000, stopped.pid)
        os.kill(stopped.pid, signal.SIGCONT)
        assert result.returncode == NO_TARGET
        assert result.stderr.splitlines() == ["manholectl: no manhole at /tmp/manhole-4194000",
                                              f"manholectl: {stopped.pid}: no answer"]
        assert f"{host.pid} (python3)" in result.stdout


@pytest.mark.parametrize("reply", [frame(ANSWER, b"nonsense"), frame(ANSWER, b"[]"), frame(ANSWER, {"error": "busy"}),
                                   frame(7777), b"\xff" * 12, b""], ids=range(6))
def test_direct_believes_nobody(tmp_path, reply):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            client, _ = listener.accept()
            with client:
                client.sendall(hello())
                client.recv(12)
                client.sendall(reply)
        thread = threading.Thread(target=serve)
        thread.start()
        result = run("stacks", "--direct", path)
        thread.join(PATIENCE)
    assert result.returncode == FAILED and "no answer" in one_line(result.stderr)


# -------------------------------------------------------------------- for real


def test_one_process_with_manholed(tmp_path):
    with daemon(tmp_path) as d, plain_host() as host:
        until(lambda: run("status", host.pid, control=d.control).returncode == DONE, "manholed knows it")
        assert f'Thread {host.pid} "MainThread"' in run("stacks", host.pid, control=d.control).stdout
        assert f"python3({host.pid})\n" in run("health", host.pid, control=d.control).stdout
        assert run("tasks", host.pid, control=d.control).stdout == "0 tasks, 0 greenlets.\n"
        assert not any("Started" in line for line in host.err)


def test_a_hundred_stuck_processes(tmp_path):
    """Each takes 300 ms by itself. To start them takes some 3 s."""
    with daemonlib.Daemon() as d, contextlib.ExitStack() as stack:
        code = (HOSTS / "stuck.py").read_text()
        at = "socket_path=f'{sys.argv[2]}/manhole-{os.getpid()}'"
        hosts = [stack.enter_context(subprocess.Popen(
            [PYTHON, "-c", code.replace("verbose=False", f"verbose=False, {at}"), "hold_gil()", str(d.scan)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())) for _ in range(100)]
        for host in hosts:
            stack.callback(host.kill)
        for host in hosts:
            assert [host.stdout.readline(), host.stdout.readline()] == ["READY\n", "HOLDS\n"]
        until(lambda: [t["state"] for t in d.listed().values()] == ["live"] * 100, "manholed knows them")
        begun = time.monotonic()
        result = run("stacks", *(host.pid for host in hosts), control=d.control)
        took = time.monotonic() - begun
        assert result.returncode == DONE, result.stderr
        assert re.search(r'^100 threads of 100 processes \(python3\): .* and 92 more\n.*\n.*has the GIL\n'
                         r'(  .*\n)*  File: .*, in hold_gil\n', result.stdout, re.MULTILINE)
        assert result.stdout.endswith(" 100 processes.\n")
        print(f"100 processes in {took:.2f} s")
        assert took < 5
