# SPDX-License-Identifier: BSD-2-Clause
"""Signals: a manhole that one opens (activate_on, oneshot_on), and handle_oneshot() called directly."""
import os
import re
import signal
import threading

import pytest

from agentlib import *

CURRENT = "import threading; threading.current_thread() is threading.main_thread()"


def opened(host):
    return wait_for(lambda: is_listening(host.path), "the socket listens")


@pytest.mark.parametrize("name, number", [
    ("'USR1'", signal.SIGUSR1), ("'SIGUSR2'", signal.SIGUSR2), ("10", 10), ("signal.SIGHUP", signal.SIGHUP),
])
def test_activation_opens_the_socket_for_good(name, number):
    with plain_host("thread=False, verbose=False") as host:
        host.do(f"import signal; handle = manhole.install(strict=False, activate_on={name})")
        host.wait_err(rf": Not patching os\.fork and os\.forkpty\. Activation is done by signal {int(number)}$")
        assert not os.path.exists(host.path) and "Manhole" not in host.thread_names()
        host.process.send_signal(number)
        host.wait_err(rf": Manhole UDS path: {host.path}$")
        host.wait_err(rf": Waiting for new connection \(in pid:{host.pid}\) \.\.\.$")
        for _ in range(2):
            with Plain(host.path).start() as client:
                assert client.run("6 * 7") == "42\n"
                assert client.run(CURRENT) == "False\n"
        # Once more changes nothing.
        lines = len(host.err)
        host.process.send_signal(number)
        host.do("pass")
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"
        assert not [line for line in host.err[lines:] if "UDS" in line or "ailed" in line]


def test_release_puts_the_last_handler_back():
    with plain_host("thread=False") as host:
        host.do(
            "import signal; mine = lambda *a: write_raw('MINE')\n"
            "signal.signal(signal.SIGUSR1, mine)\n"
            "handle = manhole.install(strict=False, activate_on='USR1')\n"
            "handle = manhole.install(strict=False, oneshot_on='USR1')\n"
            "print(signal.getsignal(signal.SIGUSR1) is mine)\n"
            "handle.release(); print(signal.getsignal(signal.SIGUSR1) is mine)\n"
        )
        assert host.out[1:3] == ["False", "True"]
        host.process.send_signal(signal.SIGUSR1)
        host.wait_out("^MINE$")


def test_reinstalling_puts_the_last_handler_back():
    with plain_host("thread=False") as host:
        host.do(
            "import signal; mine = lambda *a: None\n"
            "signal.signal(signal.SIGUSR1, mine)\n"
            "manhole.install(strict=False, activate_on='USR1')\n"
            "manhole.install(strict=False, activate_on='USR2')\n"
            "print(signal.getsignal(signal.SIGUSR1) is mine)\n"
            "handle = manhole.install(strict=False)\n"
            "print(signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL)\n"
        )
        assert host.out[1:3] == ["True", "True"]


def test_a_handler_put_in_since_stays():
    with plain_host("activate_on='USR1'") as host:
        host.do(
            "import signal; other = lambda *a: None\n"
            "signal.signal(signal.SIGUSR1, other); handle.release()\n"
            "print(signal.getsignal(signal.SIGUSR1) is other)"
        )
        assert "True" in host.out


def test_a_handler_that_is_not_pythons_comes_back():
    """faulthandler's: only its C handler is there to be put back."""
    with plain_host("thread=False") as host:
        host.do(
            "import faulthandler, signal; faulthandler.register(signal.SIGUSR1)\n"
            "manhole.install(strict=False, activate_on='USR1').release()"
        )
        host.process.send_signal(signal.SIGUSR1)
        host.wait_err("most recent call first")
        host.do("pass")


def test_release_in_another_thread_only_says_so():
    with plain_host("activate_on='USR1'") as host:
        host.do("import threading; t = threading.Thread(target=handle.release); t.start(); t.join()")
        host.wait_err(r": The handler of signal 10 stays: only the main thread can put the last one back\.$")
        host.process.send_signal(signal.SIGUSR1)
        host.do("pass")
        assert not os.path.exists(host.path)


@pytest.mark.parametrize("option", ["activate_on", "oneshot_on"])
def test_handlers_need_the_main_thread(option):
    with plain_host("thread=False") as host:
        host.do(
            "import threading\n"
            f"def go():\n    try: manhole.install(strict=False, {option}='USR1')\n"
            "    except ValueError as e: write_raw('ValueError %s' % e)\n"
            "t = threading.Thread(target=go); t.start(); t.join()"
        )
        host.wait_out(f"^ValueError {option}: signal only works in main thread")


