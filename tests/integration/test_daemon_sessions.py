# SPDX-License-Identifier: BSD-2-Clause
"""Sessions through the broker: bytes and frames both ways, all ends, and what is recorded of them."""
import contextlib
import hashlib
import socket
import struct

import pytest

from daemonlib import *  # noqa: F403
from agentlib import ANSWER, END, EXEC, INPUT, INTERRUPT, OPEN, OUTPUT, PROMPT

MB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_leaks(request):
    """Whatever happened in a session: its descriptors are gone, and others are served."""
    daemon = request.getfixturevalue("daemon")
    with daemon.no_leak():
        yield
    assert daemon.serves()


def attach(daemon, peer, **parameters):
    """A session whose other end the peer has accepted."""
    console = daemon.attach(peer.pid, **parameters)
    assert peer.do("accept()") == "None"
    return console


def received(peer, n):
    return eval(peer.do(f"receive({n})"))


# ----------------------------------------------------------------- plain face


def test_a_plain_console_evaluates_and_is_recorded(daemon, target):
    with daemon.attach(target.pid, reason="ticket 7") as console:
        assert console.answer["framed"] is False
        assert console.answer["target"]["pid"] == target.pid
        assert console.answer["recording"] == f"file:{daemon.record}"
        console.start()
        assert console.run("6 * 7") == "42\n"
        console.half_close()
        console.wait_closed()
    end, cast = daemon.ended(console.session)
    assert cast.input == b"6 * 7\n"
    assert b"42\n" in cast.output
    start, = daemon.events(event="start", session=console.session)
    assert start["MANHOLE_REASON"] == "ticket 7"
    assert start["MANHOLE_TARGET_PID"] == end["MANHOLE_TARGET_PID"] == str(target.pid)
    assert start["MANHOLE_CLIENT_UID"] == str(US)
    assert start["MANHOLE_CLIENT_PID"] == str(os.getpid())
    assert start["MANHOLE_SEQ"] == "0"


def test_bytes_behind_the_call_are_the_consoles(daemon, target):
    with daemon.attach(target.pid, behind=b"'be' + 'hind'\n") as console:
        console.start()
        assert console.until(b">>> ") == b"'behind'\n>>> "
    assert daemon.ended(console.session)[1].input == b"'be' + 'hind'\n"


def test_all_byte_values_pass_both_ways(daemon, peer):
    data = bytes(range(256)) * 40
    with attach(daemon, peer) as console:
        console.send(data)
        assert received(peer, len(data)) == data
        assert peer.do(f"client.sendall({data!r})") == "None"
        while len(console.buffer) < len(data):
            assert console.receive()
        assert console.buffer == data
    _, cast = daemon.ended(console.session)
    assert cast.input == cast.output == data


def test_several_sessions_on_one_target(daemon, target):
    with contextlib.ExitStack() as stack:
        consoles = [stack.enter_context(daemon.attach(target.pid)).start() for _ in range(8)]
        for n, console in enumerate(consoles):
            assert console.run(f"mine = {n}") == ""
        assert daemon.listed()[target.pid]["sessions"] == 8
        for n, console in enumerate(consoles):
            assert console.run("mine") == f"{n}\n"
    assert len({console.session for console in consoles}) == 8
    for n, console in enumerate(consoles):
        assert daemon.ended(console.session)[1].input == f"mine = {n}\nmine\n".encode()
    wait_for(lambda: daemon.listed()[target.pid]["sessions"] == 0, "no session")


def test_the_target_closes(daemon, peer):
    with attach(daemon, peer) as console:
        assert peer.do("client.sendall(b'last words')") == "None"
        assert peer.do("client.close()") == "None"
        assert console.wait_closed() == b"last words"
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == "closed by the target"
    assert cast.output == b"last words"


def test_the_target_is_killed_mid_session(daemon, target):
    with daemon.attach(target.pid) as console:
        console.start()
        assert console.run("1") == "1\n"
        console.send("import time; print('going'); time.sleep(1000)\n")
        console.until(b"going\n")
        target.kill()
        console.wait_closed()
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == "closed by the target"
    assert cast.output.endswith(b"going\n")
    assert end["MANHOLE_TARGET_PID"] == str(target.pid)
    assert daemon.refused(target.pid) in ("NoSuchTarget", "TargetGone")


@pytest.mark.parametrize("busy", [False, True])
def test_a_session_never_keeps_a_process_alive(daemon, target, busy):
    """As a direct one does. A framed client is told."""
    with daemon.attach(target.pid, framed=True) as framed, daemon.attach(target.pid) as plain:
        framed.hello()
        number = framed.request(OPEN)
        framed.until(PROMPT, number)
        plain.start()
        if busy:
            plain.send("exec('print(\"go\")\\nwhile True: pass')\n")
            plain.until(b"go\n")
        target.process.stdin.close()
        assert target.process.wait(TIMEOUT) == 0
        assert json.loads(framed.until(END, number)[END])["reason"] == "stopping"
        assert framed.frame() is None
        plain.wait_closed()
    for console in (framed, plain):
        assert daemon.ended(console.session)[0]["MANHOLE_REASON"] == "closed by the target"


