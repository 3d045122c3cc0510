# SPDX-License-Identifier: BSD-2-Clause
"""The application always wins: what a console does, or how it ends, never harms it."""
import os
import pathlib
import shutil
import subprocess

import pytest

from agentlib import *


def leave(host, client):
    """Ends a session, and waits until its thread has put everything back."""
    start = len(host.err)
    client.send("exit()\n")
    client.wait_closed()
    host.wait_err("Cleaned up", start)


def result_of(host, code):
    """What code of the application's main thread evaluates to, or the exception it gets."""
    start = len(host.out)
    host.do(f"try: result = repr(({code}))\nexcept BaseException as e: result = type(e).__name__\nwrite_raw('= ' + result)")
    return host._wait(host.out, "^= ", start, TIMEOUT)[2:]


def test_functions_given_to_the_application_work_when_the_session_is_over(host):
    with connect(host) as client:
        client.run("helper = 5")
        client.run("sys.given = lambda: os.getpid() + helper")
        leave(host, client)
    assert result_of(host, "sys.given()") == str(host.pid + 5)
    with Framed(host.path) as client:
        client.hello()
        client.exec("import sys\nhelper = 6\nsys.given = lambda: helper")
    assert result_of(host, "sys.given()") == "6"


def test_objects_that_nobody_else_has_go_with_the_session(host):
    with connect(host) as client:
        client.run("import weakref; Thing = type('Thing', (), {}); thing = Thing(); thing")
        client.run("weakref.finalize(thing, os.write, 1, b'GONE\\n') and None")
        leave(host, client)
    host.wait_out("^GONE$")


def test_next_line_of_stdin_is_the_applications(host):
    with connect(host):
        host.process.stdin.write(b"got = next(sys.stdin)\nof the application\n")
        assert result_of(host, "got") == r"'of the application\n'"


@pytest.mark.parametrize("place", ["stdout", "stderr", "displayhook"])
def test_what_the_application_wraps_during_a_session_does_not_call_itself(host, place):
    host.do(
        "class Tee:\n"
        "    def __init__(self, inner): self.inner, self.seen = inner, []\n"
        "    def write(self, text): self.seen.append(text); return self.inner.write(text)\n"
        "    def flush(self): self.inner.flush()\n"
        "    def __call__(self, value): self.seen.append(value); self.inner(value)\n"
    )
    use = "sys.displayhook('text')" if place == "displayhook" else f"print('text', file=sys.{place})"
    with connect(host) as client:
        host.do(f"sys.{place} = tee = Tee(sys.{place})")
        leave(host, client)
    for _ in range(2):
        host.do("del tee.seen[:]")
        with connect(host) as client:
            assert result_of(host, use) == "None"
            leave(host, client)
        assert result_of(host, "tee.seen") == ("['text']" if place == "displayhook" else r"['text', '\n']")
        assert result_of(host, f"sys.{place} is tee") == "True"


def test_stream_that_was_kept_goes_to_the_stream_it_stood_for(host):
    with connect(host) as client:
        host.do("import io; kept, first = sys.stdout, io.StringIO()")
        leave(host, client)
    host.do("before, sys.stdout = sys.stdout, first")
    with connect(host) as client:
        host.do("kept.write('to the original\\n'); kept.flush()")
        leave(host, client)
    host.wait_out("^to the original$")
    assert result_of(host, "sys.stdout is first, first.getvalue()") == "(True, '')"


def test_stream_that_was_put_back_is_taken_out_again(host):
    with connect(host) as client:
        host.do("before, sys.stdout = sys.stdout, None")
        leave(host, client)
    host.do("sys.stdout = before")
    with connect(host) as client:
        host.do("print('copied')")
        client.until(b"copied\n")
        leave(host, client)
    assert result_of(host, "type(sys.stdout).__name__") == "'TextIOWrapper'"


def test_streams_may_be_referred_to_weakly(host):
    with connect(host):
        assert result_of(host, "__import__('weakref').ref(sys.stdout)() is sys.stdout") == "True"


def test_installations_of_two_threads_come_one_after_the_other(tmp_path):
    with plain_host("locals={}") as host:
        host.do(
            "import threading\n"
            "freed, done = threading.Event(), threading.Event()\n"
            "class Last:\n"
            "    def __del__(self): freed.set(); done.wait(20)\n"
            f"def other(): freed.wait(20); manhole.install(strict=False, socket_path='{tmp_path}/b'); done.set()\n"
            "manhole.install(strict=False, locals={'last': Last()})\n"
            "thread = threading.Thread(target=other); thread.start()\n"
        )
        host.do(f"manhole.install(strict=False, socket_path='{tmp_path}/c')")
        host.do("thread.join()")
        assert [is_listening(path) for path in (host.path, tmp_path / "b", tmp_path / "c")] == [False, True, False]


