# SPDX-License-Identifier: BSD-2-Clause
"""Children after fork: they leave their parent's socket alone, and get one of their own."""
import contextlib
import os
import signal
import threading

import pytest

from agentlib import *

# Of gcc 12 at least: a child that forks while another thread allocates waits for ever in malloc.
pytestmark = pytest.mark.skipif(
    "address" in os.environ.get("MANHOLED_SANITIZER", ""),
    reason="libasan's allocator does not survive fork() beside other threads",
)

# Waits for its standard input's end, without touching the parent's.
STAY = "r, w = os.pipe(); os.read(r, 1)"


# Before that the agent knows of a fork only what the C library says.
needs_fork_hook = pytest.mark.skipif(target_version() < (3, 7), reason="there is no os.register_at_fork() before 3.7")


def path_of(pid):
    return f"/tmp/manhole-{pid}"


def fork(host, child, call="os.fork()"):
    """Has the application fork a child that runs this code; its PID."""
    start = len(host.out)
    host.do(f"pid = {call}\nif not pid: {child}; os._exit(0)\nwrite_raw('CHILD %d' % pid)\n")
    return int(host._wait(host.out, r"^CHILD \d+$", start, TIMEOUT).split()[1])


class Child:
    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        return self.pid

    def __exit__(self, *unused):
        os.kill(self.pid, signal.SIGKILL)
        try:
            os.unlink(path_of(self.pid))
        except FileNotFoundError:
            pass


def test_child_gets_a_socket_of_its_own():
    with plain_host("reinstall_delay=0.05") as host, Child(fork(host, STAY)) as child:
        wait_for(lambda: is_listening(path_of(child)), "the child listens")
        with Plain(path_of(child)).start() as client:
            assert client.run("os.getpid()") == f"{child}\n"
        with Plain(host.path).start() as client:
            assert client.run("os.getpid()") == f"{host.pid}\n"
        with Framed(path_of(child)) as client:
            assert client.hello()["pid"] == child


@needs_fork_hook
def test_fork_is_logged():
    with plain_host("reinstall_delay=0.05") as host, Child(fork(host, STAY)) as child:
        host.wait_err(rf"^Manhole\[{host.pid}:.*: Patched <built-in function fork> and <built-in function forkpty>\.$")
        host.wait_err(rf"^Manhole\[{child}:.*: Fork detected\. Reinstalling Manhole\.$")
        host.wait_err(rf"^Manhole\[{child}:.*: Delaying UDS binding 0\.05 seconds \.\.\.$")


def test_child_of_forkpty_gets_one_too():
    with plain_host("reinstall_delay=0.05") as host:
        with Child(fork(host, STAY, "os.forkpty()[0]")) as child:
            wait_for(lambda: is_listening(path_of(child)), "the child listens")


@pytest.mark.parametrize("loader", ["PyDLL", "CDLL"])
def test_child_of_a_c_library_gets_one_too(loader):
    """Such a fork tells Python nothing: its list still has the parent's threads, and they are not here."""
    threads = (
        "import ctypes, threading\n"
        "def deep(n): return deep(n - 1) if n else threading.Event().wait()\n"
        "for n in range(8): threading.Thread(target=deep, args=(n,), daemon=True).start()\n"
    )
    with plain_host("reinstall_delay=0.05") as host:
        host.do(threads)
        with Child(fork(host, STAY, f"ctypes.{loader}(None).fork()")) as child:
            wait_for(lambda: is_listening(path_of(child)), "the child listens")
            for _ in range(3):
                with Plain(path_of(child)) as client:
                    text = client.until(BANNER_END)
                    assert b"in <module>\n" in text and b"in deep\n" not in text
                    client.until(b">>> ")
                    assert client.run("os.getpid()") == f"{child}\n"
                    assert "in <module>\n" in client.run("dump_stacktraces()")
            with Framed(path_of(child)) as client:
                assert client.hello()["pid"] == child
                answer = client.ask(STACKS)
                assert "in <module>\n" in answer["text"] and "in deep\n" not in answer["text"]


def test_grandchild_gets_one_too():
    with plain_host("reinstall_delay=0.05") as host:
        with Child(fork(host, f"os.fork() and os.wait(); write_raw('GRAND %d' % os.getpid()); {STAY}")) as child:
            grand = int(host.wait_out(r"^GRAND \d+$").split()[1])
            with Child(grand):
                assert grand != child
                wait_for(lambda: is_listening(path_of(grand)), "the grandchild listens")


def test_child_removes_its_own_socket_and_not_its_parents():
    with plain_host("reinstall_delay=0") as host:
        wait = "while not os.path.exists('/tmp/manhole-%d' % os.getpid()): pass"
        child = fork(host, f"exec({wait!r}); sys.exit(0)")
        host.do("os.waitpid(pid, 0)")
        assert not os.path.exists(path_of(child))
        assert is_listening(host.path)


