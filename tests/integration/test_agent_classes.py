# SPDX-License-Identifier: BSD-2-Clause
"""The documented classes, and the names that applications' own tests look at."""
import os
import re
import signal
import subprocess

import pytest

from agentlib import *

pytestmark = pytest.mark.skipif(target_version() < (3, 7), reason="3.6 has no names that come when they are asked for")


def run(code, env=None):
    result = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=TIMEOUT,
                            env=env or environment())
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def test_logger_wants_an_installation():
    out, err = run(
        "import time, manhole\n"
        "for log in manhole._LOG, manhole.Logger():\n"
        "    try: log('never')\n"
        "    except manhole.NotInstalled: pass\n"
        "    else: raise SystemExit('not refused')\n"
        "assert isinstance(manhole._LOG, manhole.Logger) and abs(manhole._LOG.time() - time.time()) < 60\n"
        "try: manhole.install(strict=3, activate_on='NOPE')\n"
        "except ValueError: pass\n"
        "try: manhole._LOG('never')\n"
        "except manhole.NotInstalled: print('refused')\n"
        "manhole.install(thread=False)\n"
        "manhole._LOG('100 %'); manhole._LOG('%s %d', 'caf\\xe9', 2); manhole._LOG(7)\n"
    )
    assert out == "refused\n"
    assert re.fullmatch(r"(Manhole\[\d+:\d+\.\d{4}\]: (100 %|caf 2|7)\n){3}", err), err
    out, err = run("import manhole; manhole.install(); manhole._LOG('quiet')", environment(MANHOLE_DISABLE=1))
    assert err == ""


def test_what_is_installed_can_be_looked_at():
    with plain_host("locals={'answer': 42}") as host:
        host.do("print(manhole._MANHOLE is handle, manhole._MANHOLE.locals, isinstance(handle, manhole.Manhole))")
        assert "True {'answer': 42} True" in host.out
        host.do(
            "import ctypes\n"
            "thread = manhole._MANHOLE.thread; name = ctypes.create_string_buffer(16)\n"
            "ctypes.CDLL(None).pthread_getname_np(ctypes.c_ulong(thread.ident), name, 16)\n"
            "print('THREAD', name.value.decode(), thread.native_id, thread.is_alive(), thread.daemon, thread.name)"
        )
        assert f"THREAD Manhole {host.wait_thread('Manhole')} True True Manhole" in host.out
        host.do("handle.release(); print(thread.ident, thread.is_alive(), thread)")
        assert "None False <ManholeThread(Manhole, initial daemon)>" in host.out
        host.do("second = manhole.install(strict=False); print(manhole._MANHOLE is second, thread.is_alive())")
        assert "True True" in host.out


def test_nothing_is_installed_at_first():
    out, _ = run("import manhole; print(manhole._MANHOLE, manhole._MANHOLE)")
    assert out == "None None\n"


def test_every_documented_name_is_there():
    out, _ = run(
        "import manhole\n"
        "names = '''ALL_SIGNALS Logger ManholeThread ManholeConnectionThread check_credentials get_peercred\n"
        "dump_stacktraces handle_connection_exec handle_connection_repl handle_repl install AlreadyInstalled\n"
        "NotInstalled ConfigurationConflict SuspiciousClient'''.split()\n"
        "assert set(names) < set(manhole.__all__), set(names) - set(manhole.__all__)\n"
        "for name in names: assert getattr(manhole, name).__doc__, name\n"
        "for name in names[-4:]: assert issubclass(getattr(manhole, name), Exception)\n"
        "exec('from manhole import *'); print(ManholeThread is manhole.ManholeThread)\n"
        "try: manhole.nothing\n"
        "except AttributeError as e: print(e)\n"
    )
    assert out == "True\nmodule 'manhole' has no attribute 'nothing'\n"


@pytest.mark.parametrize("name", ["handle_connection_repl", "handle_connection_exec"])
def test_handlers_want_an_installation(name):
    for disable in None, 1:
        out, _ = run(
            "import manhole, socket; a, b = socket.socketpair(); b.sendall(b'1\\n')\n"
            f"if {disable}: manhole.install()\n"
            f"try: manhole.{name}(a)\n"
            "except manhole.NotInstalled as e: print(e)",
            environment(MANHOLE_DISABLE=disable),
        )
        assert out == "Manhole is not installed!\n"


THREAD = """
import signal, socket, threading
def listen():
    write_raw("LISTEN %s" % threading.current_thread().name)
    s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen()
    return s
"""


def own_thread(host, tmp_path, arguments):
    host.do(f"path = {str(tmp_path / 's')!r}")
    host.do(THREAD)
    host.do(f"own = manhole.ManholeThread(listen, {arguments}); own.start()")
    wait_for(lambda: is_listening(tmp_path / "s"), "the socket listens")
    return tmp_path / "s"


