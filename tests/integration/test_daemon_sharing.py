# SPDX-License-Identifier: BSD-2-Clause
"""Sessions as others see them: who is there, who may end whom."""
import contextlib
import json
import re
import struct

import pytest

from daemonlib import *  # noqa: F403
from agentlib import END, INPUT, INTERRUPT, OPEN, OUTPUT, PROMPT
from sessionlib import TYPED, Watcher, attach, attach_framed, daemon, nothing_leaks, notice, sessions, terminate


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
                     "state": "attached", "input": 4, "output": 9, "watchers": 0}
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
def test_a_user_sees_own_sessions_and_those_in_own_targets(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer, uid=ALICE) as hers, attach(daemon, peer) as roots:
            assert set(sessions(daemon, ALICE)) == {hers.session, roots.session}
            assert set(sessions(daemon, BOB)) == set()
            assert set(sessions(daemon)) == {hers.session, roots.session}
    for console in (hers, roots):
        daemon.ended(console.session)


def test_a_client_that_leaves_in_the_greeting_is_noticed_at_once(daemon, peer):
    """Not after the two seconds for which a target may be silent."""
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    session, = sessions(daemon)
    left = time.monotonic()
    client.close()
    assert peer.do("receive(1)") == "b''"
    assert time.monotonic() - left < 1
    assert daemon.ended(session)[0]["MANHOLE_REASON"] == "closed by the client"


def test_an_attach_without_an_answer_is_none(daemon, peer):
    """Nobody would know when the console begins."""
    with daemon.client() as client:
        client.send(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True, oneway=True)
        assert client.call(f"{SERVICE}.GetInfo")[0] is None
    assert sessions(daemon) == {}


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
def test_others_may_not_end_a_session(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer, uid=ALICE) as one, attach(daemon, peer, uid=ALICE) as two:
            assert terminate(daemon, one.session, uid=BOB) == "NotAuthorized"
            assert any(one.session in e["MANHOLE_REASON"] for e in daemon.events(event="denied", client_uid=BOB))
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


def test_a_plain_client_is_told_why_its_session_ends(daemon, peer):
    with attach(daemon, peer) as console:
        assert terminate(daemon, console.session, reason="lunch") is None
        assert re.fullmatch(rb"\n\[manholed: terminated by .*: lunch\]\n", console.wait_closed())
    _, cast = daemon.ended(console.session)
    assert cast.of("notice").decode().endswith(": lunch]\n")


def test_a_framed_client_is_told_why_its_session_ends(daemon, peer):
    with attach_framed(daemon, peer) as console:
        assert terminate(daemon, console.session, reason="lunch \\ \x1b[31m") is None
        said = notice(console)
        assert said["kind"] == "end"
        assert re.fullmatch(r"terminated by .*: lunch \\\\ \\x1b\[31m", said["text"])
        assert console.frame() is None
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == said["text"]
    assert json.loads(cast.of("notice")) == said


def test_a_notice_does_not_tear_a_frame(daemon, peer):
    """The target stops in the middle of one: then nothing can be said."""
    with attach_framed(daemon, peer) as console:
        assert peer.do("client.sendall(pack('<III', 10, 129, 1) + b'12345')") == "None"
        while len(console.buffer) < 17:
            assert console.receive()
        assert terminate(daemon, console.session) is None
        assert console.wait_closed() == struct.pack("<III", 10, OUTPUT, 1) + b"12345"
    daemon.ended(console.session)


def test_sessions_that_the_daemon_ends_are_told_so(peer, daemon):
    with Daemon() as other, standin(other.scan) as target:
        assert target.do("listen()") == "None"
        other.wait_state(target.pid, "live")
        with attach_framed(other, target) as console:
            other.stop()
            assert notice(console) == {"kind": "end", "text": "the daemon is stopping"}


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


# ------------------------------------------------------------ who else is there


def test_who_else_is_there_is_said_at_attach_and_when_it_changes(daemon, peer):
    with attach_framed(daemon, peer) as first:
        assert first.answer["others"] == []
        first.send(OPEN, 1)
        with attach_framed(daemon, peer) as second:
            other, = second.answer["others"]
            assert {k: other[k] for k in ("session", "uid")} == {"session": first.session, "uid": US}
            assert set(other) == {"session", "state", "uid", "user", "since"}
            second.send(OPEN, 1)
            said = notice(first)
            assert said["kind"] == "joined"
            assert second.session in said["text"] and f"uid {US}" in said["text"]
        said = notice(first)
        assert said["kind"] == "left" and second.session in said["text"]
    for console in (first, second):
        daemon.ended(console.session)


def test_code_that_runs_and_questions_are_announced_to_nobody(daemon, target):
    with daemon.attach(target.pid, framed=True) as console:
        console.hello()
        number = console.request(OPEN, "stacks=no\nbanner=no\n")
        console.until(PROMPT, number)
        with daemon.attach(target.pid, framed=True) as other:
            other.hello()
            assert other.exec("1 + 1")[0]["result"] == "2"
        wait_for(lambda: set(sessions(daemon)) == {console.session}, "its end")
        console.send(INPUT, number, "3\n")
        assert b"3\n" in console.until(PROMPT, number)[OUTPUT]  # fails on any other frame
    for session in (console, other):
        daemon.ended(session.session)


