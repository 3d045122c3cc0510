# SPDX-License-Identifier: BSD-2-Clause
"""connection_handler, and the documented functions that an application may replace or call."""
import os
import re
import signal
import socket
import subprocess

import pytest

from agentlib import *


def host_with(code, options=""):
    """An application that has run some code and then installed."""
    host = plain_host("thread=False, verbose=False")
    try:
        host.do(code)
        host.do(f"handle = manhole.install(strict=False, {options})")
        wait_for(lambda: is_listening(host.path), "the socket listens")
    except BaseException:
        host.__exit__()
        raise
    return host


def test_exec_runs_lines_without_banner_or_redirection():
    with plain_host("connection_handler='exec', locals={'answer': 41}") as host:
        with Plain(host.path) as client:
            client.send("answer = answer + 1\nprint('the application', answer)\nexit()\n1/0\n")
            assert client.wait_closed() == b""
        host.wait_out("^the application 42$")
        host.wait_err(r": Running: 'answer = answer \+ 1\\n'\.$")
        host.wait_err(r": Exiting exec loop\.$")
        host.wait_err(r": Cleaned up\.$")
        assert not [line for line in host.err if "1/0" in line]

        # Assignments are everybody's; the end of input ends it too, and what came before it is run.
        with Plain(host.path) as client:
            client.send("print('still', answer)")
        host.wait_out("^still 42$")


def test_exec_without_locals_shares_one_too():
    with plain_host("connection_handler='exec'") as host:
        with Plain(host.path) as client:
            client.send("kept = 1\n")
        host.wait_err(": Cleaned up")
        with Plain(host.path) as client:
            client.send("print('kept', kept)\n")
        host.wait_out("^kept 1$")


def test_exec_ends_with_what_a_line_raises():
    with plain_host("connection_handler='exec'") as host:
        with Plain(host.path) as client:
            client.send("1/0\nprint('never')\n")
            assert client.wait_closed() == b""
        host.wait_err(r": ManholeConnectionThread failure: ZeroDivisionError\('division by zero',?\)$")
        host.do("print('still here')")
        assert "never" not in host.out


def test_exec_leaves_other_consoles_streams_alone():
    """The routers are in place for a framed client's console; a line of "exec" is not its client's."""
    with plain_host("connection_handler='exec'") as host, Framed(host.path) as other:
        other.hello()
        number = other.request(OPEN, "stacks=no\nbanner=no")
        other.until(PROMPT, number)
        with Plain(host.path) as client:
            client.send("print('to the application')\nexit()\n")
            assert client.wait_closed() == b""
        host.wait_out("^to the application$")


FUNCTION = """
import signal
import socket
def h(client):
    write_raw("CALLED %s %s %s" % (type(client) is socket.socket, client.gettimeout(), client.fileno() > 2))
    client.sendall(b"name? ")
    client.sendall(b"hello " + client.recv(100))
"""


def test_function_gets_a_real_blocking_socket():
    with host_with(FUNCTION, "connection_handler=h") as host:
        host.wait_idle()
        before = host.descriptors()
        with Plain(host.path) as client:
            client.until(b"name? ")
            assert host.wait_thread(f"Manhole < PID:{os.getpid()}"[:15])
            client.send("bob\n")
            assert client.wait_closed() == b"hello bob\n"
        host.wait_out("^CALLED True None True$")
        host.wait_err(rf": Accepted connection on fd:\d+ from PID:{os.getpid()} UID:\d+ GID:\d+$")
        host.wait_err(r": DONE\.$")
        host.wait_err(r": Cleaned up\.$")
        wait_for(lambda: host.descriptors() == before, "the connection's descriptors are closed")


def test_what_a_function_raises_is_logged():
    with host_with("def h(client): raise ValueError('x')", "connection_handler=h") as host:
        with Plain(host.path) as client:
            assert client.wait_closed() == b""
        host.wait_err(r": ManholeConnectionThread failure: ValueError\('x',?\)$")
        host.do("print('still here')")