def test_the_client_closes_its_side_and_gets_the_rest(daemon, peer):
    with attach(daemon, peer) as console:
        console.send(b"question")
        console.half_close()
        assert received(peer, 100) == b"question"  # up to the end of file
        peer.tell("client.sendall(b'answer' * 100000); client.close()")
        assert console.wait_closed() == b"answer" * 100000
    end, cast = daemon.ended(console.session)
    assert cast.output == b"answer" * 100000


def test_the_client_vanishes(daemon, peer):
    with attach(daemon, peer) as console:
        console.send(b"x")
        assert received(peer, 1) == b"x"
    assert received(peer, 1) == b""
    assert daemon.ended(console.session)[0]["MANHOLE_REASON"] == "closed by the client"


def test_the_client_vanishes_mid_output(daemon, target):
    console = daemon.attach(target.pid).start()
    console.send("for i in range(10**6): print('x' * 100)\n\n")
    console.until(b"x" * 100)
    console.close()
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] in ("client lost", "closed by the client")
    with daemon.attach(target.pid) as other:
        assert other.start().run("1") == "1\n"


def test_the_client_vanishes_after_it_closed_its_side(daemon, peer):
    """Nothing is read from it any more, and nothing may be on the way to it."""
    console = attach(daemon, peer)
    console.half_close()
    assert received(peer, 1) == b""
    console.close()
    assert daemon.ended(console.session)[0]["MANHOLE_REASON"] in ("client lost", "closed by the client")


def test_the_client_vanishes_while_the_target_does_not_read(daemon, peer):
    console = attach(daemon, peer)
    console.socket.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            console.send(b"x" * 65536)
    console.close()
    assert daemon.ended(console.session)[0]["MANHOLE_REASON"] in ("client lost", "closed by the client")


def test_the_client_resets(daemon, peer):
    """It leaves with bytes unread."""
    console = attach(daemon, peer)
    assert peer.do("client.sendall(b'unread')") == "None"
    assert console.socket.recv(1) == b"u"
    console.close()
    daemon.ended(console.session)


# --------------------------------------------------------------------- volume


def test_20_mb_arrive_and_are_recorded_completely(daemon, peer):
    with attach(daemon, peer) as console:
        peer.tell("client.sendall(bytes(range(256)) * (20 * 4096)); client.close()")
        digest, n = hashlib.sha256(), 0
        while data := console.socket.recv(1 << 16):
            digest.update(data)
            n += len(data)
    expected = hashlib.sha256(bytes(range(256)) * (20 * 4096)).digest()
    assert n == 20 * MB and digest.digest() == expected
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_OUTPUT_BYTES"] == str(20 * MB)
    assert hashlib.sha256(cast.output).digest() == expected


def test_20_mb_printed_by_a_console_are_recorded_completely(daemon, target):
    with daemon.attach(target.pid) as console:
        console.start()
        console.send("import sys; _ = sys.stdout.write('0123456789abcdef' * (20 * 65536) + '\\n')\n")
        text = console.until(b"\n>>> ")
    assert text == b"0123456789abcdef" * (20 * 65536) + b"\n>>> "
    end, cast = daemon.ended(console.session)
    assert text in cast.output


def test_a_slow_client_costs_bounded_memory_and_delays_nobody(daemon, peer, target):
    before = daemon.resident()
    slow = attach(daemon, peer)
    peer.tell("client.sendall(b'x' * (64 << 20))")
    console = daemon.attach(target.pid).start()
    for n in range(200):
        assert console.run(str(n)) == f"{n}\n"
    assert daemon.resident() - before < 2 * MB
    console.close()
    slow.close()
    daemon.ended(slow.session)


# --------------------------------------------------------------------- frames


def test_a_framed_console(daemon, target):
    with daemon.attach(target.pid, framed=True) as console:
        assert console.answer["framed"] is True
        assert console.hello()["pid"] == target.pid
        number = console.request(OPEN, "stacks=no\n")
        console.send(INPUT, number, "6 * 7\n")
        console.send(INPUT, number)
        seen = console.until(END, number)
        assert b"42\n" in seen[OUTPUT]
        assert json.loads(seen[END])["reason"] == "eof"
    end, cast = daemon.ended(console.session)
    assert cast.of("open") == b"stacks=no\n"
    assert cast.of("i") == b"6 * 7\n"
    assert ("i", b"") in cast.pieces  # the end of input is an act, and kept
    assert b"42\n" in cast.of("o")


def test_a_framed_exec_and_interrupt(daemon, target):
    with daemon.attach(target.pid, framed=True) as console:
        console.hello()
        assert console.exec("print('out'); 5")[1] == "out\n"
        number = console.request(EXEC, "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)")
        while b"begun" not in (frame := console.frame())[2]:
            pass
        console.send(INTERRUPT, number)
        end, _, _ = console.exec_end(number)
        assert end["exception"]["type"] == "KeyboardInterrupt"
    _, cast = daemon.ended(console.session)
    assert ("interrupt", b"") in cast.pieces
    assert cast.of("i").startswith(b"print('out'); 5import time")