@pytest.mark.parametrize("options", ["patch_fork=False", "socket_path='{path}'", "thread=False"])
def test_child_gets_none_when_that_was_asked_for(options, tmp_path):
    path = tmp_path / "socket"
    with plain_host(options.format(path=path) + ", reinstall_delay=0") as host:
        with Child(fork(host, f"write_raw('THREADS %d' % len(os.listdir('/proc/self/task'))); {STAY}")) as child:
            host.wait_out("^THREADS 1$")
            links = [os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")]
            assert not [link for link in links if link.startswith("socket:") or "eventpoll" in link]
            assert not os.path.exists(path_of(child))
        if "path" in options:
            host.wait_err(f"Not patching os.fork and os.forkpty. Using user socket path {path}$")


def test_child_without_one_may_install_its_own():
    with plain_host("patch_fork=False") as host:
        with Child(fork(host, f"manhole.install(); write_raw('INSTALLED'); {STAY}")) as child:
            host.wait_out("^INSTALLED$")
            with Plain(path_of(child)).start() as client:
                assert client.run("os.getpid()") == f"{child}\n"


def test_child_that_has_one_counts_as_installed():
    code = (
        "exec('try: manhole.install()\\nexcept manhole.AlreadyInstalled: write_raw(\"ALREADY\")\\n"
        "manhole.install(strict=False, verbose=False); write_raw(\"AGAIN\")')"
    )
    with plain_host() as host, Child(fork(host, f"{code}; {STAY}")) as child:
        host.wait_out("^ALREADY$")
        host.wait_out("^AGAIN$")
        assert is_listening(path_of(child))


def test_child_does_not_answer_its_parents_clients():
    with plain_host("patch_fork=False") as host, Plain(host.path).start() as client:
        host.do(
            "pid = os.fork()\n"
            "if not pid: print('child prints'); sys.stdout.flush(); os._exit(0)\n"
            "os.waitpid(pid, 0)"
        )
        host.do("print('end')")
        assert b"child prints" not in client.until(b"end\n")
        assert "child prints" in host.out
        assert client.run("1 + 1") == "2\n"


def test_child_closes_its_parents_clients():
    with plain_host("patch_fork=False") as host, Plain(host.path).start() as client:
        with Child(fork(host, STAY)):
            client.send("exit()\n")
            assert client.wait_closed() == b""


@pytest.mark.parametrize("options", ["", ", preexec_fn=lambda: None", ", close_fds=False", ", user=os.getuid()"])
def test_exec_before_the_delay_leaves_no_socket(options):
    if "user" in options and target_version() < (3, 9):
        pytest.skip("subprocess has no user= before 3.9")
    with plain_host("reinstall_delay=0.1, verbose=False") as host:
        host.do("import subprocess")
        host.do("p = subprocess.Popen(['sleep', '0.3']%s); write_raw('CHILD %%d' %% p.pid); p.wait()" % options)
        child = int(host.wait_out(r"^CHILD \d+$").split()[1])
        assert not os.path.exists(path_of(child))
        assert is_listening(host.path)


def test_fork_and_exec_before_the_delay_leaves_no_socket():
    with plain_host("reinstall_delay=0.1") as host:
        child = fork(host, "os.execv('/bin/sleep', ['sleep', '0.3'])")
        host.do("os.waitpid(pid, 0)")
        assert not os.path.exists(path_of(child))


@needs_fork_hook
def test_multiprocessing_children_have_sockets_and_remove_them():
    code = (
        "import manhole, multiprocessing, os, sys, time\n"
        "manhole.install(verbose=False, reinstall_delay=0)\n"
        "def work():\n"
        "    path = '/tmp/manhole-%d' % os.getpid()\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    os.write(1, (path + '\\n').encode())\n"
        "child = multiprocessing.get_context('fork').Process(target=work); child.start(); child.join()\n"
        "print('READY', child.exitcode, flush=True); sys.stdin.readline()\n"
    )
    with Host("-c", code, ready="READY 0") as host:
        path = host.wait_out("^/tmp/manhole-")
        assert path != host.path and not os.path.exists(path)
        assert is_listening(host.path)


def test_fork_while_a_console_runs_code_in_another_thread():
    with plain_host("reinstall_delay=0.05") as host, Plain(host.path).start() as client:
        client.send("exec('print(\"go\")\\nwhile True: pass')\n")
        client.until(b"go\n")
        with Child(fork(host, STAY)) as child:
            wait_for(lambda: is_listening(path_of(child)), "the child listens")
            with Plain(path_of(child)).start() as other:
                assert other.run("os.getpid()") == f"{child}\n"
        client.send(b"\x03")
        client.until(b"KeyboardInterrupt\n")


def test_children_forked_while_clients_come_run_on():
    """Up to 3.11 a thread state made during a fork left the child waiting for a lock for good."""
    storm = "for _ in range(1500):\n    pid = os.fork()\n    if not pid: os._exit(0)\n    os.waitpid(pid, 0)\n"
    over = threading.Event()

    def come_and_go():
        while not over.is_set():
            with contextlib.suppress(OSError), Plain(host.path) as client:
                client.send("exit()\n")
                client.wait_closed()

    with plain_host() as host:
        clients = [threading.Thread(target=come_and_go) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            host.do(storm)
        finally:
            over.set()
            for client in clients:
                client.join(TIMEOUT)


def test_gunicorn_workers_are_reached(tmp_path):
    if not target_has("gunicorn"):
        pytest.skip("the application's interpreter has no gunicorn")
    (tmp_path / "app.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'OK']\n"
    )
    with Host("-m", "gunicorn", "--workers", "2", "--bind", f"unix:{tmp_path}/http", "app:application",
              ready=None, cwd=tmp_path, env=environment(PYTHONMANHOLE="reinstall_delay=0.1")) as host:
        workers = wait_for(lambda: len(w := children(host.pid)) == 2 and w, "two workers")
        for worker in workers:
            wait_for(lambda: is_listening(path_of(worker)), "the worker listens")
            with Framed(path_of(worker)) as client:
                assert client.hello()["pid"] == worker
                end, out, err = client.exec("import sys; print(os.getpid()); 'gunicorn.workers.sync' in sys.modules")
                assert (end["result"], out) == ("True", f"{worker}\n")
        host.process.send_signal(signal.SIGTERM)
        assert host.wait() == 0
        assert not [w for w in workers if os.path.exists(path_of(w))]


def children(pid):
    text = open(f"/proc/{pid}/task/{pid}/children").read()
    return [int(word) for word in text.split()]
