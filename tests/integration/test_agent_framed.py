# SPDX-License-Identifier: BSD-2-Clause
"""The framed face: docs/CONSOLE-PROTOCOL.md, as a client sees it."""
import json
import os
import struct
import subprocess

import pytest

from agentlib import *


def test_hello_comes_first_and_is_told_from_text_by_its_first_byte(host):
    with Framed(host.path) as client:
        client.receive()
        assert client.buffer[0] == 0
        assert struct.unpack("<I", client.buffer[:4])[0] % 256 == 0
        hello = client.hello()
    version = ".".join(map(str, target_version()))
    assert hello["agent"] == "manholed-agent"
    assert hello["versions"] == [1]
    assert hello["pid"] == host.pid
    assert hello["python"].startswith(version + ".")
    assert hello["implementation"] == "cpython"
    assert os.path.samefile(hello["executable"], f"/proc/{host.pid}/exe") or "python" in hello["executable"]


def test_hello_does_not_wait_for_the_gil():
    code = (
        "import ctypes, manhole, os; manhole.install(verbose=False); os.write(1, b'READY\\n')\n"
        "ctypes.PyDLL(None).sleep(2); os.write(1, b'AFTER\\n'); input()"
    )
    with Host("-c", code) as host, Framed(host.path) as client:
        assert client.hello()["pid"] == host.pid
        number = client.request(EXEC, "6 * 7")
        assert client.ask(HELLO)["pid"] == host.pid
        assert "AFTER" not in host.out, "the GIL was held until now"
        assert client.exec_end(number)[0]["result"] == "42"


def test_questions_disturb_and_log_nothing(host, client):
    host.wait_err("Waiting for new connection")
    start = len(host.err)
    assert client.ask(HELLO)["pid"] == host.pid
    host.do("pass")
    assert host.err[start:] == []
    host.wait_thread("Manhole")
    assert len(host.thread_names()) == 2


def test_unknown_version_gets_the_versions_and_the_end(host):
    with Framed(host.path, version=7) as client:
        assert client.hello()["versions"] == [1]
        assert client.frame() is None


def test_console_opens_runs_and_ends(client):
    number = client.request(OPEN)
    seen = client.until(PROMPT, number)
    assert b"ProcessID=" in seen[OUTPUT] and seen[OUTPUT].endswith(BANNER_END)
    assert seen[PROMPT] == b">>> "
    client.send(INPUT, number, "6 * 7\n")
    assert client.until(PROMPT, number) == {OUTPUT: b"42\n", PROMPT: b">>> "}
    client.send(INPUT, number, "if 1:\n")
    assert client.until(PROMPT, number) == {PROMPT: b"... "}
    client.send(INPUT, number, "")
    seen = client.until(END, number)
    assert json.loads(seen[END]) == {"reason": "eof"}
    assert client.ask(HELLO)["pid"]


def test_console_opens_without_stacks_and_banner(client):
    number = client.request(OPEN, "stacks=no\nbanner=no\nunknown=yes\n")
    assert client.until(PROMPT, number) == {PROMPT: b">>> "}
    client.send(INPUT, number, "exit()\n")
    assert json.loads(client.until(END, number)[END]) == {"reason": "exit"}
    number = client.request(OPEN, "stacks=no")
    assert client.until(PROMPT, number)[OUTPUT].startswith(b"Python ")


def test_end_of_input_is_for_one_read_only(client):
    number = client.request(OPEN, "stacks=no\nbanner=no")
    client.until(PROMPT, number)
    client.send(INPUT, number, "sys.stdin.read()\n")
    assert client.until(PROMPT, number) == {PROMPT: b""}
    client.send(INPUT, number, "text\n")
    client.until(PROMPT, number)
    client.send(INPUT, number, b"")
    assert client.until(PROMPT, number)[OUTPUT] == b"'text\\n'\n"


def test_a_second_run_is_refused_as_busy(client):
    number = client.request(OPEN)
    client.until(PROMPT, number)
    other = client.request(EXEC, "1")
    assert client.until(ANSWER, other) == {ANSWER: b'{"error":"busy"}'}
    client.send(INPUT, number, "exit()\n")
    client.until(END, number)
    assert client.exec("2")[0]["result"] == "2"


def test_input_and_interrupt_for_a_run_that_is_over_are_ignored(client):
    number = client.request(EXEC, "1")
    client.until(END, number)
    client.send(INPUT, number, "x\n")
    client.send(INTERRUPT, number)
    number = client.request(EXEC, "input()")
    client.until(PROMPT, number)
    client.send(INPUT, number, "y\n")
    assert client.exec_end(number)[0]["result"] == "'y'"


