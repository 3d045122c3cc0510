# SPDX-License-Identifier: BSD-2-Clause
"""Interrupts that do not reach the code: its thread is left to finish, and the session goes on."""
import time

import pytest

from agentlib import *

LEFT = b"it did not stop the code, which is left to finish in the background\n"
ETX = b"\x03"


def has_left(host):
    return "Manhole left" in host.thread_names()


def wait_none_left(host):
    wait_for(lambda: not has_left(host), "the thread that was left ends")


def leave(host, client, line, blocks=True):
    """Types a block that blocks, interrupts it, and returns what comes up to the new prompt."""
    client.send(line + "\n\n")
    client.until(b"BLOCKS\n")
    if blocks:
        host.wait_blocked("Manhole <")
    client.send(ETX)
    return client.until(LEFT) + client.until(b">>> ")


# What is run before, the call, and what ends it.
CALLS = {
    "sleep": ("import time", "time.sleep(1.6)", "pass"),
    "lock": ("l = threading.Lock(); l.acquire()", "l.acquire()", "l.release()"),
    "recv": ("a, b = socket.socketpair()", "a.recv(1)", "b.send(b'x')"),
    "select": ("import select; a, b = socket.socketpair()", "select.select([a], [], [])", "b.send(b'x')"),
    "queue": ("import queue; q = queue.Queue()", "q.get()", "q.put(1)"),
    "read": ("r, w = os.pipe()", "os.read(r, 1)", "os.write(w, b'x')"),
    "wait": (
        "import subprocess; p = subprocess.Popen(['sleep', '1000'])",
        "os.waitpid(p.pid, 0)",
        "p.kill()",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_that_blocks_is_left_and_the_prompt_comes_from_a_new_thread(host, name):
    before, call, end = CALLS[name]
    with connect(host) as client:
        client.run("import threading")
        client.run(before)
        assert client.run("6 * 7") == "42\n"
        begun = time.monotonic()
        text = leave(host, client, f"if print('BLOCKS') is None: {call}; after = 1")
        assert 0.9 < time.monotonic() - begun < 2.5
        assert b"Traceback" not in text
        assert has_left(host)
        # The namespace is the same, and so is `_`.
        assert client.run("_") == "42\n"
        # An interrupt goes to the new thread only.
        client.send("while True: pass\n\n")
        client.until(b"... ")
        client.send(ETX)
        assert b"KeyboardInterrupt" in client.until(b">>> ")
        assert has_left(host)
        client.run(end)
        wait_none_left(host)
        # Its KeyboardInterrupt was its end, and is nobody's business.
        assert client.run("'after' in globals()") == "False\n"
    host.wait_err("Cleaned up")
    host.finish()
    assert not [line for line in host.err if "Traceback" in line]


IGNORES = (
    "while not stop:\\n"
    "    try:\\n"
    "        if not begun: begun.append(1); print('BLOCKS')\\n"
    "        time.sleep(0.02)\\n"
    "    except KeyboardInterrupt:\\n"
    "        caught.append(1)\\n"
)


def ignore(host, client, more=""):
    client.run("import time; begun = []; stop = []; caught = []")
    return leave(host, client, f'exec("{IGNORES}{more}")', blocks=False)


def test_code_that_catches_the_interrupt_and_goes_on_is_left(host):
    with connect(host) as client:
        ignore(host, client)
        assert client.run("len(caught)") == "1\n"
        client.run("stop.append(1)")
        wait_none_left(host)
        assert client.run("len(caught)") == "1\n"


def test_what_a_thread_writes_after_it_was_left_goes_to_the_application(host):
    with connect(host) as client:
        client.run("7")
        ignore(host, client, "print('WRITTEN')\\n")
        client.run("stop.append(1)", prompt=b"WRITTEN\n")  # a copy
        host.wait_out("^WRITTEN$")
        wait_none_left(host)


def test_thread_that_was_left_shows_no_value_and_reads_no_input(host):
    with connect(host) as client:
        client.run("7")
        client.run("import time; stop = []; done = []")
        for line in (
            "for i in range(10000):",
            "    try:",
            "        if i == 0: print('BLOCKS')",
            "        time.sleep(0.02)",
            # The statement is interactive: this value would be displayed.
            "        if stop: 12345; done.append(sys.stdin.readline()); break",
            "    except KeyboardInterrupt: pass",
        ):
            client.run(line, prompt=b"... ")
        client.send("\n")
        client.until(b"BLOCKS\n")
        client.send(ETX)
        client.until(LEFT)
        client.until(b">>> ")
        client.run("stop.append(1)")
        wait_none_left(host)
        assert client.run("done") == "['']\n"
        assert client.run("import builtins; hasattr(builtins, '_')") == "False\n"
    assert "12345" not in host.out


def test_exec_that_takes_no_interrupt_ends(host):
    with Framed(host.path) as client:
        client.hello()
        number = client.request(EXEC, "import threading; print('BLOCKS', end=''); threading.Lock().__enter__()\n"
                                      "l = threading.Lock(); l.acquire(); l.acquire()")
        assert client.frame() == (OUTPUT, number, b"BLOCKS")
        host.wait_blocked("Manhole <")
        client.send(INTERRUPT, number)
        end, _, stderr = client.exec_end(number)
        assert (end["reason"], end["status"], end["result"]) == ("interrupted", 1, None)
        assert end["exception"]["type"] == "KeyboardInterrupt"
        assert has_left(host)
        # The connection is free for the next one.
        assert client.exec("1 + 1")[0]["result"] == "2"


def test_framed_console_goes_on(host):
    with Framed(host.path) as client:
        client.hello()
        number = client.request(OPEN, "stacks=no\nbanner=no")
        client.until(PROMPT, number)
        client.send(INPUT, number, "l = os.pipe(); print('BLOCKS'); os.read(l[0], 1)\n")
        client.until(OUTPUT, number)
        host.wait_blocked("Manhole <")
        client.send(INTERRUPT, number)
        assert LEFT in client.until(PROMPT, number)[OUTPUT]
        client.send(INPUT, number, "os.write(l[1], b'x')\n")
        assert client.until(PROMPT, number)[OUTPUT] == b"1\n"
        wait_none_left(host)


def test_disconnect_leaves_what_blocks_and_the_process_may_end(host):
    with connect(host) as client:
        client.send("import time; print('BLOCKS'); time.sleep(1000)\n")
        client.until(b"BLOCKS\n")
    host.wait_err("Cleaned up")
    assert has_left(host)
    assert host.finish() == 0


def test_session_that_has_left_a_thread_ends_as_any(host):
    with connect(host) as client:
        leave(host, client, "if print('BLOCKS') is None: import time; time.sleep(1000)")
        client.send("exit()\n")
        client.wait_closed()
    host.wait_err("Cleaned up")
    host.do("import sys; write_raw('%s %s' % (sys.stdout is sys.__stdout__, type(sys.stdout).__name__))")
    host.wait_out("^True TextIOWrapper$")
    assert host.finish() == 0


def test_who_asks_again_and_again_is_not_put_off(host):
    with connect(host) as client:
        client.send("import time; print('BLOCKS'); time.sleep(1000)\n")
        client.until(b"BLOCKS\n")
        begun, n_threads = time.monotonic(), 0
        client.socket.settimeout(0.02)
        while LEFT not in client.buffer:
            client.send(ETX)
            n_threads = max(n_threads, len(host.thread_names()))
            try:
                client.receive()
            except TimeoutError:
                pass
            except OSError as error:
                assert "timed out" in str(error)
            assert time.monotonic() - begun < 3
        assert n_threads <= 5
        client.socket.settimeout(TIMEOUT)
        client.send("'still' + ' there'\n")
        client.until(b"'still there'\n")


def test_code_that_keeps_the_gil_is_not_left_for_that(host):
    with connect(host) as client:
        # Without bytecode: the GIL is free when the interrupt is raised, and held when time is over.
        client.run("import ctypes, time; from functools import partial")
        client.run("calls = [partial(time.sleep, 0.5), partial(ctypes.PyDLL(None).usleep, 1200000)]")
        client.send("if print('BLOCKS') is None: list(map(partial.__call__, calls)); time.sleep(0)\n\n")
        client.until(b"BLOCKS\n")
        client.send(ETX)
        text = client.until(b"KeyboardInterrupt") + client.until(b">>> ")
        assert LEFT not in text
        assert not has_left(host)


def test_threads_that_are_left_have_a_limit(host):
    with connect(host) as judge:
        judge.run("import threading; sys.gate = threading.Event()")
        clients = [connect(host) for _ in range(65)]
        for client in clients:
            client.send("print('BLOCKS'); sys.gate.wait()\n")
        for client in clients:
            client.until(b"BLOCKS\n")
        for client in clients:
            client.send(ETX)
        host.wait_err("too many threads were left")
        wait_for(lambda: host.thread_names().count("Manhole left") == 64, "the others are left")
        assert judge.run("1 + 1") == "2\n"
        judge.run("sys.gate.set()")
        for client in clients:
            client.until(b">>> ")
            assert client.run("1 + 1") == "2\n"
            client.close()
        wait_none_left(host)


def test_thread_that_was_left_may_fork(host):
    with connect(host) as client:
        ignore(host, client, "pid = os.fork()\\nif pid: status = os.waitpid(pid, 0)[1]\\n")
        client.run("stop.append(1)")
        wait_none_left(host)
        assert client.run("status") == "0\n"


def test_code_may_end_just_as_it_is_left(host):
    """Whoever is first: the code that ends, or the errand that leaves it."""
    clients = [connect(host) for _ in range(8)]
    for n, client in enumerate(clients):
        client.run("import time")
        client.send(f"print('BLOCKS'); time.sleep({0.985 + n * 0.004})\n")
        client.until(b"BLOCKS\n")
        client.send(ETX)
    for n, client in enumerate(clients):
        client.until(b"KeyboardInterrupt")
        client.until(b"\n>>> ")
        assert client.run(f"'n' + '{n}'") == f"'n{n}'\n"
        client.close()
    wait_none_left(host)


@pytest.mark.skipif(not target_has("gevent"), reason="the interpreter has no gevent")
def test_call_that_waits_in_a_hub_of_gevent_is_left():
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, manhole; manhole.install(verbose=False)\n"
        "print('READY', flush=True); gevent.sleep(1000)\n"
    )
    with Host("-c", code) as host, Plain(host.path).start() as client:
        client.run("import time")
        leave(host, client, "if print('BLOCKS') is None: time.sleep(1000)")
        assert client.run("1 + 1") == "2\n"
        assert has_left(host)


def test_thread_of_the_application_is_not_left():
    """A function of the application has called for the console: it goes on when the console is over."""
    with plain_host("connection_handler=lambda s: manhole.handle_connection_repl(s)") as host:
        with connect(host) as client:
            client.send("import time; print('BLOCKS'); time.sleep(1.3)\n")
            client.until(b"BLOCKS\n")
            client.send(ETX)
            assert LEFT not in client.until(b"KeyboardInterrupt\n") + client.until(b">>> ")
            assert client.run("1 + 1") == "2\n"
