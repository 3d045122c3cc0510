# SPDX-License-Identifier: BSD-2-Clause
"""A manholed that is started anew goes on with the sessions of the one before, however that ended."""
import fcntl
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from agentlib import BUILD, END, INPUT, OPEN, OUTPUT, PROMPT, TIMEOUT, wait_for
from daemonlib import BROKER, Attached, AttachedFrames, Process, standin
from sessionlib import Watcher, attach, attach_framed, notice, sessions, terminate
from storelib import Stored

SAMPLE = pathlib.Path(__file__).parents[1] / "unit" / "slate-1.bin"

# Says numbered lines and hears numbered lines, as fast as it can; says when all were right.
BUSY_CODE = """
import os, socket, sys, threading
from struct import pack, unpack
path, lines, framed = f"{sys.argv[1]}/manhole-{os.getpid()}", int(sys.argv[2]), sys.argv[3] == "True"
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
print("READY", flush=True)
client, _ = server.accept()
if framed:
    client.sendall(pack("<III", 256, 128, 0) + b"{}".ljust(256))
def say():
    for n in range(lines):
        line = b"out %d\\n" % n
        client.sendall((pack("<III", len(line), 129, 1) if framed else b"") + line)
threading.Thread(target=say).start()
data = client.makefile("rb")
def bodies():
    while framed and (header := data.read(12)):
        yield data.read(unpack("<III", header)[0])
    while not framed and (line := data.readline()):
        yield line
n = 0
for body in bodies():
    if body != b"in %d\\n" % n:
        print(f"wrong: {body!r} instead of {n}", flush=True)
        break
    n += 1
    if n == lines:
        print("all", flush=True)
        break
sys.stdin.read()
"""


@pytest.fixture
def daemon():
    with Stored() as d:
        yield d


@pytest.fixture
def peer(daemon):
    with standin(daemon.scan) as p:
        assert p.do("listen()") == "None"
        daemon.wait_state(p.pid, "live")
        yield p


def keep(daemon, console):
    """What the session needs is with the service manager."""
    wait_for(lambda: {f"client-{console.session}", f"session-{console.session}"} <= set(daemon.names()), "what is stored")
    return console


def events(daemon, session):
    return [e["MANHOLE_EVENT"] for e in daemon.events(session=session)]


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL, signal.SIGABRT])
def test_a_session_goes_on_where_it_was(daemon, peer, how):
    console = keep(daemon, attach(daemon, peer))
    console.send(b"before\n")
    assert peer.do("receive(7)") == repr(b"before\n")
    daemon.restart(how)
    console.send(b"after\n")
    assert peer.do("receive(6)") == repr(b"after\n")
    assert peer.do("client.sendall(b'answer')") == "None"
    console.until(b"answer")
    assert sessions(daemon)[console.session]["state"] == "attached"
    assert peer.do("client.close()") == "None"
    assert console.socket.recv(1) == b""
    end, cast = daemon.ended(console.session)
    assert cast.input == b"before\nafter\n" and cast.output == b"answer"
    assert events(daemon, console.session) == ["start", "restart", "end"]
    assert end["MANHOLE_REASON"] == "closed by the target"
    wait_for(lambda: daemon.names() == [], "nothing is stored")