def test_locals_may_be_replaced_while_a_console_begins(tmp_path):
    """Its first imports let another thread in."""
    (tmp_path / "hook.py").write_text(
        "import os, sys, threading\n"
        "begun, go_on = threading.Event(), threading.Event()\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'socket' and not begun.is_set(): begun.set(); go_on.wait(20)\n"
        "sys.modules.pop('socket', None); sys.meta_path.insert(0, Finder())\n"
    )
    with plain_host("locals={'a': 1}") as host:
        host.do(f"sys.path.insert(0, {str(tmp_path)!r}); import hook")
        with Plain(host.path) as client:
            host.do("hook.begun.wait(20)")
            host.do("manhole.install(strict=False, locals={'b': 2})")
            host.do("others = [{str(i): i} for i in range(1000)]; hook.go_on.set()")
            client.until(BANNER_END)
            client.until(b">>> ")
            assert client.run("sorted(set(globals()) & {'a', 'b'})") == "['a']\n"


# Lets a thread of the agent sleep just before it asks for the GIL.
SLOW_THREAD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

int prctl(int option, ...) {
        int (*next)(int, ...) = (int (*)(int, ...))dlsym(RTLD_NEXT, "prctl");
        va_list arguments;
        const char *name;
        int r;

        va_start(arguments, option);
        name = va_arg(arguments, const char *);
        va_end(arguments);
        r = next(option, name);
        if (strncmp(name, "Manhole <", 9) == 0)
                usleep(700000);
        return r;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.skipif(os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"), reason="something else is preloaded")
def test_thread_that_starts_while_the_interpreter_ends_is_not_let_in(tmp_path):
    (tmp_path / "slow.c").write_text(SLOW_THREAD)
    slow = tmp_path / "slow.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", slow, tmp_path / "slow.c", "-ldl"], check=True)
    code = (
        "import ctypes, manhole, sys\n"
        "manhole.install(daemon_connection=True)\n"
        "print('READY', flush=True); sys.stdin.readline()\n"
        # As destructors of C++ libraries do: the process lives on without its interpreter.
        "libc = ctypes.CDLL(None); libc.on_exit(ctypes.cast(libc.sleep, ctypes.c_void_p), None); sys.exit(1)\n"
    )
    with Host("-c", code, env=environment(LD_PRELOAD=slow)) as host:
        with Plain(host.path) as client:
            host.wait_thread(f"Manhole < PID:{os.getpid()}"[:15])
            host.process.stdin.close()
            assert host.wait() == 1
            assert client.wait_closed() == b""
    host.wait_err("Cleaned up")


def test_child_that_a_console_forked_removes_its_socket():
    with plain_host("reinstall_delay=0") as host, connect(host) as client:
        # The child sees the end of its input once it listens.
        line = "pid = os.fork()\\nwhile not pid and not os.path.exists('/tmp/manhole-%d' % os.getpid()): pass"
        client.run(f"exec({line!r})".replace("\\\\n", "\\n"))
        child = int(client.run("pid"))
        assert client.run("os.waitpid(pid, 0)[1]") == "0\n"
        assert not pathlib.Path(f"/tmp/manhole-{child}").exists()


def test_source_that_is_too_deep_is_an_exception(host):
    with Framed(host.path) as client:
        client.hello()
        end, out, err = client.exec("x = " + "+".join(["y"] * 100000))
        assert end["exception"]["type"] in ("RecursionError", "MemoryError")


def test_recursion_without_end_is_an_exception_whatever_the_stack_limit():
    code = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (256 * 1024, 256 * 1024))\n"
        "os.execv(sys.executable, [sys.executable, sys.argv[1]])\n"
    )
    with Host("-c", code, HOSTS / "plain.py") as host, connect(host) as client:
        client.run("exec('def f(): f()')")
        assert "RecursionError" in client.run("f()")


def test_interrupt_reaches_an_exception_that_shows_itself(host):
    lines = "class Endless(Exception):\\n    def __str__(self):\\n        print('go')\\n        while True: pass"
    with connect(host) as client:
        client.run(f'exec("{lines}")')
        client.send("raise Endless\n")
        client.until(b"go\n")
        client.send(b"\x03")
        client.until(b">>> ")
        assert client.run("1 + 1") == "2\n"
        # A session that is lost ends for the same reason.
        client.send("raise Endless\n")
        client.until(b"go\n")
    host.wait_err("Cleaned up")


def test_clients_that_come_and_go_leave_no_pile_of_threads(host):
    host.process.stdin.write(b"import ctypes; write_raw('STUCK'); ctypes.PyDLL(None).sleep(4)\n")
    host.process.stdin.flush()
    host.wait_out("^STUCK$")
    tasks = f"/proc/{host.pid}/task"
    for _ in range(2000):
        with Plain(host.path):
            pass
        if len(os.listdir(tasks)) == 2 + 256:
            break
    with Framed(host.path) as client:
        client.hello()
        assert client.ask(OPEN)["error"] == "resources"
        assert len(os.listdir(tasks)) == 2 + 256
    host.do("write_raw('FREE')")
    wait_for(lambda: len(host.threads()) <= 2, "the threads end")
    with connect(host) as client:
        assert client.run("1 + 1") == "2\n"
