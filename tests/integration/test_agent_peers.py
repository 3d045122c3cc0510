# SPDX-License-Identifier: BSD-2-Clause
"""Who may connect, by the kernel's word on who it is."""
import os
import socket
import subprocess
import sys

import pytest

from agentlib import *


def test_refused_client_sees_nothing(host):
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    os.chmod(host.path, 0o666)
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "for name in (None, '\\0manhole/1/refused-%d' % os.getpid()):\n"
        "    s = socket.socket(socket.AF_UNIX)\n"
        "    if name: s.bind(name)\n"
        "    s.connect(sys.argv[1]); s.settimeout(10); print(s.recv(100))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, host.path], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert result.stdout == "b''\nb''\n", result.stderr
    host.wait_err(
        r"SuspiciousClient: Can't accept client with PID:\d+ UID:65534 GID:65534\. "
        rf"It doesn't match the current EUID:{os.geteuid()} or ROOT\."
    )
    with connect(host) as client:
        assert client.run("1") == "1\n"


def test_users_that_the_namespace_does_not_map_are_nobody():
    """They all look like the overflow uid; so does a process that is not mapped itself."""
    probe = subprocess.run(["unshare", "-U", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no user namespace can be made: {probe.stderr.strip()}")
    with Host("-U", PYTHON, HOSTS / "plain.py", python="unshare") as host:
        with Plain(host.path) as client:
            assert client.wait_closed() == b""
        host.wait_err("SuspiciousClient: .* UID:65534 GID:65534.* current EUID:65534 or ROOT")


def test_root_may_connect_to_everybody(host):
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    # The interpreter's own files may be out of the other user's reach.
    code = "import codeop, os, traceback; os.setgid(65534); os.setuid(65534)"
    with plain_host(f"locals=exec({code!r})") as other, connect(other) as client:
        assert client.run("__import__('os').getuid()") == "65534\n"
