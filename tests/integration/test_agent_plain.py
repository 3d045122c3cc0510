# SPDX-License-Identifier: BSD-2-Clause
"""The plain face: what socat and python-manhole's client see."""
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from agentlib import *


def test_socket_belongs_to_its_user_alone(host):
    st = os.stat(host.path)
    assert stat.S_ISSOCK(st.st_mode)
    assert stat.S_IMODE(st.st_mode) == 0o600


def test_stacks_come_before_the_banner_and_the_banner_before_the_prompt(host):
    with Plain(host.path) as client:
        text = client.until(b">>> ").decode()
    match = re.fullmatch(
        rf"\n######### ProcessID={host.pid}, ThreadID=\d+ #########\n"
        rf'Thread {host.pid} "MainThread": sleeping in read.*\n'
        r'File: ".*plain\.py", line \d+, in <module>\n  for line in sys\.stdin:\n'
        r"(?:File: .*\n(?:  .*\n)?)*"
        r"#{45}\n\n\n"
        r'Python .*\n(?:\[.*\n)?Type "help", .*\n\(ManholeConsole\)\n>>> ',
        text,
    )
    assert match, text


def test_fresh_console_knows_what_is_documented(host):
    with connect(host) as client:
        assert eval(client.run("dir()")) == [
            "__builtins__", "dump_stacktraces", "os", "socket", "sys", "traceback",
        ]
        assert client.run("os.getpid()") == f"{host.pid}\n"


def test_locals_are_added():
    with plain_host("locals={'answer': 42}") as host, connect(host) as client:
        assert client.run("answer") == "42\n"
        assert "'answer'" in client.run("dir()")


def test_namespace_and_underscore_belong_to_the_session(host):
    host.do("import builtins; builtins._ = 'gettext'")
    with connect(host) as one, connect(host) as two:
        assert one.run("x = 1") == ""
        assert "NameError" in two.run("x")
        assert one.run("6 * 7") == "42\n"
        assert two.run("_") == "'gettext'\n"
        assert one.run("_ + 1") == "43\n"
        assert one.run("_ = 'mine'") == ""
        assert one.run("1") == "1\n"
        assert one.run("_") == "'mine'\n"
    host.do("print(builtins._)")
    assert "gettext" in host.out


def test_blocks_take_more_lines(host):
    with connect(host) as client:
        assert client.run("def f():", b"... ") == ""
        assert client.run("    return 1", b"... ") == ""
        assert client.run("") == ""
        assert client.run("f()") == "1\n"


def test_exceptions_are_shown_and_change_nothing_in_sys(host):
    with connect(host) as client:
        assert client.run("1/0") == (
            'Traceback (most recent call last):\n  File "<console>", line 1, in <module>\n'
            "ZeroDivisionError: division by zero\n"
        )
        assert 'File "<console>", line 1' in client.run("1 +* 2")
        assert client.run("hasattr(sys, 'last_value')") == "False\n"


def test_own_output_comes_to_the_client_only(host):
    with connect(host) as client:
        assert client.run("print('to the client')") == "to the client\n"
        assert client.run("print('err', file=sys.stderr)") == "err\n"
        assert client.run("sys.stdout.buffer.write(b'raw\\n')") == "raw\n4\n"
    host.do("pass")
    assert not [line for line in host.out if "client" in line]


def test_application_output_is_copied_to_every_client(host):
    with connect(host) as one, connect(host) as two:
        host.do("print('hello from the application')")
        host.do("print('and its stderr', file=sys.stderr)")
        for client in one, two:
            client.until(b"hello from the application\n")
            client.until(b"and its stderr\n")
    assert "hello from the application" in host.out
    host.wait_err("and its stderr")


def test_stderr_can_stay_with_the_application():
    with plain_host("redirect_stderr=False") as host, connect(host) as client:
        assert client.run("print('mine', file=sys.stderr)") == ""
        host.wait_err("^mine$")
        host.do("print('not copied', file=sys.stderr); print('copied')")
        assert b"not copied" not in client.until(b"copied\n").removesuffix(b"copied\n")
        assert "ZeroDivisionError" in client.run("1/0")