def test_a_plain_client_hears_the_target_alone(daemon, peer):
    with attach(daemon, peer) as console:
        with attach(daemon, peer) as other:
            assert [o["session"] for o in other.answer["others"]] == [console.session]
        daemon.ended(other.session)
        assert peer.do("clients[0].sendall(b'quiet')") == "None"
        assert console.until(b"quiet") == b"quiet"
    daemon.ended(console.session)


def test_who_asked_for_frames_in_vain_is_told_in_lines(daemon, peer):
    """A person, with a pure-Python manhole."""
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("client.sendall(b'>>> ')") == "None"
    with Attached(client, client.reply()[1]) as console:
        assert console.until(b">>> ") == b">>> "
        with attach(daemon, peer) as other:
            line = console.until(b"]\n").decode()
            assert line.startswith("\n[manholed: ") and other.session in line
    for session in (console, other):
        daemon.ended(session.session)


def test_consoles_in_another_process_are_no_news(daemon, peer):
    with standin(daemon.scan) as elsewhere:
        assert elsewhere.do("listen()") == "None"
        daemon.wait_state(elsewhere.pid, "live")
        with attach_framed(daemon, peer) as here, attach(daemon, elsewhere) as there:
            assert there.answer["others"] == []
            assert peer.do("frame(129, 1, b'quiet')") == "None"
            assert here.frame() == (OUTPUT, 1, b"quiet")
    for session in (here, there):
        daemon.ended(session.session)


# --------------------------------------------------------------------- Mirror


def not_mirrored(daemon, session, uid=US):
    error, reply = daemon.call(f"{BROKER}.Mirror", {"session": session}, uid=uid, upgrade=True)
    assert error is not None and reply["reason"]
    return error.removeprefix(f"{ERROR}.")


def test_who_watches_sees_both_directions_and_the_user_is_told(daemon, target):
    with daemon.attach(target.pid, framed=True) as console:
        console.hello()
        number = console.request(OPEN, "stacks=no\nbanner=no\n")
        console.until(PROMPT, number)
        with Watcher(daemon, console.session) as text, Watcher(daemon, console.session, framed=True) as frames:
            for _ in range(2):
                assert notice(console)["kind"] == "watched"
            assert sessions(daemon)[console.session]["watchers"] == 2
            console.send(INPUT, number, "6 * 7\n")
            console.until(PROMPT, number)
            console.send(INTERRUPT, number)
            console.until(PROMPT, number)
            console.send(INPUT, number)
            console.until(END, number)
            console.close()
            seen = text.wait_closed().decode()
            assert seen.startswith("6 * 7\n42\n>>> ^C\n")
            assert seen.rstrip().endswith("[manholed: the session has ended: closed by the client]")
            got = []
            while (frame := frames.frame()) is not None:
                got.append(frame)
            assert got[0] == (TYPED, 0, b"6 * 7\n")
            assert (OUTPUT, 0, b"42\n") in got and (PROMPT, 0, b">>> ") in got
            assert json.loads(got[-1][2]) == {"kind": "end", "text": "closed by the client"}
    daemon.ended(console.session)
    for event in ("watch", "unwatch"):
        one, two = daemon.events(event=event, session=console.session)
        assert one["MANHOLE_ACTOR_UID"] == str(US) and one["MANHOLE_ACTOR_PID"] == str(os.getpid())
        assert one["MANHOLE_ACTOR_USER"]


def test_a_plain_session_is_mirrored_too(daemon, peer):
    with attach(daemon, peer) as console, Watcher(daemon, console.session) as text:
        assert peer.do("client.sendall(b'>>> ')") == "None"
        assert text.until(b">>> ") == b">>> "
        console.send("1\n")
        assert peer.do("receive(2)") == repr(b"1\n")
        assert text.until(b"1\n") == b"1\n"
    daemon.ended(console.session)


def test_nothing_that_a_watcher_sends_is_read(daemon, peer):
    with attach(daemon, peer) as console:
        with Watcher(daemon, console.session) as text:
            assert sessions(daemon)[console.session]["watchers"] == 1
            with pytest.raises(BrokenPipeError):
                text.send("rm -rf /\n")
            console.send("mine")
            assert peer.do("receive(4)") == "b'mine'"
            assert text.until(b"mine") == b"mine"
        wait_for(lambda: sessions(daemon)[console.session]["watchers"] == 0, "its end")
    _, cast = daemon.ended(console.session)
    assert cast.input == b"mine"