def test_exit_of_a_function_ends_the_connection_only():
    with host_with("def h(client): sys.exit(3)", "connection_handler=h") as host:
        with Plain(host.path) as client:
            assert client.wait_closed() == b""
        host.wait_err(r": Cleaned up\.$")
        host.do("print('still here')")
        assert not [line for line in host.err if "failure" in line]


def test_function_serves_plain_clients_only():
    with host_with(FUNCTION, "connection_handler=h") as host, Framed(host.path) as client:
        assert client.hello()["pid"] == host.pid
        assert client.exec("6 * 7")[0]["result"] == "42"
        assert not [line for line in host.out if "CALLED" in line]


def test_function_keeps_the_process_alive_unless_it_may_end():
    with host_with(FUNCTION, "connection_handler=h") as host, Plain(host.path) as client:
        client.until(b"name? ")
        host.process.stdin.close()
        host.wait_out("^BYE$")
        client.send("bob\n")
        assert client.wait_closed() == b"hello bob\n"
        assert host.wait() == 0
    with host_with(FUNCTION, "connection_handler=h, daemon_connection=True") as host, Plain(host.path) as client:
        client.until(b"name? ")
        assert host.finish() == 0


def test_function_may_open_a_console_on_its_socket():
    code = "def h(client):\n client.sendall(b'welcome\\n')\n manhole.handle_connection_repl(client)\n write_raw('BACK')"
    with host_with(code, "connection_handler=h, locals={'answer': 42}") as host:
        host.wait_idle()
        before = host.descriptors()
        with Plain(host.path) as client:
            client.until(b"welcome\n\n######### ProcessID=")
            client.start()
            assert client.run("answer") == "42\n"
            assert client.run("print('mine')") == "mine\n"
            client.send("while True: pass\n\n")
            client.until(b"... ")
            client.send(b"\x03")
            client.until(b"KeyboardInterrupt\n>>> ")
            client.send("exit()\n")
            assert client.wait_closed() == b""
        host.wait_out("^BACK$")
        host.wait_err(": Cleaned up")
        wait_for(lambda: host.descriptors() == before, "the connection's descriptors are closed")


def test_console_on_a_socket_of_the_applications_own():
    """In its main thread, without a manhole's socket, over a socket pair."""
    code = (
        "import socket, threading\n"
        "ours, theirs = socket.socketpair()\n"
        "def talk():\n"
        "    theirs.sendall(b'import threading; threading.current_thread().name\\nexit()\\n')\n"
        "    data = b''\n"
        "    for new in iter(lambda: theirs.recv(1000), b''): data += new\n"
        "    write_raw('GOT %r' % data.decode().splitlines()[-2:])\n"
        "t = threading.Thread(target=talk); t.start()\n"
        "manhole.handle_connection_repl(ours); t.join()\n"
        "write_raw('CLOSED %s' % ours._closed)\n"
    )
    with plain_host("thread=False") as host:
        host.do(code)
        assert """GOT [">>> 'MainThread'", '>>> ']""" in host.out
        assert "CLOSED True" in host.out
        assert host.finish() == 0


def test_replaced_handler_is_called_with_the_socket():
    code = "def mine(client):\n client.sendall(b'mine\\n')\n"
    with plain_host() as host:
        host.do(code + "own = manhole.handle_connection_repl\nmanhole.handle_connection_repl = mine")
        with Plain(host.path) as client:
            assert client.wait_closed() == b"mine\n"
        host.do("manhole.handle_connection_repl = own")
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"


def test_replaced_prompt_is_called_with_the_namespace():
    with plain_host("locals={'answer': 42}") as host:
        host.do("def mine(names): print('mine', names['answer'], input('? '))\nmanhole.handle_repl = mine")
        with Plain(host.path) as client:
            client.until(b"? ")
            client.send("yes\n")
            assert client.wait_closed() == b"mine 42 yes\n"