@pytest.mark.parametrize("redirect, stream", [(True, "stderr"), (False, "stdout")])
def test_stacks_go_to_the_client_whichever_stream_they_are_written_to(redirect, stream):
    with plain_host(f"redirect_stderr={redirect}") as host, Plain(host.path) as client:
        assert f"ProcessID={host.pid}".encode() in client.until(BANNER_END)
        client.until(b">>> ")
        assert f"ProcessID={host.pid}" in client.run("dump_stacktraces()")
        assert client.run(f"import io; sys.{stream} = io.StringIO()") == ""
        assert "ProcessID" not in client.run("dump_stacktraces()")
        client.run(f"sys.{stream} = sys.__{stream}__")


def test_input_reads_from_the_client(host):
    with connect(host) as client:
        client.send("name = input('name? ')\n")
        client.until(b"name? ")
        assert client.run("bob") == ""
        assert client.run("name") == "'bob'\n"
        client.send("sys.stdin.readline()\nline\r\n")
        assert client.until(b">>> ") == b"'line\\n'\n>>> "
        client.send("next(iter(sys.stdin))\nmore\n")
        assert client.until(b">>> ") == b"'more\\n'\n>>> "


def test_streams_are_the_originals_again_when_nobody_is_connected(host):
    host.do("before = sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.__stdout__")
    with connect(host) as client:
        host.do("print(sys.stdout is before[1])")
        client.until(b"False\n")
        client.run("kept = sys.stdout; sys.modules['kept'] = kept")
    host.wait_err("Cleaned up")
    host.do("print(before == (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.__stdout__), 1)")
    assert "True 1" in host.out
    host.do("print('late', file=sys.modules['kept'])")
    assert "late" in host.out


def test_streams_that_the_application_replaced_stay(host):
    with connect(host) as client:
        host.do("import io; mine = io.StringIO(); old = sys.stdout; sys.stdout = mine")
        client.run("1")
    host.wait_err("Cleaned up")
    host.do("write_raw(str(sys.stdout is mine))")
    assert "True" in host.out
    # What it kept is a router: it goes on to the original.
    host.do("sys.stdout = old; print('through the router')")
    assert "through the router" in host.out


def test_router_looks_like_the_original_to_the_application(host):
    host.do("import io")
    with connect(host):
        host.do("print(isinstance(sys.stdout, io.TextIOWrapper), sys.stdout.fileno(), sys.stdout.name)")
        assert "True 1 <stdout>" in host.out


def test_end_of_input_says_goodbye(host):
    with connect(host) as client:
        client.send("2 + 2")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.wait_closed() == b"4\n>>> \nnow exiting ManholeConsole...\n"
    host.do("print('still here')")


@pytest.mark.parametrize("leave", ["exit()", "raise SystemExit(3)", "quit()", "sys.exit('bye')"])
def test_leaving_ends_the_session_only(host, leave):
    with connect(host) as client:
        client.send(leave + "\n")
        assert client.wait_closed() == b""
    host.do("print('still here')")
    with connect(host) as client:
        assert client.run("1") == "1\n"


def test_dump_stacktraces_prints_to_the_client(host):
    with connect(host) as client:
        text = client.run("dump_stacktraces()")
    assert f"ProcessID={host.pid}" in text
    assert 'File: "<console>", line 1, in <module>' in text


def test_eight_sessions_work_at_once(host):
    clients = [connect(host) for _ in range(8)]
    results = {}

    def work(i):
        for n in range(20):
            results[i, n] = clients[i].run(f"print({i}, {n})")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {(i, n): f"{i} {n}\n" for i in range(8) for n in range(20)}
    for client in clients:
        client.close()


def test_etx_interrupts_running_code(host):
    with connect(host) as client:
        client.send("exec('print(\"go\")\\nwhile True: pass')\n")
        client.until(b"go\n")
        client.send(b"1\n2\n\x03print('after')\n")
        text = client.until(b"after\n>>> ").decode()
        assert "KeyboardInterrupt" in text
        assert not re.search(r"^[12]$", text, re.M), "what was typed before the interrupt is discarded"
        assert client.run("'alive'") == "'alive'\n"