def test_thread_serves_a_socket_of_the_applications_own(tmp_path):
    with plain_host("thread=False, locals={'answer': 42}") as host:
        path = own_thread(host, tmp_path, "[signal.SIGUSR1, signal.SIGSEGV], 5, 'repl'")
        host.wait_out("^LISTEN Manhole$")
        host.wait_err(rf": Waiting for new connection \(in pid:{host.pid}\) \.\.\.$")
        tid = host.wait_thread("Manhole")
        status = open(f"/proc/{host.pid}/task/{tid}/status").read()
        assert int(re.search(r"SigBlk:\s*([0-9a-f]+)", status).group(1), 16) == 1 << signal.SIGUSR1 - 1
        host.do("print('DAEMON', own.daemon, own.is_alive())")
        assert "DAEMON True True" in host.out
        with Plain(path).start() as one, Plain(path).start() as two:
            assert one.run("answer") == two.run("answer") == "42\n"
            name = "import threading; threading.current_thread().name, threading.current_thread().daemon"
            assert one.run(name) == "('ManholeConnectionThread', False)\n"
            assert one.run("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [])") == "set()\n"
            host.wait_thread(f"Manhole < PID:{os.getpid()}"[:15])
            one.send("exit()\n")
            assert one.wait_closed() == b""
        for line in ("Started ManholeConnectionThread thread. Checking credentials ...", "DONE.", "Cleaned up."):
            host.wait_err(f": {re.escape(line)}$")
        host.wait_err(rf": Accepted connection on fd:\d+ from PID:{os.getpid()} UID:\d+ GID:\d+$")


def test_clone_is_fresh_and_has_the_options(tmp_path):
    with plain_host("thread=False") as host:
        path = own_thread(host, tmp_path, "None, 5, 'exec', bind_delay=0.01, daemon_connection=True")
        host.wait_err(r": Delaying UDS binding 0\.01 seconds \.\.\.$")
        with Plain(path) as client:
            client.send("import threading; print('EXEC', threading.current_thread().daemon)\nexit()\n")
            assert client.wait_closed() == b""
        host.wait_out("^EXEC True$")
        host.do(
            "path += '2'\n"
            "def handler(client): client.sendall(b'handler %r' % signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
            "other = own.clone(connection_handler=handler, sigmask=[signal.SIGUSR1]); print(type(other) is type(own), other.is_alive())\n"
            "other.start()"
        )
        assert "True False" in host.out
        path = tmp_path / "s2"
        wait_for(lambda: is_listening(path), "the socket listens")
        with Plain(path) as client:
            assert client.wait_closed() == b"handler set()", "it runs with the application's mask"


def test_connection_thread_checks_and_serves():
    code = (
        "import socket\n"
        "def talk(handler):\n"
        "    ours, theirs = socket.socketpair()\n"
        "    t = manhole.ManholeConnectionThread(ours, handler); assert not t.daemon\n"
        "    t.start(); t.join(); theirs.settimeout(10)\n"
        "    return theirs.recv(100)\n"
        "write_raw('GOT %r' % talk(lambda c: c.sendall(b'served')))\n"
        "write_raw('GOT %r' % talk(lambda c: 1/0))\n"
        "manhole.get_peercred = lambda s: (-1, -1, -1)\n"
        "write_raw('GOT %r' % talk(lambda c: c.sendall(b'served')))\n"
    )
    with plain_host("thread=False") as host:
        host.do(code)
        assert [line for line in host.out if line.startswith("GOT")] == ["GOT b'served'", "GOT b''", "GOT b''"]
        host.wait_err(r": ManholeConnectionThread failure: ZeroDivisionError\('division by zero'\)$")
        host.wait_err(": SuspiciousClient: Can't accept client with PID:-1 UID:-1 GID:-1")
    assert "daemon" in repr(run(
        "import manhole, socket; print(manhole.ManholeConnectionThread(socket.socket(), 'repl', True))"
    ))


def test_replacements_cannot_loosen_the_check_of_our_own():
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    code = (
        "import os, socket, sys, threading\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, 0o666); s.listen()\n"
        "manhole.get_peercred = lambda s: (1, 0, 0)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os.setuid(65534); c = socket.socket(socket.AF_UNIX); c.connect(path); c.recv(1); os._exit(0)\n"
        "client = s.accept()[0]\n"
        "try: manhole.check_credentials(client)\n"
        "except manhole.SuspiciousClient as e: write_raw('REFUSED %s' % e)\n"
        "client.close(); os.waitpid(pid, 0); os.unlink(path)\n"
    )
    with plain_host("thread=False") as host:
        host.do(f"path = '/tmp/manhole-test-{host.pid}'")
        host.do(code)
        host.wait_out("^REFUSED .*UID:65534")