def test_documented_prompt_runs_on_the_streams_of_its_thread():
    with plain_host() as host:
        host.do("own = manhole.handle_repl\nmanhole.handle_repl = lambda names: own(dict(names, extra=7))")
        with Plain(host.path).start() as client:
            assert client.run("extra") == "7\n"
            assert client.run("def f():", b"... ") == ""
            client.send("    return 1\n\n")
            assert client.until(b">>> ") == b"... >>> "
            assert client.run("f()") == "1\n"
            assert "ZeroDivisionError" in client.run("1/0")
            client.send("exit()\n")
            assert client.wait_closed() == b""
        host.do("print(hasattr(sys, 'last_value'), hasattr(sys, 'ps1'))")
        assert "False False" in host.out


@pytest.mark.parametrize("connect", [Plain, Framed])
def test_replaced_credentials_refuse_everybody(connect):
    with plain_host() as host:
        host.do("own = manhole.get_peercred\nmanhole.get_peercred = lambda s: (-1, -1, -1)")
        with connect(host.path) as client:
            assert client.wait_closed() == b""
        host.wait_err(r": Started ManholeConnectionThread thread\. Checking credentials \.\.\.$")
        host.wait_err(
            r": SuspiciousClient: Can't accept client with PID:-1 UID:-1 GID:-1\. "
            rf"It doesn't match the current EUID:{os.geteuid()} or ROOT\.$"
        )
        host.do("manhole.get_peercred = own")
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"


@pytest.mark.parametrize("broken", ["lambda s: 1 / 0", "lambda s: 7", "lambda s: ('a', 'b', 'c')", "None"])
def test_a_broken_replacement_refuses(broken):
    with plain_host() as host:
        host.do(f"manhole.get_peercred = {broken}")
        with Plain(host.path) as client:
            assert client.wait_closed() == b""
        host.do("print('still here')")


def test_replaced_check_decides_about_each_client():
    with plain_host() as host:
        host.do(
            "import socket; seen = []\n"
            "def check(client):\n"
            "    seen.append((type(client) is socket.socket, manhole.get_peercred(client)))\n"
            "    if len(seen) == 1: raise manhole.SuspiciousClient('not the first')\n"
            "manhole.check_credentials = check"
        )
        host.wait_idle()
        before = host.descriptors()
        with Plain(host.path) as client:
            assert client.wait_closed() == b""
        host.wait_err(": SuspiciousClient: not the first$")
        with Plain(host.path).start() as client:
            assert client.run("2 + 2") == "4\n"
        with Framed(host.path) as client:
            assert client.hello()["pid"] == host.pid
            assert client.exec("1")[0]["result"] == "1"
        wait_for(lambda: host.descriptors() == before, "descriptors are closed")
        host.do("print(seen)")
        me = (True, (os.getpid(), os.getuid(), os.getgid()))
        assert str([me, me, me]) in host.out


def test_what_a_plain_client_typed_waits_until_the_application_has_decided():
    with plain_host() as host:
        host.do(
            "import threading; asked, go = threading.Event(), threading.Event()\n"
            "def check(client): write_raw('ASKED'); go.wait()\n"
            "manhole.check_credentials = check"
        )
        with Plain(host.path) as client:
            host.wait_out("^ASKED$")
            client.send("6 * 7\n")
            client.socket.shutdown(socket.SHUT_WR)
            host.do("go.set()")
            assert client.wait_closed().endswith(b">>> 42\n>>> \nnow exiting ManholeConsole...\n")


def test_nothing_is_written_before_the_application_has_decided():
    with plain_host() as host:
        host.do(
            "import threading; asked, go = threading.Event(), threading.Event()\n"
            "def check(client): write_raw('ASKED'); go.wait()\n"
            "manhole.check_credentials = check"
        )
        with Framed(host.path) as client:
            host.wait_out("^ASKED$")
            client.socket.settimeout(None)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1, socket.MSG_DONTWAIT)
            client.socket.settimeout(TIMEOUT)
            host.do("go.set()")
            assert client.hello()["pid"] == host.pid


