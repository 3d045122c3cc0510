# SPDX-License-Identifier: BSD-2-Clause
"""Applications of every shape, with consoles in them."""
import pytest

from agentlib import *


def tick(host):
    """The application goes on."""
    host.wait_more_out(3)


def session(host):
    with Plain(host.path).start() as client:
        client.send("print('re' + 'sult')\n")
        client.until(b"result\n")
        client.send("import time, threading, queue; time.sleep(0.01)\n")
        client.send("q = queue.Queue(); q.put(1); print('got', q.get())\n")
        client.until(b"got 1\n")
        client.send("lock = threading.Lock(); lock.acquire(); print('lo' + 'cked')\n")
        client.until(b"locked\n")
        client.send("exit()\n")
        client.wait_closed()


@pytest.mark.parametrize("module, name", [
    ("asyncio", "asyncio_loop.py"), ("gevent", "gevent_loop.py"), ("eventlet", "eventlet_loop.py"),
])
def test_event_loops_go_on(module, name):
    if not target_has(module):
        pytest.skip(f"the application's interpreter has no {module}")
    with Host(HOSTS / name) as host:
        tick(host)
        session(host)
        tick(host)
        # The first session's imports and hubs are there now: more sessions leave nothing behind.
        wait_for(lambda: len(host.thread_names()) <= 2, "the thread ends")
        before = host.descriptors()
        for _ in range(3):
            session(host)
        wait_for(lambda: len(host.thread_names()) <= 2, "the threads end")
        wait_for(lambda: host.descriptors() <= before, "the descriptors are closed")
        tick(host)
        with Framed(host.path) as client:
            client.hello()
            number = client.request(EXEC, "print('go', end='')\nwhile True: pass")
            assert client.frame()[2] == b"go"
            client.send(INTERRUPT, number)
            assert client.exec_end(number)[0]["exception"]["type"] == "KeyboardInterrupt"
        tick(host)


@pytest.mark.parametrize("module, patch", [
    ("gevent", "from gevent import monkey; monkey.patch_all()"),
    ("eventlet", "import eventlet; eventlet.monkey_patch()"),
])
def test_patched_applications_end_cleanly_after_a_session(module, patch, tmp_path):
    if not target_has(module):
        pytest.skip(f"the application's interpreter has no {module}")
    script = tmp_path / "app.py"
    script.write_text(
        f"{patch}\nimport manhole, os, sys, time\nmanhole.install(verbose=False)\n"
        "print('READY', flush=True)\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "print('BYE', flush=True)\n"
    )
    with Host(script, tmp_path / "stop") as host:
        with Plain(host.path).start() as client:
            (tmp_path / "stop").touch()
            host.wait_out("^BYE$")
            client.send("print(6 * 7)\n")
            client.until(b"42\n")
            client.send("exit()\n")
            client.wait_closed()
        assert host.wait() == 0
        assert "Traceback" not in "\n".join(host.err), host.err
        assert not os.path.exists(host.path)


def test_logging_threads_never_wait_for_a_stalled_client():
    with Host(HOSTS / "threads.py") as host:
        stalled = Plain(host.path).start()
        # Holds logging's lock while it writes to a client that does not read.
        stalled.send("import logging; logging.getLogger().error('x' * 3_000_000)\n")
        with Plain(host.path).start() as client:
            host.wait_more_out(20)
            client.send("print('re' + 'sult')\n")
            client.until(b"result\n")
        stalled.close()
        host.wait_more_out(20)
        host.process.stdin.close()
        host.wait_out("^BYE$")
        assert host.wait() == 0


def test_stacks_show_every_thread():
    with Host(HOSTS / "threads.py") as host:
        for n in range(3):
            host.wait_out(f"^worker-{n} ")
        client = Plain(host.path)
        text = client.until(BANNER_END).decode()
        assert text.count("######### ProcessID=") == 4
        assert text.count("in work") == 3


def test_application_that_never_yields_is_answered():
    code = "import manhole; manhole.install(verbose=False); print('READY', flush=True)\nwhile True: pass"
    with Host("-c", code) as host, Plain(host.path).start() as client:
        assert client.run("6 * 7") == "42\n"


def test_application_that_dies_mid_session():
    code = (
        "import manhole, os, sys; manhole.install(verbose=False); print('READY', flush=True)\n"
        "sys.stdin.readline(); os.abort()"
    )
    with Host("-c", code) as host, Plain(host.path).start() as client:
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        client.wait_closed()
        assert host.wait() == -6


def test_multiprocessing_children_leave_the_socket_alone():
    code = (
        "import manhole, multiprocessing, sys\n"
        "manhole.install(verbose=False)\n"
        "print('READY', flush=True)\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]), flush=True)\n"
        "print('POOL', flush=True)\nsys.stdin.readline()\n"
    )
    with Host("-c", code) as host:
        host.wait_out("^POOL$")
        assert r"[1, 2]" in host.out
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"


def test_exec_of_another_program_leaves_no_descriptor():
    with plain_host() as host, Plain(host.path).start():
        host.do("import subprocess; print(subprocess.run(['ls', '-l', '/proc/self/fd'], "
                "stdout=subprocess.PIPE, close_fds=False).stdout.decode())")
        assert not [line for line in host.out if "socket:" in line or "eventpoll" in line or "eventfd" in line]


def test_console_survives_the_application_closing_its_streams():
    with plain_host() as host, Plain(host.path).start() as client:
        host.do("import io; sys.stderr = None; sys.stdout.flush()")
        assert client.run("print('fine')") == "fine\n"
        assert client.run("1/0").endswith("ZeroDivisionError: division by zero\n")


def test_application_without_streams():
    code = (
        "import os, sys; out = os.dup(1); sys.stdin = sys.stdout = sys.stderr = None\n"
        "import manhole; manhole.install(verbose=False); os.write(out, b'READY\\n')\n"
        "sys.__stdin__.readline(); print('copied'); os.write(out, b'PRINTED\\n'); sys.__stdin__.read()\n"
    )
    with Host("-c", code) as host, Plain(host.path).start() as client:
        assert client.run("print('fine')") == "fine\n"
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        host.wait_out("^PRINTED$")
        client.until(b"copied\n")
        host.process.stdin.close()
        client.send("exit()\n")
        client.wait_closed()
        assert host.wait() == 0