def test_what_was_said_meanwhile_is_read(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    daemon.process.kill()
    daemon.process.wait(TIMEOUT)
    console.send(b"typed")
    assert peer.do("client.sendall(b'said')") == "None"
    daemon.start()
    assert peer.do("receive(5)") == repr(b"typed")
    console.until(b"said")


@pytest.mark.parametrize("who", ["client", "target"])
def test_who_has_gone_meanwhile_is_missed(daemon, peer, who):
    console = keep(daemon, attach(daemon, peer))
    console.send(b"last ")
    assert peer.do("client.sendall(b'last ')") == "None"
    daemon.process.kill()
    daemon.process.wait(TIMEOUT)
    if who == "client":
        console.send(b"words")
        console.socket.close()
    else:
        assert peer.do("client.sendall(b'words')") == "None"
        assert peer.do("client.close()") == "None"
    daemon.start()
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == f"closed by the {who}"
    assert (cast.input if who == "client" else cast.output) == b"last words"
    wait_for(lambda: daemon.names() == [], "nothing is stored")


def frame(kind, number, payload=b""):
    return struct.pack("<III", len(payload), kind, number) + payload


def open_console(daemon, peer):
    """A framed session that may linger, with a console at its prompt."""
    console = keep(daemon, attach_framed(daemon, peer, linger=True))
    console.send(OPEN, 7)
    assert peer.do("receive(12)") == repr(frame(OPEN, 7))
    assert peer.do("frame(129, 7, b'shown')") == "None"
    assert peer.do("frame(131, 7, b'>>> ')") == "None"
    assert console.frame() == (OUTPUT, 7, b"shown")
    assert console.frame() == (PROMPT, 7, b">>> ")
    return console


def resume(daemon, session):
    client = daemon.client()
    client.send(f"{BROKER}.Resume", {"session": session}, upgrade=True)
    error, reply = client.reply()
    assert error is None, reply
    return AttachedFrames(client, {**reply, "session": session})


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL])
def test_a_session_without_a_client_waits_on(daemon, peer, how):
    console = open_console(daemon, peer)
    console.close()
    wait_for(lambda: sessions(daemon)[console.session]["state"] == "lingering", "a session that waits")
    assert peer.do("frame(129, 7, b'meanwhile')") == "None"
    wait_for(lambda: sessions(daemon)[console.session]["output"] == 256 + 5 + 4 + 9, "what came meanwhile")
    wait_for(lambda: daemon.names() == [f"session-{console.session}"], "nobody's socket is stored no longer")
    daemon.restart(how)
    assert sessions(daemon)[console.session]["state"] == "lingering"
    with resume(daemon, console.session) as again:
        # What was kept for showing is only there when there was time to save it; the record has it.
        if how == signal.SIGUSR1:
            assert again.frame() == (OUTPUT, 7, b"shownmeanwhile")
        assert again.frame() == (PROMPT, 7, b">>> ")
        assert again.answer["missed"] == (0 if how == signal.SIGUSR1 else 9)
        again.send(INPUT, 7, b"on")
        assert peer.do("receive(14)") == repr(frame(INPUT, 7, b"on"))
        assert peer.do("client.close()") == "None"
        assert again.socket.recv(1) == b""
    daemon.ended(console.session)
    assert events(daemon, console.session) == ["start", "linger", "restart", "resume", "end"]


def test_the_time_to_come_back_goes_on():
    with Stored(config="LingerSec=1") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = open_console(daemon, peer)
        console.close()
        daemon.wait_event(event="linger", session=console.session)
        daemon.process.kill()
        daemon.process.wait(TIMEOUT)
        began = time.monotonic()
        daemon.start()
        end, _ = daemon.ended(console.session)
        assert end["MANHOLE_REASON"] == "its client did not come back"
        assert time.monotonic() - began < 3


def test_a_frame_that_is_under_way_is_completed(daemon, peer):
    console = open_console(daemon, peer)
    whole = frame(INPUT, 7, b"0123456789")
    for cut in 5, 17:
        console.socket.sendall(whole[:cut])
        assert peer.do(f"receive({cut})") == repr(whole[:cut])
        daemon.restart(signal.SIGKILL)
        console.socket.sendall(whole[cut:])
        assert peer.do(f"receive({len(whole) - cut})") == repr(whole[cut:])
    assert peer.do("client.close()") == "None"
    _, cast = daemon.ended(console.session)
    assert cast.of("i") == b"0123456789" * 2


def test_what_a_slow_client_has_not_read_waits_for_it(daemon, peer, n=300_000):
    console = keep(daemon, attach(daemon, peer))
    assert peer.do("import threading") == "None"
    assert peer.do(f"data = bytes(i * i % 251 for i in range({n}))") == "None"
    assert peer.do("threading.Thread(target=lambda: (client.sendall(data), client.close())).start()") == "None"
    wait_for(lambda: sessions(daemon)[console.session]["output"] > 65536, "output that waits")
    for how in signal.SIGKILL, signal.SIGUSR1, signal.SIGKILL:
        daemon.restart(how)
    got = b""
    while data := console.socket.recv(65536):
        got += data
    assert got == bytes(i * i % 251 for i in range(n))
    _, cast = daemon.ended(console.session)
    assert cast.output == got


