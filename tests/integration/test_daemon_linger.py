# SPDX-License-Identifier: BSD-2-Clause
"""Sessions whose client is lost, and who takes them up again."""
import contextlib
import json
import re
import struct
import time

import pytest

from daemonlib import *  # noqa: F403
from agentlib import END, EXEC, INPUT, OPEN, OUTPUT, PROMPT
from sessionlib import TYPED, Watcher, attach, attach_framed, daemon, nothing_leaks, notice, sessions, terminate

KEPT = 65536  # for showing


def open_console(daemon, peer, number=7):
    """A framed session in which a console waits at the prompt, and which may linger."""
    console = attach_framed(daemon, peer, linger=True)
    console.send(OPEN, number)
    assert peer.do("receive(12)") == repr(struct.pack("<III", 0, OPEN, number))
    assert peer.do(f"frame(131, {number}, b'>>> ')") == "None"
    assert console.frame() == (PROMPT, number, b">>> ")
    return console


def lose(daemon, console):
    """The client goes; the session stays."""
    console.close()
    wait_for(lambda: sessions(daemon)[console.session]["state"] == "lingering", "a session that waits")


class Resumed(AttachedFrames):
    def __init__(self, daemon, session, uid=US):
        client = daemon.client(uid)
        client.send(f"{BROKER}.Resume", {"session": session}, upgrade=True)
        error, reply = client.reply()
        assert error is None, reply
        super().__init__(client, {**reply, "session": session})
        self.answer = reply


def not_resumed(daemon, session, uid=US):
    error, reply = daemon.call(f"{BROKER}.Resume", {"session": session}, uid=uid, upgrade=True)
    assert error is not None and reply["reason"]
    return error.removeprefix(f"{ERROR}.")


def end_of(daemon, peer, session):
    """Ends a session from the target's side; its record."""
    assert peer.do("client.close()") == "None"
    return daemon.ended(session)


# ------------------------------------------------------------ lost and resumed


def test_a_session_is_taken_up_again_where_it_was(daemon, target):
    console = daemon.attach(target.pid, framed=True, linger=True)
    console.hello()
    number = console.request(OPEN, "stacks=no\nbanner=no\n")
    console.until(PROMPT, number)
    console.send(INPUT, number, "kept = 6 * 7\n")
    console.until(PROMPT, number)
    lose(daemon, console)
    with Resumed(daemon, console.session) as again:
        assert again.answer["framed"] is True and again.answer["request"] == number
        assert again.answer["missed"] == 0
        assert again.answer["session"]["state"] == "attached" or again.answer["session"]["state"] == "lingering"
        # First what was there before, as it looked, and the prompt that waits.
        seen = again.until(PROMPT, number)
        assert seen == {OUTPUT: b">>> kept = 6 * 7\n", PROMPT: b">>> "}
        again.send(INPUT, number, "kept\n")
        assert again.until(PROMPT, number)[OUTPUT] == b"42\n"
        again.send(INPUT, number)
        assert json.loads(again.until(END, number)[END])["reason"] == "eof"
    end, cast = daemon.ended(console.session)
    assert cast.of("i") == b"kept = 6 * 7\nkept\n"
    for event in ("linger", "resume"):
        record, = daemon.events(event=event, session=console.session)
    assert record["MANHOLE_ACTOR_UID"] == str(US) and record["MANHOLE_MISSED"] == "0"


def test_what_comes_meanwhile_is_recorded_and_shown_later(daemon, peer):
    console = open_console(daemon, peer)
    lose(daemon, console)
    assert peer.do("frame(129, 7, b'meanwhile\\n')") == "None"
    assert peer.do("frame(132, 7, b'{\"bytes\":5}')") == "None"
    wait_for(lambda: sessions(daemon)[console.session]["output"] == 256 + 4 + 10 + 11, "all of it")
    with Resumed(daemon, console.session) as again:
        assert again.frame() == (OUTPUT, 7, b"meanwhile\n")
        assert again.frame() == (PROMPT, 7, b">>> ")
        assert peer.do("frame(129, 7, b'live')") == "None"
        assert again.frame() == (OUTPUT, 7, b"live")
        _, cast = end_of(daemon, peer, console.session)
    assert cast.of("o") == b">>> meanwhile\nlive"


