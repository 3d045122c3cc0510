# SPDX-License-Identifier: BSD-2-Clause
"""manholectl exec, and a daemon that serves what a test wants."""
import json
import signal
import subprocess

import pytest

from clilib import (ANSWER, DONE, END, EXEC, FAILED, INTERRUPT, MANHOLECTL, OUTPUT, PATIENCE, STDERR, TIMED_OUT,
                    environment, fake_daemon, frame, hello, kill, notice, one_line, run)


def execution(*frames, code=b"1"):
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame() == (EXEC, 1, code)
        for piece in frames:
            peer.send(piece)
        while peer.frame():
            pass
    return script


def done(result=None, status=0, exception=None):
    return frame(END, {"reason": "done", "result": result, "status": status, "exception": exception})


TRACEBACK = {"type": "ValueError", "message": "no", "traceback": "Traceback: \nValueError: no\n"}


@pytest.mark.parametrize("end, status, out, err", [
    (done(), DONE, "o\n", "e\n"),
    (done(result="[1]"), DONE, "o\n[1]\n", "e\n"),
    (done(result="None"), DONE, "o\n", "e\n"),
    (done(status=1, exception=TRACEBACK), FAILED, "o\n", "e\nTraceback: \nValueError: no\n"),
    (done(status=3), FAILED, "o\n", "e\n"),
    (done(status="text"), FAILED, "o\n", "e\n"),
    (done(status=None), DONE, "o\n", "e\n"),
    (frame(END, {"reason": "stopping"}), FAILED, "o\n",
     "e\nmanholectl: the code did not run to its end: stopping\n"),
    (frame(ANSWER, {"error": "unsupported"}), FAILED, "o\n",
     "e\nmanholectl: the code was not run: unsupported\n"),
    (b"\x01", None, "o\n", None),
], ids=["nothing", "value", "none", "exception", "status", "text", "null", "stopping", "error", "gone"])
def test_exec_prints_and_exits(end, status, out, err):
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame() == (EXEC, 1, b"1")
        peer.send(frame(OUTPUT, b"o\n") + frame(STDERR, b"e\n") + end)
        if status is not None:
            while peer.frame():
                pass

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.stdout == out
    if status is None:
        assert result.returncode == FAILED
        assert result.stderr == "e\nmanholectl: the session is lost: the connection is gone\n"
    else:
        assert (result.returncode, result.stderr) == (status, err)


def test_exec_sends_the_reason():
    seen = {}

    def script(peer):
        seen.update(peer.attach())

    with fake_daemon(script) as fake:
        run("exec", "x", "1", "--reason=ticket", control=fake.control)
    assert seen == {"target": "x", "framed": True, "reason": "ticket"}


def test_exec_as_json():
    pieces = [frame(OUTPUT, b"a\xff"), frame(STDERR, b"b"), frame(OUTPUT, b"c"),
              done(result="5", status=1, exception=TRACEBACK)]
    with fake_daemon(execution(*pieces)) as fake:
        result = run("exec", "x", "1", "-j", control=fake.control)
    assert result.returncode == FAILED
    assert result.stderr == ""
    assert json.loads(result.stdout) == {"result": "5", "status": 1, "exception": TRACEBACK,
                                         "output": "a\ufffdc", "error": "b"}


@pytest.mark.parametrize("stops", [True, False])
def test_exec_interrupts_when_its_time_is_over(stops):
    def script(peer):
        peer.attach()
        peer.send(hello() + frame(OUTPUT, b"begun\n"))
        assert peer.frame()[0] == EXEC
        assert peer.frame() == (INTERRUPT, 1, b"")
        if stops:
            peer.send(done(status=1, exception=TRACEBACK))
        while peer.frame():
            pass

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert result.stdout == "begun\n"
    assert result.stderr.endswith("manholectl: timed out: the code was interrupted" +
                                  ("\n" if stops else " and still runs\n"))


def test_exec_that_times_out_still_reports():
    with fake_daemon(execution(frame(OUTPUT, b"begun"))) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", "-j", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert json.loads(result.stdout) == {"result": None, "status": None, "exception": None,
                                         "output": "begun", "error": ""}


def test_a_daemon_that_does_not_answer_runs_into_the_time_out():
    def script(peer):
        peer.call()
        peer.call()

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert one_line(result.stderr) == "manholed does not answer"


def test_ctrl_c_interrupts_an_exec_and_a_second_one_leaves():
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == EXEC
        peer.send(frame(STDERR, b"running\n"))
        assert peer.frame() == (INTERRUPT, 1, b"")
        peer.send(frame(STDERR, b"stubborn\n"))
        while peer.frame():
            pass

    with fake_daemon(script) as fake, \
            subprocess.Popen([MANHOLECTL, "exec", "x", "1"], stderr=subprocess.PIPE, text=True,
                             env=environment(MANHOLED_CONTROL=str(fake.control))) as process:
        assert process.stderr.readline() == "running\n"
        kill(process, signal.SIGINT)
        assert process.stderr.readline() == "stubborn\n"
        kill(process, signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT


def test_exec_reads_code_from_a_file_and_from_stdin(tmp_path):
    (tmp_path / "code.py").write_bytes(b"a\nb")
    with fake_daemon(execution(done(), code=b"a\nb")) as fake:
        assert run("exec", "-f", tmp_path / "code.py", "x", control=fake.control).returncode == DONE
        assert run("exec", "x", f"--file={tmp_path}/code.py", control=fake.control).returncode == DONE
        assert run("exec", "x", "-", control=fake.control, input="a\nb").returncode == DONE
        assert run("exec", "x", "-f", "-", control=fake.control, input="a\nb").returncode == DONE
        assert run("exec", "x", "--", "a\nb", control=fake.control).returncode == DONE


def test_code_that_cannot_be_read_or_sent(tmp_path):
    result = run("exec", "x", "-f", tmp_path / "none")
    assert result.returncode == FAILED
    assert one_line(result.stderr) == f"cannot open {tmp_path}/none: No such file or directory"
    result = run("exec", "x", "-f", tmp_path)
    assert one_line(result.stderr) == f"cannot read {tmp_path}: Is a directory"
    result = run("exec", "x", "-", input="#" * ((1 << 20) + 1))
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "the code is longer than 1048576 bytes"


def test_exec_needs_the_agent():
    def script(peer):
        peer.attach(pid=7, framed=False)

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "process 7 has the pure-Python manhole: exec needs manholed's agent"


def test_code_does_not_hear_who_comes_but_why_it_is_ended():
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == EXEC
        peer.send(notice("joined", "alice") + notice("end", "terminated by root"))

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "the session was ended: terminated by root"
