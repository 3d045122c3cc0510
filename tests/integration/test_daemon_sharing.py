# SPDX-License-Identifier: BSD-2-Clause
"""Sessions as others see them: who is there, who may end whom."""
import json
import re

import pytest

from daemonlib import *  # noqa: F403


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


@pytest.fixture
def peer(daemon):
    """A target that accepts and answers as it is told."""
    with standin(daemon.scan) as t:
        assert t.do("listen()") == "None"
        daemon.wait_state(t.pid, "live")
        yield t


@pytest.fixture(scope="module")
def daemon():
    with Daemon() as d:
        yield d


@pytest.fixture(autouse=True)
def nothing_leaks(request):
    daemon = request.getfixturevalue("daemon")
    with daemon.no_leak():
        yield
    assert daemon.serves()
    wait_for(lambda: sessions(daemon) == {}, "no session")


def attach(daemon, peer, **parameters):
    console = daemon.attach(peer.pid, **parameters)
    assert peer.do("accept()") == "None"
    return console


# ------------------------------------------------------------------- Sessions


def test_sessions_shows_who_is_where_and_what_went_through(daemon, peer):
    with attach(daemon, peer) as console:
        console.send("four")
        assert peer.do("receive(4)") == "b'four'"
        assert peer.do("client.sendall(b'nine byte')") == "None"
        while len(console.buffer) < 9:
            assert console.receive()
        shown = sessions(daemon)[console.session]
    since, idle = shown.pop("since"), shown.pop("idle")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since)
    assert 0 <= idle < TIMEOUT
    user = shown.pop("user")
    assert user == ("root" if ROOT else user)
    assert shown == {"session": console.session, "uid": US, "client": os.getpid(), "pid": peer.pid,
                     "comm": console.answer["target"]["comm"], "unit": console.answer["target"]["unit"],
                     "state": "attached", "input": 4, "output": 9}
    daemon.ended(console.session)


def test_a_session_is_shown_while_it_starts(daemon, peer):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    shown, = sessions(daemon).values()
    assert shown["state"] == "starting"
    client.close()
    daemon.ended(shown["session"])


@needs_root
def test_a_user_sees_own_sessions_and_root_sees_all(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer, uid=ALICE) as hers, attach(daemon, peer) as roots:
            assert set(sessions(daemon, ALICE)) == {hers.session}
            assert set(sessions(daemon, BOB)) == set()
            assert set(sessions(daemon)) == {hers.session, roots.session}
    for console in (hers, roots):
        daemon.ended(console.session)


# ------------------------------------------------------------------ Terminate


def test_terminate_ends_a_session_and_the_record_says_by_whom(daemon, peer):
    with attach(daemon, peer) as console:
        assert terminate(daemon, console.session, reason="lunch\nbreak") is None
        console.wait_closed()
        assert peer.do("receive(1)") == "b''"
    end, _ = daemon.ended(console.session)
    assert re.fullmatch(rf"terminated by .*\(?uid {US}\)?: lunch\\nbreak", end["MANHOLE_REASON"])
    assert terminate(daemon, console.session) == "NoSuchSession"


def test_terminate_while_the_session_starts(daemon, peer):
    """Its client gets an error, and goes on as a connection."""
    with daemon.client() as client:
        client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
        assert peer.do("accept()") == "None"
        session, = sessions(daemon)
        assert terminate(daemon, session) is None
        error, reply = client.reply()
        assert error == f"{ERROR}.NotAuthorized" and reply["reason"].startswith("terminated by")
        assert client.call(f"{SERVICE}.GetInfo")[0] is None
    daemon.ended(session)


def test_terminate_of_a_session_that_is_stuck_both_ways(daemon, peer):
    with attach(daemon, peer) as console:
        peer.tell("client.sendall(b'x' * (8 << 20))")
        console.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            while True:
                console.send(b"y" * 65536)
        assert terminate(daemon, console.session) is None
        assert "BrokenPipe" in peer.line() or "ConnectionReset" in peer.line()
    daemon.ended(console.session)


@needs_root
def test_only_its_own_user_and_root_may_end_a_session(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer, uid=ALICE) as one, attach(daemon, peer, uid=ALICE) as two:
            assert terminate(daemon, one.session, uid=BOB) == "NotAuthorized"
            denied = daemon.wait_event(event="denied", client_uid=BOB)
            assert one.session in denied["MANHOLE_REASON"]
            assert set(sessions(daemon)) == {one.session, two.session}
            assert terminate(daemon, one.session, uid=ALICE) is None
            assert terminate(daemon, two.session) is None
            one.wait_closed()
            two.wait_closed()
    assert str(ALICE) in daemon.ended(one.session)[0]["MANHOLE_REASON"]
    assert "root" in daemon.ended(two.session)[0]["MANHOLE_REASON"]


@pytest.mark.parametrize("parameters", [{}, {"session": None}, {"session": 5}])
def test_terminate_wants_an_id(daemon, parameters):
    assert daemon.call(f"{BROKER}.Terminate", parameters) == \
        (f"{SERVICE}.InvalidParameter", {"parameter": "session"})


@needs_root
def test_sessions_are_listed_and_ended_while_manholed_priv_hangs():
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        priv = int(pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text())
        with attach(daemon, peer) as console:
            os.kill(priv, signal.SIGSTOP)
            assert set(sessions(daemon)) == {console.session}
            assert terminate(daemon, console.session) is None
            console.wait_closed()
            os.kill(priv, signal.SIGCONT)