def test_a_half_that_is_closed_stays_closed(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    console.send(b"all")
    console.half_close()
    assert peer.do("receive(100)") == repr(b"all")
    daemon.restart(signal.SIGKILL)
    assert peer.do("client.sendall(b'answer')") == "None"
    console.until(b"answer")
    assert peer.do("client.close()") == "None"
    assert console.socket.recv(1) == b""
    daemon.ended(console.session)


def test_who_watches_is_told_and_may_watch_again(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    with Watcher(daemon, console.session, framed=True) as watcher:
        daemon.restart()
        assert notice(watcher)["kind"] == "end"
    with Watcher(daemon, console.session) as watcher:
        assert peer.do("client.sendall(b'shown')") == "None"
        watcher.until(b"shown")
    wait_for(lambda: events(daemon, console.session) == ["start", "watch", "unwatch", "restart", "watch", "unwatch"],
             "who watched, and no longer does")


def test_a_session_is_ended_like_any_other(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    daemon.restart(signal.SIGKILL)
    wait_for(lambda: daemon.listed()[peer.pid]["sessions"] == 1, "the session is the target's again")
    assert terminate(daemon, console.session) is None
    assert b"terminated" in console.socket.recv(4096)
    assert console.socket.recv(1) == b""
    assert peer.do("receive(1)") == repr(b"")
    daemon.ended(console.session)
    assert daemon.listed()[peer.pid]["sessions"] == 0


def test_a_stop_ends_all_and_leaves_nothing(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    assert daemon.stop() == 0
    assert b"stopping" in console.socket.recv(4096)
    assert console.socket.recv(1) == b""
    end, _ = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == "the daemon is stopping"
    wait_for(lambda: daemon.names() == [], "nothing is stored")


def test_what_finds_no_room_ends_with_the_broker():
    with Stored(env={"FDSTORE": "4"}) as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        first = keep(daemon, attach(daemon, peer))
        second = attach(daemon, peer)
        daemon.restart()
        end, _ = daemon.ended(second.session)
        assert end["MANHOLE_REASON"] == "the daemon is stopping"
        assert list(sessions(daemon)) == [first.session]
        # There is room again when one has ended.
        assert terminate(daemon, first.session) is None
        wait_for(lambda: daemon.names() == [], "nothing is stored")
        keep(daemon, attach(daemon, peer))


@pytest.mark.parametrize("limit", ["SessionsPerUser=1", "ConnectionsPerUser=2"])
def test_what_a_user_has_is_counted_again(limit):
    with Stored(config=limit) as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = keep(daemon, attach(daemon, peer))
        daemon.restart(signal.SIGKILL)
        with daemon.client() as client:
            client.send(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True)
            if limit == "SessionsPerUser=1":
                assert client.reply()[0] == "org.manholed.TooManySessions"
            else:
                assert daemon.client().reply()[0] == "org.manholed.TooManySessions"
                assert peer.do("accept()") == "None"
                assert client.reply()[0] is None


def test_who_is_still_let_in_gets_an_error(daemon, peer):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"  # and no greeting
    daemon.restart()
    assert client.reply()[0] is not None
    end = daemon.wait_event(event="end")
    assert end["MANHOLE_REASON"] == "the daemon is stopping"


@pytest.mark.parametrize("half, why", [("client-", "closed by the client"),
                                       ("session-", None)])
def test_half_of_it_is_no_session(daemon, peer, half, why):
    console = keep(daemon, attach(daemon, peer))
    daemon.process.kill()
    daemon.process.wait(TIMEOUT)
    daemon.drop(half)
    daemon.start()
    if why:
        assert daemon.ended(console.session)[0]["MANHOLE_REASON"] == why
    else:
        assert console.socket.recv(1) == b""
    assert sessions(daemon) == {}
    wait_for(lambda: daemon.names() == [], "nothing is stored")


def slate(daemon, console):
    return next(fd for fd in daemon.stored[f"session-{console.session}"] if os.fstat(fd).st_size)


@pytest.mark.parametrize("at, value, why", [
    (8, 2, "another version of the broker has left it"),
    (48, 0x6e6f6e65, "it was recorded elsewhere than sessions are now"),
    (0, 0, None),
])
def test_what_cannot_be_understood_is_closed_and_recorded(daemon, peer, at, value, why):
    console = keep(daemon, attach(daemon, peer))
    console.send(b"typed")
    assert peer.do("receive(5)") == repr(b"typed")
    daemon.process.kill()
    daemon.process.wait(TIMEOUT)
    os.pwrite(slate(daemon, console), struct.pack("<I", value), at)
    daemon.start()
    assert console.socket.recv(1) == b""
    assert peer.do("receive(1)") == repr(b"")
    wait_for(lambda: daemon.names() == [], "nothing is stored")
    ends = daemon.events(event="end", session=console.session)
    assert [(e["MANHOLE_REASON"], e["MANHOLE_INPUT_BYTES"], e["MANHOLE_SEQ"]) for e in ends] == ([(why, "5", "2")] if why else [])


def test_the_record_of_another_folder_is_not_continued(daemon, peer):
    console = keep(daemon, attach(daemon, peer))
    daemon.process.kill()
    daemon.process.wait(TIMEOUT)
    (daemon.record / f"{console.session}.cast").unlink()
    daemon.start()
    end = daemon.wait_event(event="end", session=console.session)
    assert end["MANHOLE_REASON"] == "its record cannot be continued"
    assert console.socket.recv(1) == b""


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL])
def test_the_record_of_a_session_that_goes_on_is_not_old(how):
    with Stored(config="RetainSec=1s") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        consoles = [keep(daemon, attach(daemon, peer)) for _ in range(8)]
        casts = [daemon.record / f"{console.session}.cast" for console in consoles]
        old = daemon.record / "0123456789abcdef.cast"
        old.write_text("")
        for path in *casts, old:
            os.utime(path, (1, 1))
        daemon.restart(how)
        wait_for(lambda: not old.exists(), "what is old is removed")
        assert all(cast.exists() for cast in casts)
        assert len(sessions(daemon)) == 8


def test_what_version_1_left_goes_on():
    """A session as a manholed of state version 1 left it, in the middle of a frame of input; its sockets are
    made here."""
    head = SAMPLE.read_bytes()
    session = head[24:40].decode()
    fd = os.memfd_create("slate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, head)
    os.ftruncate(fd, struct.unpack_from("<I", head, 12)[0])
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    agent, brokers_agent = socket.socketpair()
    client, brokers_client = socket.socketpair()
    for end in agent, client:
        end.settimeout(TIMEOUT)
    with Stored("--record=none", record=False) as daemon:
        daemon.process.kill()
        daemon.process.wait(TIMEOUT)
        daemon.stored = {f"session-{session}": [fd, os.dup(brokers_agent.fileno())],
                         f"client-{session}": [os.dup(brokers_client.fileno())]}
        brokers_agent.close()
        brokers_client.close()
        daemon.start()
        shown, = sessions(daemon).values()
        assert (shown["session"], shown["comm"], shown["input"], shown["output"]) == (session, "python3", 5, 266)
        client.sendall(b"again" + frame(INPUT, 7, b"next"))
        data = b""
        while len(data) < 5 + 12 + 4:
            data += agent.recv(100)
        assert data == b"again" + frame(INPUT, 7, b"next")
        agent.sendall(frame(END, 7, b"{}"))
        assert client.recv(100) == frame(END, 7, b"{}")
        agent.close()
        assert client.recv(1) == b""
        wait_for(lambda: daemon.names() == [], "nothing is stored")


def test_an_agent_of_another_version_has_its_say(daemon, peer):
    """The broker passes its hello on: what it can do is between it and the client."""
    hello = json.dumps({"agent": "manholed-agent", "version": "0.0.1", "versions": [2]}).encode().ljust(256)
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do(f"frame(128, 0, {hello!r})") == "None"
    error, reply = client.reply()
    assert error is None and reply["framed"] is True
    console = AttachedFrames(client, reply)
    assert console.frame() == (128, 0, hello)
    assert peer.do("client.close()") == "None"
    assert console.socket.recv(1) == b""
    daemon.ended(console.session)


def pump(console, lines, framed):
    for n in range(lines):
        line = b"in %d\n" % n
        console.socket.sendall((struct.pack("<III", len(line), INPUT, 1) if framed else b"") + line)


def hear(console, lines, framed, result):
    if framed:
        for n in range(lines):
            kind, _, body = console.frame()
            assert (kind, body) == (OUTPUT, b"out %d\n" % n)
    else:
        data = console.buffer
        for n in range(lines):
            line = b"out %d\n" % n
            while len(data) < len(line):
                more = console.socket.recv(65536)
                assert more
                data += more
            assert data.startswith(line), (data[:40], n)
            data = data[len(line):]
    result.append("all")


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL])
@pytest.mark.parametrize("framed", [False, True])
def test_a_busy_session_loses_and_doubles_nothing(daemon, how, framed, lines=20000, restarts=12):
    with Process(BUSY_CODE, daemon.scan, lines, framed) as peer:
        daemon.wait_state(peer.pid, "live")
        console = keep(daemon, daemon.attach(peer.pid, framed=framed))
        if framed:
            console.hello()
        heard = []
        threads = [threading.Thread(target=pump, args=(console, lines, framed)),
                   threading.Thread(target=hear, args=(console, lines, framed, heard))]
        for thread in threads:
            thread.start()
        for _ in range(restarts):
            time.sleep(random.uniform(0, 0.05))  # any moment: nothing is waited for
            daemon.restart(how)
        assert peer.line() == "all", daemon.said()
        for thread in threads:
            thread.join(TIMEOUT)
        assert heard == ["all"]
        console.socket.close()
        end, cast = daemon.ended(console.session)
        assert events(daemon, console.session).count("restart") == restarts
        subprocess.run([BUILD / "cli/manholectl", "replay", "--verify", f"--directory={daemon.record}", console.session],
                       check=True, stdout=subprocess.DEVNULL)
        if not framed:
            assert cast.input == b"".join(b"in %d\n" % n for n in range(lines))
            assert cast.output == b"".join(b"out %d\n" % n for n in range(lines))