def test_etx_clears_what_was_typed(host):
    with connect(host) as client:
        client.send("def f():\n")
        client.until(b"... ")
        client.send(b"    half a li\x03")
        client.until(b"\nKeyboardInterrupt\n>>> ")
        assert client.run("1 + 1") == "2\n"


def test_etx_interrupts_input(host):
    with connect(host) as client:
        client.send("input('? ')\n")
        client.until(b"? ")
        client.send(b"\x03")
        assert b"KeyboardInterrupt" in client.until(b">>> ")
        assert client.run("3") == "3\n"


def test_many_interrupts_leave_the_session_usable(host):
    with connect(host) as client:
        for n in range(50):
            client.send(f"for i in range(10 ** {n % 7}): pass\n\n".encode() + b"\x03" + f"'n' + '{n}'\n".encode())
            client.until(f"'n{n}'\n".encode())
        client.until(b">>> ")
        assert client.run("5") == "5\n"


def test_disconnect_interrupts_what_the_session_ran(host):
    client = connect(host)
    client.send("while True: pass\n\n")
    client.until(b"... ")
    client.close()
    host.wait_err("REPL client disconnected$")
    host.wait_err("Cleaned up")
    wait_for(lambda: not [n for n in host.thread_names() if n.startswith("Manhole <")], "the thread ends")


def test_disconnect_in_the_middle_of_output(host):
    for _ in range(5):
        client = connect(host)
        client.send("while True: print('x' * 1000)\n\n")
        client.until(b"xxx")
        start = len(host.err)
        client.close()
        host.wait_err("Cleaned up", start)
    host.do("print('unharmed')")


def test_input_of_any_bytes(host):
    with connect(host) as client:
        assert "Error" in client.run("'a\0b'")
        client.send(b"len('\xff\xfe')\n")
        assert client.until(b">>> ") == b"2\n>>> "
        client.send(bytes(range(4, 9)) + b"\n")
        assert b"SyntaxError" in client.until(b">>> ")
        assert client.run("'\N{SNOWMAN}'") == "'\N{SNOWMAN}'\n"
        assert client.run(r"print('\ud800')") == "\\ud800\n"


def test_input_beyond_the_read_ahead_loses_that_session_only(host):
    with connect(host) as other, connect(host) as client:
        client.send("import threading; threading.Event().wait(3600)\n")
        with pytest.raises(OSError):
            for _ in range(64):
                client.send(b"x" * 65536)
        host.wait_err("lost its session")
        assert other.run("1") == "1\n"
    host.do("print('still here')")


def test_long_paste_within_the_read_ahead_is_run(host):
    with connect(host) as client:
        paste = b"".join(b"n%d = %d\n" % (i, i) for i in range(20000))
        client.send("import time; time.sleep(0.2); print('slept')\n")
        sender = threading.Thread(target=client.send, args=(paste + b"print(n19999)\n",))
        sender.start()
        client.until(b"19999\n")
        sender.join()


def test_stalled_client_never_holds_up_the_application():
    with Host(HOSTS / "noisy.py") as host:
        with Plain(host.path):
            # Much more than the socket and the queue hold together: about 25,000 lines of 200 bytes.
            host.wait_more_out(25000)


def test_stalled_client_is_told_what_it_missed():
    with Host(HOSTS / "noisy.py") as host, Plain(host.path) as client:
        host.wait_more_out(25000)
        client.until(b"bytes of other threads' output dropped]\n")


def test_session_that_writes_to_a_stalled_client_is_lost(host):
    with connect(host) as client, connect(host) as other:
        client.send("print('x' * 20_000_000)\n")
        host.do("print('the application prints on')")
        other.until(b"prints on\n")
        assert other.run("1") == "1\n"
        host.wait_err("Cleaned up")
        assert b"x" * 1000 in client.wait_closed()