def test_a_watcher_that_does_not_read_holds_nobody_up(daemon, peer):
    size = 8 << 20
    before = daemon.resident()
    with attach(daemon, peer) as console, Watcher(daemon, console.session) as text:
        peer.tell(f"client.sendall(b'x' * {size})")
        received = 0
        while received < size:
            received += len(console.socket.recv(1 << 16))
        assert peer.line() == "None"
        assert daemon.resident() - before < 2 << 20
        console.close()
        seen = text.wait_closed()
    daemon.ended(console.session)
    left_out = sum(map(int, re.findall(rb"\[manholed: (\d+) bytes are left out here\]", seen)))
    assert left_out > 0 and seen.count(b"x") + left_out == size
    unwatch, = daemon.events(event="unwatch", session=console.session)
    assert int(unwatch["MANHOLE_MISSED"]) == left_out


def test_watchers_are_bounded(daemon, peer):
    with attach(daemon, peer) as console, contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(Watcher(daemon, console.session))
        assert not_mirrored(daemon, console.session) == "TooManySessions"
    daemon.ended(console.session)


def test_what_is_not_open_cannot_be_watched(daemon, peer):
    assert not_mirrored(daemon, "0123456789abcdef") == "NoSuchSession"
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    session, = sessions(daemon)
    assert not_mirrored(daemon, session) == "NoSuchSession"
    client.close()
    daemon.ended(session)


def test_mirror_wants_upgrade(daemon):
    assert daemon.call(f"{BROKER}.Mirror", {"session": "x"}) == (f"{SERVICE}.ExpectedUpgrade", {})


@needs_root
def test_who_may_not_watch_is_refused_and_recorded(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer, uid=ALICE) as console:
            assert not_mirrored(daemon, console.session, uid=BOB) == "NotAuthorized"
            assert any(console.session in e["MANHOLE_REASON"] for e in daemon.events(event="denied", client_uid=BOB))
            with Watcher(daemon, console.session):
                pass
    daemon.ended(console.session)


def test_a_watcher_keeps_its_connections_place():
    with Daemon(config="ConnectionsPerUser=3") as daemon, standin(daemon.scan) as peer, daemon.no_leak():
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer) as console, Watcher(daemon, console.session), daemon.client() as third:
            assert third.call(f"{SERVICE}.GetInfo")[0] is None
            with daemon.client() as surplus:
                assert surplus.reply()[0] == f"{ERROR}.TooManySessions"
        daemon.ended(console.session)


# --------------------------------------------------------------------- limits


@pytest.mark.parametrize("key, reason", [
    ("SessionMaxSec", "its time is up"), ("SessionIdleSec", "nothing was typed for too long"),
])
def test_a_session_that_has_lasted_too_long_is_ended(key, reason):
    with Daemon(config=f"{key}=300ms") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        begun = time.monotonic()
        with attach_framed(daemon, peer) as console:
            assert notice(console) == {"kind": "end", "text": reason}
            assert time.monotonic() - begun >= 0.3
            assert console.frame() is None
        end, _ = daemon.ended(console.session)
        assert end["MANHOLE_REASON"] == reason


def test_who_types_is_not_idle_and_output_is_no_typing():
    with Daemon(config="SessionIdleSec=400ms") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer) as console:
            begun = time.monotonic()
            while time.monotonic() - begun < 1:
                console.send("x")
                assert peer.do("receive(1)") == "b'x'"
            last = time.monotonic()
            assert peer.do("client.sendall(b'noise')") == "None"
            while console.receive():
                peer.do("client.sendall(b'noise')")
            assert 0.3 < time.monotonic() - last < 5
            assert b"too long" in console.buffer
        daemon.ended(console.session)


def test_a_reload_sets_limits_for_sessions_that_are_open():
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach_framed(daemon, peer) as console:
            daemon.config.write_text(f"[Manholed]\nScan={daemon.scan}\nSessionMaxSec=1ms\n")
            daemon.process.send_signal(signal.SIGHUP)
            assert notice(console)["text"] == "its time is up"
        daemon.ended(console.session)


def test_one_session_too_many_is_refused():
    with Daemon(config="SessionsPerUser=2") as daemon, standin(daemon.scan) as peer, daemon.no_leak():
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer) as one, attach(daemon, peer) as two:
            assert daemon.refused(peer.pid) == "TooManySessions"
            one.close()
            daemon.ended(one.session)
            with attach(daemon, peer) as three:
                assert daemon.refused(peer.pid) == "TooManySessions"
        for console in (two, three):
            daemon.ended(console.session)


@needs_root
def test_another_users_sessions_are_not_counted():
    with Daemon(config="SessionsPerUser=1") as daemon, contextlib.ExitStack() as stack:
        consoles = []
        for uid in (ALICE, BOB):
            peer = stack.enter_context(standin(daemon.scan, uid=uid))
            assert peer.do("listen()") == "None"
            daemon.wait_state(peer.pid, "live")
            consoles.append(stack.enter_context(attach(daemon, peer, uid=uid)))
            assert daemon.refused(peer.pid, uid=uid) == "TooManySessions"
        consoles.append(stack.enter_context(attach(daemon, peer)))
        stack.close()
