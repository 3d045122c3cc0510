# SPDX-License-Identifier: BSD-2-Clause
"""Stacks and a console where nothing else works any more."""
import json
import os
import pathlib
import subprocess

import pytest

from agentlib import *

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and chroot need root")


def target_value(expression):
    code = f"import json, os, sys; print(json.dumps({expression}))"
    return json.loads(subprocess.run([PYTHON, "-c", code], capture_output=True, check=True).stdout)


def unshared_host(*arguments, **kwargs):
    """An application in a mount namespace of its own; the same process."""
    return Host("-m", "--propagation", "private", PYTHON, HOSTS / "plain.py", *arguments,
                python="unshare", **kwargs)


def libc(call):
    return f"import ctypes; assert ctypes.CDLL(None).{call} == 0"


def check_console(host):
    with Plain(host.path) as client:
        client.start()
        assert client.run("1 + 1") == "2\n"
        client.run("for i in range(3):", prompt=b"... ")
        client.run("    x = i", prompt=b"... ")
        assert client.run("") == ""
        assert client.run("x") == "2\n"
        assert client.run("def f(): return 1 / 0", prompt=b"... ") == ""
        client.run("")
        text = client.run("f()")
        assert "Traceback (most recent call last):" in text
        assert 'File "<console>", line 1, in f' in text
        assert text.endswith("ZeroDivisionError: division by zero\n")
        assert "SyntaxError" in client.run("1 +* 2")
        assert client.run("print('still', 'there')") == "still there\n"


def check_framed(host):
    with Framed(host.path) as client:
        client.hello()
        end, out, _ = client.exec("print('out')\n6 * 7")
        assert (end["result"], end["status"], out) == ("42", 0, "out\n")
        end, _, _ = client.exec("def f(): return 1 / 0\nf()")
        assert end["status"] == 1
        assert end["exception"]["type"] == "ZeroDivisionError"
        assert "line 1, in f" in end["exception"]["traceback"]


@needs_root
def test_standard_library_that_is_gone():
    """Nothing of it is there before the first session, but what the application has imported."""
    with unshared_host() as host:
        host.do(libc(f"mount(b'none', {os.fsencode(target_value('os.path.dirname(os.__file__)'))}, b'tmpfs', 0, None)"))
        host.do("sys.path_importer_cache.clear(); write_raw(str(os.listdir(os.path.dirname(os.__file__))))")
        host.wait_out(r"^\[\]$")
        check_console(host)
        check_framed(host)


LINES = (
    "if 1:", "(1,", "(", "x = [1,", "'''abc", "'abc", "x = \\", "# nothing", "", " ", "1 +", "1 1", ")", "f(]",
    "def f(", "class A:", "@f", "for", "for i in 1", "try:", "while 1: pass", "if 1: 2", "x = {", "f'{", "lambda",
    "else:", "1; 2", "import os,", "from os import (", "with 1:", "async def f():", "return", " 1", "'é", "'é' + (",
)


def prompts(host):
    """Which prompt follows each line."""
    found = []
    with Plain(host.path).start() as client:
        for line in LINES:
            client.send(line + "\n")
            while not client.buffer.endswith((b">>> ", b"... ")):
                client.receive()
            found.append((line, client.buffer[-4:]))
            client.buffer = b""
            client.send(b"\x03")
            client.until(b"KeyboardInterrupt\n>>> ")
    return found


@needs_root
def test_lines_go_on_where_they_would_with_the_standard_library(tmp_path):
    with plain_host() as host:
        expected = prompts(host)
    with plain_host() as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        assert prompts(host) == expected


@needs_root
def test_process_that_has_changed_its_root(tmp_path):
    with plain_host() as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        check_console(host)
        check_framed(host)
        with Plain(host.path).start() as client:
            client.send("while True: pass\n")
        host.wait_err("Cleaned up")
        assert host.finish() == 0


@needs_root
def test_process_that_changed_its_root_ends_while_a_console_runs(tmp_path):
    with plain_host("daemon_connection=True") as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        with Plain(host.path).start() as client:
            client.send("print('RUNS')\nimport time\nwhile True: time.sleep(0)\n\n")
            client.until(b"RUNS\n")
            client.until(b"... ")
            assert host.finish() == 0
