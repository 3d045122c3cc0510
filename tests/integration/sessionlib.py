# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of sessions that are shared, watched and left alone have in common."""
import json

import pytest

from daemonlib import BROKER, ERROR, US, Attached, AttachedFrames, Daemon, wait_for

# The broker's own frames.
NOTICE, TYPED = 192, 193


@pytest.fixture(scope="module")
def daemon():
    """One for all: each test leaves it as it was."""
    with Daemon() as d:
        yield d


@pytest.fixture(autouse=True)
def nothing_leaks(request):
    daemon = request.getfixturevalue("daemon")
    with daemon.no_leak():
        yield
    assert daemon.serves()
    wait_for(lambda: sessions(daemon) == {}, "no session")


def sessions(daemon, uid=US):
    """Sessions as a user is shown them, by id."""
    error, reply = daemon.call(f"{BROKER}.Sessions", uid=uid)
    assert error is None, reply
    return {s["session"]: s for s in reply["sessions"]}


def terminate(daemon, session, uid=US, **parameters):
    """The error, or None."""
    error, reply = daemon.call(f"{BROKER}.Terminate", {"session": session, **parameters}, uid=uid)
    assert error is None or reply["reason"]
    return error and error.removeprefix(f"{ERROR}.")


def attach(daemon, peer, **parameters):
    console = daemon.attach(peer.pid, **parameters)
    assert peer.do("accept()") == "None"
    return console


def attach_framed(daemon, peer, **parameters):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True, **parameters}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("hello()") == "None"
    error, reply = client.reply()
    assert error is None, reply
    console = AttachedFrames(client, reply)
    console.hello()
    return console


def notice(console):
    """The next frame, which is the broker's."""
    kind, number, payload = console.frame()
    assert (kind, number) == (NOTICE, 0)
    return json.loads(payload)


class Watcher:
    """A mirror of a session, as text or in frames."""

    def __init__(self, daemon, session, uid=US, framed=False):
        self.client = daemon.client(uid)
        self.client.send(f"{BROKER}.Mirror", {"session": session, "framed": framed}, upgrade=True)
        error, self.answer = self.client.reply()
        assert error is None, self.answer
        self.stream = (AttachedFrames if framed else Attached)(self.client, {**self.answer, "session": session})

    def __enter__(self):
        return self.stream

    def __exit__(self, *unused):
        self.client.close()