def test_child_of_fork_waits_for_the_signal_too():
    with plain_host("activate_on='USR1', reinstall_delay=0.01") as host:
        host.process.send_signal(signal.SIGUSR1)
        opened(host)
        # The child says so itself: Python forgets what comes before it is set up again.
        host.do(
            "pid = os.fork()\nif not pid:\n    import time; write_raw('CHILD %d' % os.getpid())\n"
            "    while True: time.sleep(0.01)"
        )
        child = int(host.wait_out("^CHILD").split()[1])
        path = f"/tmp/manhole-{child}"
        try:
            assert not os.path.exists(path)
            os.kill(child, signal.SIGUSR1)
            wait_for(lambda: is_listening(path), "the child's socket listens")
            with Plain(path).start() as client:
                assert client.run("os.getpid()") == f"{child}\n"
        finally:
            os.kill(child, signal.SIGKILL)
            host.do("os.waitpid(pid, 0)")
            if os.path.exists(path):
                os.unlink(path)


def test_oneshot_serves_one_client_in_the_main_thread():
    with plain_host("oneshot_on='USR2', locals={'answer': 42}") as host:
        host.wait_err(rf": Not patching os\.fork and os\.forkpty\. Oneshot activation is done by signal 12$")
        for _ in range(2):
            start = len(host.err)
            assert not os.path.exists(host.path)
            host.process.send_signal(signal.SIGUSR2)
            opened(host)
            host.wait_err(rf": Waiting for new connection \(in pid:{host.pid}\) \.\.\.$", start)
            with Plain(host.path) as client:
                assert client.until(b"ProcessID=")
                client.start()
                assert client.run("answer") == "42\n"
                assert client.run(CURRENT) == "True\n"
                assert client.run("print('mine')") == "mine\n"
                assert not [n for n in host.thread_names() if n.startswith("Manhole <")]
                client.send("exit()\n")
                assert client.wait_closed() == b""
            for line in (rf"Accepted connection on fd:\d+ from PID:{os.getpid()} UID:\d+ GID:\d+", "DONE\\.",
                         "Cleaned up\\."):
                host.wait_err(f": {line}$", start)
            host.do("print('goes on')")
            assert not os.path.exists(host.path)
        wait_for(lambda: len(host.thread_names()) == 1, "the thread ends")


def test_oneshot_console_can_be_interrupted_and_dropped():
    with plain_host("oneshot_on='USR2'") as host:
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        with Plain(host.path).start() as client:
            client.send("while True: pass\n\n")
            client.until(b"... ")
            client.send(b"\x03")
            client.until(b"KeyboardInterrupt\n>>> ")
            client.send("while True: pass\n\n")
            client.until(b"... ")
        host.do("print('goes on')")


def test_oneshot_serves_a_framed_client():
    with plain_host("oneshot_on='USR2'") as host:
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        with Framed(host.path) as client:
            assert client.hello()["pid"] == host.pid
            assert client.ask(STACKS)["gil"] is True
            assert client.exec(CURRENT)[0]["result"] == "True"
        host.do("print('goes on')")


@pytest.mark.parametrize("handler", ["'exec'", "lambda c: (c.sendall(b'hi'), write_raw('HANDLED'))"])
def test_oneshot_honours_the_connection_handler(handler):
    with plain_host(f"oneshot_on='USR2', connection_handler={handler}") as host:
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        with Plain(host.path) as client:
            client.send("import threading; write_raw = print; print('HANDLED')\nexit()\n")
            assert client.wait_closed() in (b"", b"hi")
        host.wait_out("^HANDLED$")
        host.do("print('goes on')")


def test_a_second_client_of_a_oneshot_gets_a_thread():
    with plain_host("oneshot_on='USR2'") as host:
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        with Plain(host.path).start() as one, Plain(host.path).start() as two:
            assert one.run(CURRENT) == "True\n"
            assert two.run(CURRENT) == "False\n"


def test_signal_handlers_run_while_a_oneshot_waits():
    with plain_host("oneshot_on='USR2'") as host:
        host.do("import signal; signal.signal(signal.SIGUSR1, lambda *a: write_raw('HANDLED'))")
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        host.process.send_signal(signal.SIGUSR1)
        host.wait_out("^HANDLED$")
        with Plain(host.path).start() as client:
            start = len(host.out)
            host.process.send_signal(signal.SIGUSR1)
            host.wait_out("^HANDLED$", start)
            assert client.run("1") == "1\n"


@pytest.mark.parametrize("connected", [False, True])
def test_a_signal_handler_may_end_the_application_in_a_oneshot(connected):
    with plain_host("oneshot_on='USR2'") as host:
        host.do("import signal; signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))")
        host.process.send_signal(signal.SIGUSR2)
        opened(host)
        if connected:
            with Plain(host.path).start() as client:
                host.process.send_signal(signal.SIGTERM)
                client.wait_closed()
        else:
            host.process.send_signal(signal.SIGTERM)
        assert host.wait() == 7
        assert not os.path.exists(host.path)