def test_a_flood_meanwhile_holds_the_target_up_no_more_than_the_recorder_does(daemon, peer):
    size = 4 << 20
    console = open_console(daemon, peer)
    lose(daemon, console)
    before = daemon.resident()
    for at in range(0, size, 1 << 16):
        assert peer.do(f"frame(129, 7, b'{at % 10}' * 65536)") == "None"
    wait_for(lambda: sessions(daemon)[console.session]["output"] == 256 + 4 + size, "all of it")
    assert daemon.resident() - before < 1 << 20
    with Resumed(daemon, console.session) as again:
        kind, number, text = again.frame()
        assert (kind, number) == (OUTPUT, 7) and len(text) == KEPT
        assert again.answer["missed"] == size - KEPT
        assert again.frame() == (PROMPT, 7, b">>> ")
    resume, = daemon.events(event="resume", session=console.session)
    assert resume["MANHOLE_MISSED"] == str(size - KEPT)
    _, cast = end_of(daemon, peer, console.session)
    assert len(cast.of("o")) == size + 4


def test_a_client_is_lost_in_the_middle_of_a_frame_of_the_target(daemon, peer):
    """The next one gets the rest of it, in a frame of its own."""
    console = open_console(daemon, peer)
    assert peer.do("client.sendall(pack('<III', 10, 129, 7) + b'01234')") == "None"
    while len(console.buffer) < 17:
        assert console.receive()
    lose(daemon, console)
    with Resumed(daemon, console.session) as again:
        assert again.frame() == (OUTPUT, 7, b"01234")
        assert again.frame() == (PROMPT, 7, b">>> ")
        assert peer.do("client.sendall(b'56789')") == "None"
        assert again.frame() == (OUTPUT, 7, b"56789")
        assert peer.do("client.sendall(pack('<III', 10, 129, 7)[:5])") == "None"
        while len(again.buffer) < 5:
            assert again.receive()
    wait_for(lambda: sessions(daemon)[console.session]["state"] == "lingering", "a session that waits")
    with Resumed(daemon, console.session) as again:
        assert again.frame() == (OUTPUT, 7, b"0123456789")
        assert again.frame() == (PROMPT, 7, b">>> ")
        assert peer.do("client.sendall(pack('<III', 10, 129, 7)[5:] + b'0123456789')") == "None"
        assert again.frame() == (OUTPUT, 7, b"0123456789")
        end_of(daemon, peer, console.session)


def test_input_goes_once_also_what_was_said_last(daemon, peer):
    console = open_console(daemon, peer)
    for _ in range(5):
        console.send(INPUT, 7, b"x" * 10000)
    lose(daemon, console)
    with Resumed(daemon, console.session) as again:
        again.send(INPUT, 7, b"y")
        assert peer.do("receive(50060) == (pack('<III', 10000, 3, 7) + b'x' * 10000) * 5") == "True"
        assert peer.do("receive(13)") == repr(struct.pack("<III", 1, INPUT, 7) + b"y")
        _, cast = end_of(daemon, peer, console.session)
    assert cast.of("i") == b"x" * 50000 + b"y"


def test_what_was_said_last_goes_through_though_nothing_was_read(daemon, peer):
    """The loss may show first where the target's flood cannot be written."""
    for _ in range(10):
        console = open_console(daemon, peer)
        assert peer.do("client.setblocking(False)") == "None"
        assert "BlockingIOError" in peer.do("frame(129, 7, b'x' * (1 << 20))")
        console.send(INPUT, 7, b"y")
        lose(daemon, console)
        assert peer.do("client.setblocking(True)") == "None"
        assert peer.do("receive(13)") == repr(struct.pack("<III", 1, INPUT, 7) + b"y")
        assert end_of(daemon, peer, console.session)[1].of("i") == b"y"