def test_exec_keeps_output_errors_and_result_apart(client):
    end, out, err = client.exec("import sys\nprint('out')\nprint('err', file=sys.stderr)\n[1, 2]")
    assert end == {"reason": "done", "status": 0, "result": "[1, 2]", "exception": None}
    assert (out, err) == ("out\n", "err\n")


@pytest.mark.parametrize("code, result", [("", None), ("x = 1", None), ("None", None), ("'a\"\\\n'", None)])
def test_exec_without_a_value_has_no_result(client, code, result):
    end, out, err = client.exec(code)
    assert end["result"] == (result if code != "'a\"\\\n'" else "'a\"'")


def test_exec_runs_in_a_fresh_console_namespace(client):
    names = eval(client.exec("dir()")[0]["result"])
    assert names == ["__builtins__", "dump_stacktraces", "os", "socket", "sys", "traceback"]
    client.exec("leftover = 1")
    assert "leftover" not in client.exec("dir()")[0]["result"]


def test_exec_functions_see_their_globals(client):
    assert client.exec("def f(n): return n and n * f(n - 1) or 1\nf(5)")[0]["result"] == "120"


def test_exec_reports_an_exception(client):
    end, out, err = client.exec("print('before')\ndef f():\n    1/0\nf()")
    assert out == "before\n"
    assert (end["status"], end["result"]) == (1, None)
    assert end["exception"]["type"] == "ZeroDivisionError"
    assert end["exception"]["message"] == "division by zero"
    assert end["exception"]["traceback"].startswith("Traceback (most recent call last):\n")
    assert 'File "<console>", line 3, in f' in end["exception"]["traceback"]
    assert err == "", "the traceback is in the end object, for the client to show"


def test_exec_reports_a_syntax_error(client):
    end, out, err = client.exec("1 +* 2")
    assert end["status"] == 1
    assert end["exception"]["type"] == "SyntaxError"
    assert client.exec(b"\xff\xfe")[0]["exception"]["type"] == "UnicodeDecodeError"
    assert client.exec(b"a\0b")[0]["exception"]["type"] in ("ValueError", "SyntaxError")


def test_exec_names_exceptions_by_module(client):
    assert client.exec("import json; json.loads('x')")[0]["exception"]["type"] == "json.decoder.JSONDecodeError"


@pytest.mark.parametrize(
    "argument, status, text",
    [("", 0, ""), ("None", 0, ""), ("0", 0, ""), ("7", 7, ""), ("256 + 3", 3, ""), ("'bye'", 1, "bye\n")],
)
def test_exec_ends_as_a_process_would(client, argument, status, text):
    end, out, err = client.exec(f"raise SystemExit({argument})")
    assert (end["status"], end["exception"], err) == (status, None, text)


def test_exec_output_is_not_copied_from_the_application(host, client):
    number = client.request(EXEC, "input()")
    client.until(PROMPT, number)
    host.do("print('from the application')")
    client.send(INPUT, number, "x\n")
    assert client.exec_end(number)[1] == ""
    assert "from the application" in host.out


def test_console_gets_copies_of_the_application_output(host, client):
    number = client.request(OPEN)
    client.until(PROMPT, number)
    host.do("print('from the application')")
    seen = b""
    while b"from the application\n" not in seen:
        kind, to, payload = client.frame()
        assert (kind, to) == (OUTPUT, number)
        seen += payload


def test_interrupt_stops_running_code(client):
    number = client.request(EXEC, "print('go', end='')\nwhile True: pass")
    assert client.frame()[2] == b"go"
    client.send(INTERRUPT, number)
    end, out, err = client.exec_end(number)
    assert end["exception"]["type"] == "KeyboardInterrupt"
    assert client.exec("1")[0]["result"] == "1"


def test_interrupt_stops_code_that_shows_its_result(client):
    code = "class C:\n  def __repr__(self):\n    print('go', end='')\n    while True: pass\nC()"
    number = client.request(EXEC, code)
    assert client.frame()[2] == b"go"
    client.send(INTERRUPT, number)
    assert client.exec_end(number)[0]["result"] is None


def test_interrupt_at_the_prompt_clears_the_input(client):
    number = client.request(OPEN, "stacks=no\nbanner=no")
    client.until(PROMPT, number)
    client.send(INPUT, number, "half a li")
    client.send(INTERRUPT, number)
    assert client.until(PROMPT, number) == {OUTPUT: b"\nKeyboardInterrupt\n", PROMPT: b">>> "}
    client.send(INPUT, number, "8\n")
    assert client.until(PROMPT, number)[OUTPUT] == b"8\n"


def test_large_output_arrives_whole(client):
    end, out, err = client.exec("for i in range(100): print('\N{SNOWMAN}' * 30000)")
    assert out == ("\N{SNOWMAN}" * 30000 + "\n") * 100


