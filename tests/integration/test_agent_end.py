# SPDX-License-Identifier: BSD-2-Clause
"""The end of the process while consoles are open."""
import os
import signal
import subprocess

from agentlib import *


def test_open_session_keeps_the_process_alive(host):
    host.do("import atexit; atexit.register(write_raw, 'ATEXIT')")
    with connect(host) as client:
        host.process.stdin.close()
        host.wait_out("^BYE$")
        assert client.run("1 + 1") == "2\n"
        assert "ATEXIT" not in host.out
        client.send("exit()\n")
        assert client.wait_closed() == b""
    assert host.wait() == 0
    assert host.out[-2:] == ["BYE", "ATEXIT"]
    assert not os.path.exists(host.path)


def test_daemon_connection_lets_the_process_end():
    with plain_host("daemon_connection=True") as host, connect(host) as client:
        assert client.run("1") == "1\n"
        assert host.finish() == 0
        assert b"Traceback" not in client.wait_closed()
        assert not os.path.exists(host.path)


def test_daemon_connection_that_runs_code_lets_the_process_end():
    with plain_host("daemon_connection=True") as host, connect(host) as client:
        client.send("exec('print(\"go\")\\nwhile True: pass')\n")
        client.until(b"go\n")
        assert host.finish() == 0
        client.wait_closed()


def test_application_that_is_interrupted_does_not_wait_for_a_session(host):
    with connect(host) as client:
        host.process.stdin.close()
        host.wait_out("^BYE$")
        # The first may still reach the program itself.
        for _ in range(2):
            host.process.send_signal(signal.SIGINT)
            try:
                host.process.wait(2)
                break
            except subprocess.TimeoutExpired:
                pass
        assert b"now exiting" not in client.wait_closed()


def test_interrupt_in_a_console_does_not_change_how_the_application_ends(host):
    with connect(host) as client:
        client.send("exec('print(\"go\")\\nwhile True: pass')\n")
        client.until(b"go\n")
        client.send(b"\x03")
        client.until(b"KeyboardInterrupt\n>>> ")
        client.send("exit()\n")
        client.wait_closed()
    assert host.finish() == 0


def test_signal_handlers_run_while_the_process_waits_for_a_session(host):
    host.do("import signal; signal.signal(signal.SIGTERM, lambda *a: write_raw('HANDLED'))")
    with connect(host) as client:
        host.process.stdin.close()
        host.wait_out("^BYE$")
        host.process.send_signal(signal.SIGTERM)
        host.wait_out("^HANDLED$")
        client.send("exit()\n")
        client.wait_closed()
    assert host.wait() == 0