def test_a_plain_console_is_taken_up_again(daemon, target):
    """A client that asks for it has another way to say that it is done."""
    console = daemon.attach(target.pid, linger=True).start()
    assert console.run("kept = 42") == ""
    lose(daemon, console)
    client = daemon.client()
    client.send(f"{BROKER}.Resume", {"session": console.session}, upgrade=True)
    assert client.reply()[1]["framed"] is False
    with Attached(client, {"session": console.session}) as again:
        assert again.until(b"kept = 42\n>>> ").endswith(b">>> kept = 42\n>>> ")
        assert again.run("kept") == "42\n"
        again.half_close()
        again.wait_closed()
    daemon.ended(console.session)


def test_many_times(daemon, target):
    console = daemon.attach(target.pid, framed=True, linger=True)
    console.hello()
    number = console.request(OPEN, "stacks=no\nbanner=no\n")
    console.until(PROMPT, number)
    lose(daemon, console)
    for n in range(20):
        with Resumed(daemon, console.session) as again:
            again.until(PROMPT, number)
            again.send(INPUT, number, f"{n}\n")
            assert again.until(PROMPT, number)[OUTPUT] == f"{n}\n".encode()
        wait_for(lambda: sessions(daemon)[console.session]["state"] == "lingering", "a session that waits")
    assert terminate(daemon, console.session) is None
    _, cast = daemon.ended(console.session)
    assert cast.of("i") == b"".join(b"%d\n" % n for n in range(20))


def test_it_is_taken_over_from_a_client_that_is_still_there(daemon, peer):
    console = open_console(daemon, peer)
    with Resumed(daemon, console.session) as again:
        assert notice(console) == {"kind": "end", "text": "taken up elsewhere"}
        assert console.frame() is None
        assert again.frame() == (PROMPT, 7, b">>> ")
        again.send(INPUT, 7, b"y")
        assert peer.do("receive(13)") == repr(struct.pack("<III", 1, INPUT, 7) + b"y")
        end_of(daemon, peer, console.session)
    console.close()


def test_watchers_stay(daemon, peer):
    console = open_console(daemon, peer)
    with Watcher(daemon, console.session, framed=True) as watcher:
        lose(daemon, console)
        with Resumed(daemon, console.session) as again:
            again.send(INPUT, 7, b"y")
            assert watcher.frame() == (TYPED, 0, b"y")
            end_of(daemon, peer, console.session)


# -------------------------------------------------------------- what does not


@pytest.mark.parametrize("parameters", [{}, {"linger": False}, {"linger": None}])
def test_without_asking_a_lost_client_is_the_end(daemon, peer, parameters):
    console = attach_framed(daemon, peer, **parameters)
    console.send(OPEN, 1)
    console.close()
    daemon.ended(console.session)
    assert not_resumed(daemon, console.session) == "NoSuchSession"


def test_without_a_console_a_lost_client_is_the_end(daemon, target):
    console = daemon.attach(target.pid, framed=True, linger=True)
    console.hello()
    assert console.exec("1")[0]["result"] == "1"
    console.close()
    daemon.ended(console.session)
    console = daemon.attach(target.pid, framed=True, linger=True)
    console.hello()
    number = console.request(OPEN)
    console.send(INPUT, number)
    console.until(END, number)
    console.close()
    daemon.ended(console.session)


def test_a_client_that_says_it_is_done_does_not_linger(daemon, peer):
    console = open_console(daemon, peer)
    console.half_close()
    assert peer.do("receive(1)") == "b''"
    console.close()
    daemon.ended(console.session)


def test_a_client_that_is_lost_within_its_own_frame_is_the_end(daemon, peer):
    """Whatever another client sent would be the rest of it."""
    console = open_console(daemon, peer)
    console.socket.sendall(struct.pack("<III", 10, INPUT, 7) + b"12345")
    console.close()
    assert daemon.ended(console.session)[1].of("i") == b"12345"


