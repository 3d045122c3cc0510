# SPDX-License-Identifier: BSD-2-Clause
"""No unrecorded byte: what happens when there is nowhere to record to."""
import contextlib

import pytest

from daemonlib import *  # noqa: F403

# What the broker says when it can record nothing.
LOST = b"\n[manholed: the recorder is lost]\n"


@contextlib.contextmanager
def small_disk(daemon_folder, size):
    """A folder that holds so many bytes."""
    folder = daemon_folder / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def daemon_on_a_small_disk(size="64k"):
    with small_disk(place().folder(0o755), size) as disk, Daemon(f"--record=file:{disk}/rec", record=False) as daemon:
        daemon.record = disk / "rec"
        yield daemon, disk


def fill(disk):
    """Takes all of the room."""
    path = disk / "ballast"
    with open(path, "wb", buffering=0) as f:
        with contextlib.suppress(OSError):
            while True:
                f.write(b"x" * 4096)
    return path


def every_line_is_whole(daemon):
    for path in daemon.record.iterdir():
        for line in path.read_text().splitlines():
            json.loads(line)


@needs_root
def test_nothing_reaches_the_target_that_could_not_be_recorded():
    with daemon_on_a_small_disk() as (daemon, disk), standin(daemon.scan) as peer, standin(daemon.scan) as other:
        for p in (peer, other):
            assert p.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        daemon.wait_state(other.pid, "live")
        with daemon.no_leak():
            console = daemon.attach(peer.pid)
            assert peer.do("accept()") == "None"
            console.send(b"recorded\n")
            assert peer.do("receive(9)") == "b'recorded\\n'"
            ballast = fill(disk)
            console.send(b"not recorded\n" * 1000)
            assert console.wait_closed() == LOST
            console.close()
            received = eval(peer.do("receive(100000)"))
            # What did reach it is recorded to the byte.
            cast = Cast(daemon.record / f"{console.session}.cast")
            assert cast.input == b"recorded\n" + received
            assert len(received) < 13000
            # Nobody gets a new session, and everything else is served.
            assert daemon.refused(other.pid) == "RecorderUnavailable"
            assert len(list(daemon.record.glob("*.cast"))) == len(daemon.events(event="start")) == 1
            assert daemon.serves() and other.pid in daemon.listed()
            assert "BlockingIOError" in other.do("server.setblocking(False) or accept()")
            assert "cannot be recorded" in daemon.said()
        # With room again it goes on, and no line before or after is torn.
        ballast.unlink()
        with daemon.attach(other.pid) as console:
            assert other.do("server.setblocking(True)") == "None"
            assert other.do("accept()") == "None"
        every_line_is_whole(daemon)
        daemon.ended(console.session)


@needs_root
def test_output_that_cannot_be_recorded_does_not_reach_the_client():
    with daemon_on_a_small_disk() as (daemon, disk), standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = daemon.attach(peer.pid)
        assert peer.do("accept()") == "None"
        fill(disk)
        peer.tell("client.sendall(b'o' * 50000)")
        got = console.wait_closed().removesuffix(LOST)
        console.close()
        peer.line()
        assert Cast(daemon.record / f"{console.session}.cast").output.removesuffix(LOST) == got
        assert len(got) < 50000


@needs_root
@pytest.mark.parametrize("data", [b"text ", b"\xff\r"], ids=["text", "bytes"])
def test_a_full_disk_tears_no_line(data):
    """What of a line still had room is taken back, or it would spoil the next one."""
    with daemon_on_a_small_disk() as (daemon, disk), standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = daemon.attach(peer.pid)
        assert peer.do("accept()") == "None"
        ballast = fill(disk)
        # Up to the end of the page that the file has already, and over it.
        with contextlib.suppress(ConnectionError):
            while True:
                console.send(data * 20)
        assert console.wait_closed() == LOST
        console.close()
        every_line_is_whole(daemon)
        received = eval(peer.do("receive(1000000)"))
        assert Cast(daemon.record / f"{console.session}.cast").input == received
        ballast.unlink()
        with daemon.attach(peer.pid) as after:
            pass
        daemon.ended(after.session)
        every_line_is_whole(daemon)


def test_a_folder_that_is_closed_to_us_means_no_session(daemon):
    """Also for root: manholed has no capability to pass over the mode."""
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with daemon.attach(peer.pid) as running:
            assert peer.do("accept()") == "None"
            daemon.record.chmod(0o500)
            assert daemon.refused(peer.pid) == "RecorderUnavailable"
            # One that has its file goes on.
            running.send(b"on\n")
            assert peer.do("receive(3)") == "b'on\\n'"
        daemon.record.chmod(0o700)
        daemon.ended(running.session)
        with daemon.attach(peer.pid) as again:
            assert peer.do("accept()") == "None"
        daemon.ended(again.session)


def test_files_are_private(daemon):
    with application(daemon.scan) as target:
        with daemon.attach(target.pid) as console:
            console.start()
        daemon.ended(console.session)
    assert daemon.record.stat().st_mode & 0o7777 == 0o700
    for path in daemon.record.iterdir():
        assert path.stat().st_mode & 0o7777 == 0o600


def test_a_session_that_never_opened_is_recorded_too(daemon):
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        client = daemon.client()
        client.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
        assert peer.do("accept()") == "None"
        peer.kill()
        assert client.reply()[0] == f"{ERROR}.TargetGone"
        client.close()
        start, end = daemon.wait_event(event="start"), daemon.wait_event(event="end")
        assert start["MANHOLE_SESSION"] == end["MANHOLE_SESSION"]
        assert end["MANHOLE_SEQ"] == "1"
        daemon.ended(end["MANHOLE_SESSION"])


def test_a_client_s_reason_cannot_forge_a_record(daemon):
    forged = 'x"}\n{"MANHOLE_EVENT":"end"}\x1b[31m\u202e'
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with daemon.attach(peer.pid, reason=forged) as console:
            assert peer.do("accept()") == "None"
        daemon.ended(console.session)
    start, = daemon.events(event="start")
    assert start["MANHOLE_REASON"] == forged
    assert len(daemon.events()) == 2
    text = (daemon.record / "events.jsonl").read_text()
    assert "\x1b" not in text and len(text.splitlines()) == 2


def test_a_process_name_cannot_forge_a_line(daemon):
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        assert peer.do(r"open('/proc/self/comm', 'w').write('\x1b[2J\nend')") == "8"
        wait_for(lambda: "\\x1b" in daemon.listed()[peer.pid]["comm"], "the new name")
        listed = daemon.listed()[peer.pid]
        assert "\x1b" not in listed["comm"] and "\n" not in listed["comm"]
        with daemon.attach(peer.pid) as console:
            assert peer.do("accept()") == "None"
        end, _ = daemon.ended(console.session)
        assert "\x1b" not in end["MANHOLE_TARGET_COMM"] and "\n" not in end["MESSAGE"]


def test_without_a_record_it_says_so():
    with Daemon("--record=none", record=False) as daemon, application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        with daemon.attach(target.pid) as console:
            assert console.answer["recording"] == "none"
            assert console.start().run("1") == "1\n"