def test_oneshot_failure_is_logged_and_raises_nothing(tmp_path):
    with plain_host(f"oneshot_on='USR2', socket_path={str(tmp_path / 'no' / 's')!r}") as host:
        host.process.send_signal(signal.SIGUSR2)
        host.wait_err(": Oneshot failure: No such file or directory$")
        host.do("print('goes on')")


def test_a_released_oneshot_serves_nobody():
    with plain_host("oneshot_on='USR2'") as host:
        host.do("handle.release(); handle.handle_oneshot()")
        host.wait_err(r": Oneshot failure: this manhole was released\.$")


def test_oneshot_ends_when_it_is_released():
    with plain_host("thread=False") as host:
        host.do(
            "import threading\n"
            "t = threading.Thread(target=handle.handle_oneshot); t.start()"
        )
        opened(host)
        host.do("handle.release(); t.join()")
        assert not os.path.exists(host.path)


def test_called_directly_as_the_recipe_for_uwsgi_does():
    """In a thread that is not the main one too, again and again, where another is installed already."""
    with plain_host() as host:
        for n in range(2):
            host.do(
                "import threading\n"
                "def open_manhole(dummy_signum):\n"
                "    inst = manhole.install(strict=False, thread=False)\n"
                "    inst.handle_oneshot(dummy_signum, dummy_signum)\n"
                "    write_raw('BACK')\n"
                "t = threading.Thread(target=open_manhole, args=(17,), name='worker'); t.start()"
            )
            opened(host)
            with Plain(host.path).start() as client:
                assert client.run("import threading; threading.current_thread().name") == "'worker'\n"
                client.send("exit()\n")
                assert client.wait_closed() == b""
            host.wait_out("^BACK$")
            host.do("t.join(); assert t not in threading.enumerate()")
            assert not os.path.exists(host.path)


def test_two_oneshots_at_once_are_one():
    with plain_host("thread=False") as host:
        host.do("import threading; t = threading.Thread(target=handle.handle_oneshot); t.start()")
        opened(host)
        host.do("handle.handle_oneshot()")
        host.wait_err(r": Oneshot failure: another one is under way\.$")
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"


def test_fork_beside_a_oneshot_leaves_it_to_the_parent():
    with plain_host("thread=False") as host:
        host.do("import threading; t = threading.Thread(target=handle.handle_oneshot); t.start()")
        opened(host)
        host.do(
            "pid = os.fork()\n"
            "if not pid:\n"
            "    write_raw('CHILD'); os._exit(0)\n"
            "os.waitpid(pid, 0)"
        )
        assert "CHILD" in host.out
        with Plain(host.path).start() as client:
            assert client.run("1") == "1\n"


def blocked(host, thread):
    status = open(f"/proc/{host.pid}/task/{host.wait_thread(thread)}/status").read()
    mask = int(re.search(r"SigBlk:\s*([0-9a-f]+)", status).group(1), 16)
    return {n for n in range(1, 65) if mask & 1 << n - 1}


FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT}
NEVER = {signal.SIGKILL, signal.SIGSTOP}


@pytest.mark.parametrize("sigmask, wanted", [
    ("['USR1', 'SIGUSR2', 15]", {10, 12, 15}),
    ("[]", set()),
    ("['USR1', 'SEGV']", {10}),
    pytest.param("manhole.ALL_SIGNALS", set(range(1, 65)) - FAULTS - NEVER - {32, 33}, marks=pytest.mark.skipif(
        target_version() < (3, 7), reason="3.6 has no names that come when they are asked for")),
])
def test_threads_block_what_sigmask_says(sigmask, wanted):
    with plain_host(f"sigmask={sigmask}") as host, Plain(host.path).start() as client:
        assert blocked(host, "Manhole") == wanted
        assert blocked(host, f"Manhole < PID:{os.getpid()}"[:15]) == wanted
        # The console's code has the application's own.
        assert client.run("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [])") == "set()\n"


def test_threads_block_what_the_application_blocks():
    with plain_host("thread=False") as host:
        host.do("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])")
        host.do("manhole.install(strict=False, sigmask=['USR1'])")
        with Plain(host.path).start() as client:
            assert blocked(host, "Manhole") == {signal.SIGUSR1, signal.SIGTERM}
            assert client.run("import signal; list(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))") == "[15]\n"


def test_without_sigmask_signals_wait_for_the_application():
    """signalfd and sigwait: no thread of ours takes what the application waits for."""
    with plain_host() as host:
        assert blocked(host, "Manhole") == set(range(1, 65)) - FAULTS - NEVER - {32, 33}
        host.do("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])")
        with Plain(host.path).start():
            host.process.send_signal(signal.SIGUSR1)
            host.do("print('WAITED', int(signal.sigwait([signal.SIGUSR1])))")
            assert "WAITED 10" in host.out