def test_the_target_ends_meanwhile(daemon, peer):
    console = open_console(daemon, peer)
    lose(daemon, console)
    end, _ = end_of(daemon, peer, console.session)
    assert end["MANHOLE_REASON"] == "closed by the target"
    assert not_resumed(daemon, console.session) == "NoSuchSession"


def test_it_can_be_terminated(daemon, peer):
    console = open_console(daemon, peer)
    lose(daemon, console)
    assert terminate(daemon, console.session) is None
    daemon.ended(console.session)


def test_resume_wants_upgrade_and_an_id(daemon):
    assert daemon.call(f"{BROKER}.Resume", {"session": "x"}) == (f"{SERVICE}.ExpectedUpgrade", {})
    assert daemon.call(f"{BROKER}.Resume", {}, upgrade=True) == \
        (f"{SERVICE}.InvalidParameter", {"parameter": "session"})
    assert not_resumed(daemon, "0123456789abcdef") == "NoSuchSession"


@needs_root
def test_nobody_types_under_anothers_name(daemon):
    """Not even root: the record says whose session it is."""
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        client = daemon.client(ALICE)
        client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True, "linger": True}, upgrade=True)
        assert peer.do("accept()") == "None"
        assert peer.do("hello()") == "None"
        console = AttachedFrames(client, client.reply()[1])
        console.send(OPEN, 1)
        assert peer.do("len(receive(12))") == "12"
        lose(daemon, console)
        for uid in (BOB, US):
            assert not_resumed(daemon, console.session, uid) == "NotAuthorized"
            assert daemon.events(event="denied", client_uid=uid)
        with Resumed(daemon, console.session, ALICE):
            end_of(daemon, peer, console.session)


@needs_root
def test_the_policy_is_asked_again():
    """It may have changed while nobody was there."""
    with Daemon() as daemon, standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = attach(daemon, peer, uid=ALICE, linger=True)
        lose(daemon, console)
        daemon.config.write_text(f"[Manholed]\nScan={daemon.scan}\n"
                                 f'[Deny "x"]\nUser={ALICE}\nTargetUser=*\nMode=control\n')
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Configuration reloaded" in daemon.said(), "the reload")
        assert not_resumed(daemon, console.session, ALICE) == "NotAuthorized"
        assert daemon.events(event="denied", client_uid=ALICE)
        assert terminate(daemon, console.session) is None
        daemon.ended(console.session)


# ----------------------------------------------------------------------- time


@pytest.mark.parametrize("seconds", ["200ms", "0"])
def test_after_linger_sec_it_is_over(seconds):
    with Daemon(config=f"LingerSec={seconds}") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = open_console(daemon, peer)
        console.close()
        end, _ = daemon.ended(console.session)
        assert end["MANHOLE_REASON"] == ("closed by the client" if seconds == "0" else "its client did not come back")
        assert bool(daemon.events(event="linger")) == (seconds != "0")
        assert peer.do("receive(1)") == "b''"


def test_a_resume_stops_the_clock():
    with Daemon(config="LingerSec=400ms") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = open_console(daemon, peer)
        lose(daemon, console)
        with Resumed(daemon, console.session) as again:
            again.socket.settimeout(0.6)
            again.frame()
            with pytest.raises(TimeoutError):
                again.frame()
            again.socket.settimeout(TIMEOUT)
        daemon.ended(console.session)


def test_those_that_wait_are_counted_as_sessions_and_not_as_connections():
    with Daemon(config="ConnectionsPerUser=2\nSessionsPerUser=2") as daemon, standin(daemon.scan) as peer, \
            daemon.no_leak():
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        consoles = []
        for _ in range(2):
            consoles.append(open_console(daemon, peer))
            lose(daemon, consoles[-1])
        assert daemon.refused(peer.pid) == "TooManySessions"
        with Resumed(daemon, consoles[0].session), daemon.client() as other, daemon.client() as surplus:
            assert other.call(f"{SERVICE}.GetInfo")[0] is None
            assert surplus.reply()[0] == f"{ERROR}.TooManySessions"
        for console in consoles:
            assert terminate(daemon, console.session) is None
