# SPDX-License-Identifier: BSD-2-Clause
"""Applications that never import threading: a console does, and the main thread stays what it is."""
from agentlib import *

HOST = """
import os, sys
import manhole
manhole.install(verbose=False)
def write_raw(text):
    os.write(1, (text + "\\n").encode())
write_raw("READY")
for line in sys.stdin:
    exec(line)
"""
# What is true of the main thread, wherever it is asked.
TRUTH = (
    "(lambda t, m: [m.ident == main, getattr(m, 'native_id', pid) == pid, m.name, m.is_alive(), "
    "list(t._active.values()).count(m)])(threading, threading.main_thread())"
)


def bare_host(setup=""):
    # -S: site, or a .pth file of somebody's, may import it.
    return Host("-c", setup + HOST, flags=("-S",))


def tell(host, client):
    client.run("import _thread, os; pid = os.getpid()")
    host.do("import _thread, builtins; builtins.main = _thread.get_ident()")


def test_main_thread_is_the_main_thread_in_a_console():
    with bare_host() as host, connect(host) as client:
        tell(host, client)
        client.run("import threading")
        assert client.run(TRUTH) == "[True, True, 'MainThread', True, 1]\n"
        assert client.run("threading.current_thread() is threading.main_thread()") == "False\n"


def test_main_thread_knows_itself_after_a_console():
    with bare_host() as host:
        with connect(host) as client:
            client.send("raise SystemExit\n")
            client.wait_closed()
        host.do("import threading; write_raw('SAME ' + str(threading.current_thread() is threading.main_thread()))")
        assert host.wait_out("^SAME ") == "SAME True"
        host.do("write_raw('THREADS ' + str(len(threading.enumerate())))")
        assert host.wait_out("^THREADS ") == "THREADS 1"
        assert host.finish() == 0
        assert host.err == []


def test_who_joins_the_main_thread_waits_for_its_end():
    with bare_host() as host:
        with connect(host) as client:
            client.run("import os, threading")
            client.run("joins = lambda: (threading.main_thread().join(), os.write(1, b'JOINED\\n'))")
            # A thread of a console is a daemon, unless it is told not to be.
            client.run("t = threading.Thread(target=joins, daemon=False); t.start()")
            client.send("raise SystemExit\n")
            client.wait_closed()
        host.do("write_raw('ALIVE')")
        assert "JOINED" not in host.out
        assert host.finish() == 0
        host.wait_out("^JOINED$")
        assert host.err == []


def test_open_console_keeps_the_process_alive():
    with bare_host() as host, connect(host) as client:
        host.do("import atexit; atexit.register(write_raw, 'ATEXIT')")
        host.process.stdin.close()
        assert client.run("1 + 1") == "2\n"
        assert "ATEXIT" not in host.out
        client.send("raise SystemExit\n")
        client.wait_closed()
        assert host.wait() == 0
        assert host.err == []


def test_what_a_console_imports_when_it_can_again_is_put_right():
    with bare_host() as host:
        host.do("sys.modules['threading'] = None")
        with connect(host) as client:
            tell(host, client)
            client.run("import sys; del sys.modules['threading']; import threading")
            assert client.run(TRUTH) == "[True, True, 'MainThread', True, 1]\n"
        assert host.finish() == 0
        assert host.err == []


def test_child_after_fork_has_a_main_thread_of_its_own():
    with bare_host() as host:
        host.do("import _thread, builtins")
        host.do(
            "r, w = os.pipe(); pid = os.fork()\n"
            "if pid == 0: os.close(w); os.write(1, b'CHILD %d\\n' % os.getpid()); builtins.main = _thread.get_ident(); "
            "os.read(r, 1); import threading; t = threading.main_thread(); "
            "os.write(1, b'SAME %d\\n' % (t is threading.current_thread())); os._exit(0)"
        )
        child = int(host.wait_out("^CHILD ").split()[1])
        path = f"/tmp/manhole-{child}"
        wait_for(lambda: is_listening(path), "the child's socket")
        with Plain(path).start() as client:
            client.run("import threading, os; pid = os.getpid()")
            assert client.run(TRUTH) == "[True, True, 'MainThread', True, 1]\n"
        host.do("os.close(w)")
        assert host.wait_out("^SAME ") == "SAME 1"