def test_a_frame_of_one_mib_passes(daemon, target):
    code = "x = '" + "y" * (MB - 13) + "'\nlen(x)"
    assert len(code) == MB
    with daemon.attach(target.pid, framed=True) as console:
        console.hello()
        end, _, _ = console.exec(code)
        assert end["result"] == str(MB - 13)
    assert daemon.ended(console.session)[1].of("i") == code.encode()


@pytest.mark.parametrize("header", [
    (MB + 1, INPUT, 1), (0xFFFFFFFF, INPUT, 1), (0, 0, 1), (0, 11, 1), (4, 77, 1), (0, ANSWER, 1), (0, 0xFFFFFFFF, 1),
])
def test_a_bad_frame_of_the_client_ends_the_session(daemon, peer, header):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("hello()") == "None"
    error, reply = client.reply()
    assert error is None and reply["framed"] is True
    console = AttachedFrames(client, reply)
    console.hello()
    console.send(OPEN, 1, b"banner=no\n")
    console.socket.sendall(struct.pack("<III", *header) + b"\x55\x55\x55\x55")
    kind, number, payload = console.frame()
    assert (kind, number, json.loads(payload)) == (192, 0, {"kind": "end", "text": "protocol error of the client"})
    assert console.wait_closed() == b""
    end, cast = daemon.ended(console.session)
    assert end["MANHOLE_REASON"] == "protocol error of the client"
    assert cast.of("open") == b"banner=no\n"
    # What was good has reached the target, what was bad has not: the relay cuts before the payload.
    passed = received(peer, 1000)
    assert passed.startswith(struct.pack("<III", 10, OPEN, 1) + b"banner=no\n")
    assert b"\x55\x55\x55\x55" not in passed


@pytest.mark.parametrize("kind, length", [(1, 0), (200, 0), (OUTPUT, MB + 1)])
def test_a_bad_frame_of_the_target_ends_the_session(daemon, peer, kind, length):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("hello()") == "None"
    console = AttachedFrames(client, client.reply()[1])
    console.hello()
    assert peer.do(f"client.sendall(pack('<III', {length}, {kind}, 1))") == "None"
    console.wait_closed()
    assert daemon.ended(console.session)[0]["MANHOLE_REASON"] == "protocol error of the target"


# ----------------------------------------- a console that does not know frames


def test_a_console_that_speaks_text_is_served_in_plain(daemon, peer):
    """A stand-in for the pure-Python package in this one respect: it writes text at connect."""
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("client.sendall(b'Python 3.11\\n>>> ')") == "None"
    error, reply = client.reply()
    assert error is None and reply["framed"] is False
    with Attached(client, reply) as console:
        assert console.until(b">>> ") == b"Python 3.11\n>>> "
        console.send("1\n")
        assert received(peer, 2) == b"1\n"
    assert daemon.ended(console.session)[1].input == b"1\n"


def test_a_console_that_is_silent_is_served_in_plain(daemon, peer):
    """The interpreter of the pure-Python package may be busy: after two seconds it is plain."""
    with attach(daemon, peer, framed=True) as console:
        assert console.answer["framed"] is False
        assert peer.do("client.sendall(b'late')") == "None"
        assert console.until(b"late") == b"late"
    assert daemon.ended(console.session)[1].output == b"late"


def test_a_console_that_closes_at_once(daemon, peer):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    assert peer.do("client.close()") == "None"
    error, reply = client.reply()
    assert error == f"{ERROR}.TargetGone" and reply["reason"]
    end = daemon.wait_event(event="end")
    assert end["MANHOLE_OUTPUT_BYTES"] == "0"
    # The connection goes on as it was: no upgrade has happened.
    assert client.call(f"{SERVICE}.GetInfo")[0] is None
    client.close()


def test_the_client_leaves_before_the_console_is_there(daemon, peer):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    client.close()
    assert received(peer, 1) == b""
    end = daemon.wait_event(event="end")
    assert end["MANHOLE_INPUT_BYTES"] == end["MANHOLE_OUTPUT_BYTES"] == "0"


def test_the_target_dies_before_the_console_is_there(daemon, peer):
    client = daemon.client()
    client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
    assert peer.do("accept()") == "None"
    peer.kill()
    assert client.reply()[0] == f"{ERROR}.TargetGone"
    daemon.wait_event(event="end")
    client.close()


def test_a_target_that_accepts_nobody(daemon):
    """Its backlog is full: an error after two seconds, and others are served meanwhile."""
    with standin(daemon.scan) as peer:
        assert peer.do("bind()") == "None"
        assert peer.do("server.listen(0)") == "None"
        with socket.socket(socket.AF_UNIX) as one, daemon.client() as client:
            one.connect(f"{daemon.scan}/manhole-{peer.pid}")
            client.send(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True)
            assert daemon.serves()
            assert client.reply()[0] == f"{ERROR}.TargetGone"