def test_native_check_cannot_be_loosened():
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    with plain_host() as host:
        host.do("manhole.get_peercred = lambda s: (1, 0, 0)\nmanhole.check_credentials = lambda c: (1, 0, 0)")
        os.chmod(host.path, 0o666)
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(10); print(s.recv(100))"
        )
        result = subprocess.run(
            [sys.executable, "-c", code, host.path], capture_output=True, text=True, timeout=TIMEOUT
        )
        assert result.stdout == "b''\n", result.stderr
        host.wait_err(r"SuspiciousClient: Can't accept client with PID:\d+ UID:65534 GID:65534\. ")


def test_own_functions_are_called_by_nobody():
    """Where nothing was replaced, the check is native: no thread asks before the console's."""
    with plain_host() as host:
        host.do("manhole.check_credentials = manhole.check_credentials")
        host.do("manhole.dump_stacktraces = lambda: print('mine')")
        with Plain(host.path).start() as client:
            assert client.run("dump_stacktraces()") == "mine\n"


def test_credentials_can_be_asked():
    code = (
        "import os, socket\n"
        "a, b = socket.socketpair()\n"
        "print(manhole.get_peercred(a) == (os.getpid(), os.getuid(), os.getgid()))\n"
        "print(manhole.check_credentials(a) == manhole.get_peercred(b))\n"
        "a.close()\n"
        "try: manhole.get_peercred(a)\n"
        "except (ValueError, OSError) as e: print('refused')\n"
    )
    with plain_host("thread=False") as host:
        host.do(code)
        assert host.out[1:4] == ["True", "True", "refused"]


LOOPS = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import sleep",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import sleep",
}


def patched_host(module, options, tmp_path, before=""):
    """An application whose socket module is not the usual one any more, and which ticks."""
    if not target_has(module):
        pytest.skip(f"the application's interpreter has no {module}")
    script = tmp_path / "app.py"
    script.write_text(
        f"{LOOPS[module]}\nimport manhole, os, socket\n{before}\nmanhole.install({options})\n"
        "print('READY', flush=True)\nwhile True: sleep(0.01); print('tick', flush=True)\n"
    )
    return Host(script)


@pytest.mark.parametrize("module", LOOPS)
def test_function_gets_a_real_socket_in_a_patched_application(module, tmp_path):
    function = (
        "def h(client):\n"
        "    client.sendall(b'%d\\n' % (type(client) is socket.socket))\n"
        "    client.sendall(b'hello ' + client.recv(100))\n"
        "    manhole.handle_connection_repl(client)\n"
    )
    with patched_host(module, "connection_handler=h", tmp_path, function) as host:
        for _ in range(2):
            with Plain(host.path) as client:
                assert client.until(b"\n") == b"0\n", "the application's own kind needs its hub"
                host.wait_more_out(3)
                client.send("bob\n")
                client.until(b"hello bob\n")
                client.start()
                client.send("6 * 7\n")
                client.until(b"42\n")  # among copies of what the application prints
                host.wait_more_out(3)
            host.wait_more_out(3)
        host.wait_err(r": Cleaned up\.$")
        assert not [line for line in host.err if "failure" in line or "Traceback" in line]


@pytest.mark.parametrize("module", LOOPS)
def test_oneshot_in_a_patched_application(module, tmp_path):
    with patched_host(module, "oneshot_on='USR2'", tmp_path) as host:
        for _ in range(2):
            host.process.send_signal(signal.SIGUSR2)
            wait_for(lambda: is_listening(host.path), "the socket listens")
            with Plain(host.path).start() as client:
                assert client.run("os.readlink('/proc/thread-self')") == f"'{host.pid}/task/{host.pid}'\n"
                client.send("exit()\n")
                assert client.wait_closed() == b""
            host.wait_more_out(3)
        assert not [line for line in host.err if "failure" in line or "Traceback" in line]