def test_large_result_is_cut_and_says_so(client):
    end, out, err = client.exec("'\\x01' * 2_000_000")
    assert end["truncated"] is True
    assert end["result"].startswith("'\\x01")
    assert end["status"] == 0


def test_odd_text_is_valid_json(client):
    end, out, err = client.exec("raise ValueError('\\ud800 \\x00 \" \\\\ \\x7f \N{SNOWMAN}')")
    assert end["exception"]["message"] == '\\ud800 \x00 " \\ \x7f \N{SNOWMAN}'


def test_dropped_copies_are_counted(host):
    with Host(HOSTS / "noisy.py") as noisy, Framed(noisy.path) as client:
        client.hello()
        number = client.request(OPEN, "stacks=no\nbanner=no")
        noisy.wait_more_out(25000)
        dropped = json.loads(client.until(DROPPED, number)[DROPPED])
        assert dropped["bytes"] > 0


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<III", 1 << 20 | 1, OPEN, 1),  # longer than a frame may be
        struct.pack("<III", 0xFFFFFFFF, EXEC, 1),
        struct.pack("<III", 0, 99, 1),  # no such type
        struct.pack("<III", 0, OUTPUT, 1),
        struct.pack("<III", 0, OPEN, 0),  # no such id
        b"print('hello')\n" * 10,
    ],
)
def test_broken_frames_end_the_connection_only(host, client, data):
    client.socket.sendall(data)
    assert client.wait_closed() == b""
    with Framed(host.path) as other:
        other.hello()
        assert other.exec("1")[0]["result"] == "1"


def test_a_frame_that_never_ends_waits_for_nobody(host, client):
    client.socket.sendall(struct.pack("<III", 1000, EXEC, 1) + b"x")
    with Framed(host.path) as other:
        other.hello()
        assert other.exec("1")[0]["result"] == "1"
    client.close()
    host.do("print('still here')")


def test_input_beyond_the_read_ahead_ends_the_connection(host, client):
    number = client.request(EXEC, "import threading; threading.Event().wait(3600)")
    with pytest.raises(OSError):
        for _ in range(64):
            client.send(INPUT, number, b"x" * 65536)
    host.wait_err("lost its session")


def test_a_flood_of_questions_ends_the_connection(host, client):
    with pytest.raises(OSError):
        for _ in range(1_000_000):
            client.send(HELLO, 1)
    with Framed(host.path) as other:
        assert other.hello()["pid"] == host.pid


def test_disconnect_interrupts_an_exec(host, client):
    number = client.request(EXEC, "print('go', end='')\nwhile True: pass")
    assert client.frame()[2] == b"go"
    client.close()
    host.wait_err("Cleaned up")


def test_connections_have_a_limit_and_recover(host):
    clients = [Framed(host.path) for _ in range(200)]
    greeted = 0
    for c in clients:
        try:
            greeted += c.hello()["pid"] == host.pid
        except (TypeError, ConnectionResetError):
            pass
    assert greeted == 128
    for c in clients:
        c.close()

    def works():
        with Framed(host.path) as c:
            try:
                return c.hello() and c.exec("1")[0]["result"] == "1"
            except (TypeError, ConnectionResetError):
                return False

    wait_for(works, "a new connection")


def test_process_without_descriptors_accepts_again_when_it_has_some(host):
    host.do("import resource; limit = len(os.listdir('/proc/self/fd')) + 4")
    host.do("resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))")
    clients = [Framed(host.path) for _ in range(10)]
    for client in clients:
        assert client.hello()["pid"] == host.pid
        client.close()


def test_process_that_ends_says_so():
    with plain_host("daemon_connection=True") as host, Framed(host.path) as client:
        client.hello()
        number = client.request(OPEN)
        client.until(PROMPT, number)
        assert host.finish() == 0
        assert json.loads(client.until(END, number)[END]) == {"reason": "stopping"}
        assert client.frame() is None


def test_connection_without_a_run_does_not_keep_the_process_alive(host, client):
    assert host.finish() == 0
    assert client.frame() is None


def test_process_that_is_killed_ends_the_connection(host, client):
    number = client.request(EXEC, "print('go', end='')\nwhile True: pass")
    assert client.frame()[2] == b"go"
    host.process.kill()
    client.wait_closed()


def test_frames_over_socat(host):
    """A client that is not ours: socat connects from an abstract name."""
    name = f"\0manhole/1/socat-{os.getpid()}".encode()
    result = subprocess.run(
        ["socat", "-t10", "-", f"SOCKET-CONNECT:1:0:x{host.path.encode().hex()}00,bind=x{name.hex()}"],
        input=struct.pack("<III", 3, EXEC, 1) + b"6*7",
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert result.stdout[:1] == b"\0", result.stderr
    assert b'"result":"42"' in result.stdout
