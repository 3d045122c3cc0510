# SPDX-License-Identifier: BSD-2-Clause
"""The application always wins: what a console does, or how it ends, never harms it."""
import os

import pytest

from agentlib import *


@pytest.fixture
def host():
    with plain_host() as host:
        yield host


def connect(host):
    return Plain(host.path).start()


def leave(host, client):
    """Ends a session, and waits until its thread has put everything back."""
    start = len(host.err)
    client.send("exit()\n")
    client.wait_closed()
    host.wait_err("Cleaned up", start)


def result_of(host, code):
    """What code of the application's main thread evaluates to, or the exception it gets."""
    start = len(host.out)
    host.do(f"try: result = repr({code})\nexcept BaseException as e: result = type(e).__name__\nwrite_raw('= ' + result)")
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