def test_etx_interrupts_code_that_waits_for_its_client(host):
    with connect(host) as client:
        client.send("exec('print(\"go\")\\nprint(\"x\" * 20_000_000)')\n")
        client.until(b"go\n")
        # The queue is full when the application's own copies do not fit any more.
        wait_for(lambda: client.socket.recv(1, socket.MSG_PEEK), "output")
        client.send(b"\x03")
        client.until(b"KeyboardInterrupt\n>>> ")
        assert client.run("1 + 1") == "2\n"


def test_slow_reader_gets_everything(host):
    """Slower than its socket's buffer polls writable again, longer than a stall may last."""
    with connect(host) as client:
        client.send("print('x' * 3_000_000)\n")
        started = time.monotonic()
        while len(client.buffer) < 3_000_000:
            if time.monotonic() < started + 7:
                client.buffer += client.socket.recv(4096)
                time.sleep(0.25)  # the pace of the reader, not a wait for anything
            else:
                client.receive()
        assert client.until(b">>> ") == b"x" * 3_000_000 + b"\n>>> "


def test_log_and_thread_names_are_those_people_know(host):
    stamp = rf"^Manhole\[{host.pid}:\d+\.\d{{4}}\]: "
    host.wait_err(stamp + f"Manhole UDS path: {host.path}$")
    host.wait_err(stamp + rf"Waiting for new connection \(in pid:{host.pid}\) \.\.\.$")
    host.wait_thread("Manhole")
    with connect(host):
        host.wait_err(stamp + r"Started ManholeConnectionThread thread\. Checking credentials \.\.\.$")
        host.wait_err(stamp + rf"Accepted connection on fd:\d+ from PID:{os.getpid()} UID:\d+ GID:\d+$")
        host.wait_thread(f"Manhole < PID:{os.getpid()}"[:15])
    host.wait_err(stamp + r"DONE\.$")
    host.wait_err(stamp + r"Cleaned up\.$")


def test_sessions_leave_no_descriptor_thread_or_dummy_behind(host):
    with connect(host) as client:  # the first imports modules
        client.run("import threading; threading.current_thread().name")
    host.wait_err("Cleaned up")
    wait_for(lambda: len(host.thread_names()) == 2, "the thread ends")
    before = host.descriptors()
    for _ in range(5):
        start = len(host.err)
        with connect(host) as client:
            client.run("import threading; threading.current_thread().name")
        host.wait_err("Cleaned up", start)
    wait_for(lambda: len(host.thread_names()) == 2, "the threads end")
    # The I/O thread closes when it has seen the end, which may be after the console's thread has gone.
    wait_for(lambda: host.descriptors() <= before, "descriptors are closed")
    host.do("import threading; print(len(threading._active), 'known')")
    assert "1 known" in host.out


def test_signals_stay_with_the_application(host):
    with connect(host) as client:
        mask = client.run("import signal; sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))")
        assert eval(mask) == []
    tid = host.wait_thread("Manhole")
    status = open(f"/proc/{host.pid}/task/{tid}/status").read()
    blocked = int(re.search(r"SigBlk:\s*([0-9a-f]+)", status).group(1), 16)
    assert blocked & 1 << signal.SIGTERM - 1 and not blocked & 1 << signal.SIGSEGV - 1


def test_fork_in_a_console_leaves_the_console_to_the_parent(host):
    with connect(host) as client:
        client.run("pid = os.fork()")
        assert client.run("os.waitpid(pid, 0)[1]") == "0\n"
        assert client.run("os.getpid()") == f"{host.pid}\n"


def test_two_plain_clients_over_socat(host):
    for _ in range(2):
        result = subprocess.run(
            ["socat", "-t10", "-", f"UNIX-CONNECT:{host.path}"],
            input=b"print('via', 'socat')\n",
            capture_output=True,
            timeout=TIMEOUT,
        )
        assert result.returncode == 0
        assert result.stdout.endswith(b">>> via socat\n>>> \nnow exiting ManholeConsole...\n")
