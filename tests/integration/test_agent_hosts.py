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


@pytest.mark.parametrize("module, arguments", [
    ("asyncio", ["asyncio_loop.py"]),
    ("gevent", ["green_loop.py", "gevent", "before"]), ("gevent", ["green_loop.py", "gevent", "after"]),
    ("eventlet", ["green_loop.py", "eventlet", "before"]), ("eventlet", ["green_loop.py", "eventlet", "after"]),
], ids=lambda value: "-".join(value[1:]) if isinstance(value, list) else value)
def test_event_loops_go_on(module, arguments):
    if not target_has(module):
        pytest.skip(f"the application's interpreter has no {module}")
    with Host(HOSTS / arguments[0], *arguments[1:]) as host:
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


def test_gevent_and_eventlet_are_looked_at_only_where_the_application_has_them():
    loaded = "[m for m in sys.modules if m.startswith(('gevent', 'eventlet', 'greenlet'))]"
    with plain_host() as host, Plain(host.path).start() as client:
        assert client.run(loaded) == "[]\n"
        client.send("exit()\n")
        client.wait_closed()
        host.do(f"write_raw('LOADED %s' % {loaded})")
        host.wait_out(r"^LOADED \[\]$")


@pytest.mark.parametrize("arguments", [[], ["signalfd"]], ids=["handler", "signalfd"])
def test_signals_reach_the_application_and_not_the_agent(arguments):
    with Host(HOSTS / "signals.py", *arguments) as host, Plain(host.path).start() as client:
        for _ in range(20):
            start = len(host.out)
            host.process.send_signal(signal.SIGUSR1)
            host._wait(host.out, f"^SIGNAL {signal.SIGUSR1:d}$", start, TIMEOUT)
        assert client.run("6 * 7") == "42\n"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_workers_are_reached(method, tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        "import multiprocessing, os, signal, sys\n"
        "def work(): os.write(1, b'WORKER %d\\n' % os.getpid()); signal.pause()\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context(sys.argv[1]).Process(target=work)\n"
        "    child.start(); os.write(1, b'READY\\n'); sys.stdin.readline(); child.terminate(); child.join()\n"
    )
    # A child of spawn, and the server, know of the agent by the environment.
    with Host(script, method, env=environment(PYTHONMANHOLE="reinstall_delay=0.05, verbose=False")) as host:
        worker = int(host.wait_out(r"^WORKER \d+$").split()[1])
        path = pathlib.Path(f"/tmp/manhole-{worker}")
        wait_for(lambda: is_listening(path), "the worker listens")
        with Framed(path) as client:
            assert client.hello()["pid"] == worker
            assert client.exec("print(os.getpid())")[1] == f"{worker}\n"
        with Plain(host.path).start() as client:
            assert client.run("os.getpid()") == f"{host.pid}\n"
        assert host.finish() == 0
        path.unlink()  # SIGTERM has ended it


def test_application_in_a_subinterpreter_shows_its_main_one():
    if target_version() < (3, 8):
        pytest.skip("there is no module for subinterpreters before 3.8")
    with Host(HOSTS / "subinterpreter.py") as host:
        host.wait_out("^INSIDE$")
        for _ in range(3):
            with Plain(host.path).start() as client:
                assert client.run("'interpreters' in vars(sys.modules['__main__'])") == "True\n"
                client.send("exit()\n")
                client.wait_closed()
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        host.wait_out("^BYE$")
        assert host.finish() == 0


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
