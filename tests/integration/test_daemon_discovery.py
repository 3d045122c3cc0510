# SPDX-License-Identifier: BSD-2-Clause
"""What comes and goes in the folders, and whose socket file is taken away."""
import shutil
import socket

import pytest

from daemonlib import *  # noqa: F403

STALE_AGE = 2.0


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


@pytest.fixture
def peer(daemon):
    with standin(daemon.scan) as t:
        yield t


def socket_of(daemon, peer):
    return daemon.scan / f"manhole-{peer.pid}"


# ------------------------------------------------------------ coming and going


def test_a_new_socket_is_in_the_next_list(daemon):
    for _ in range(20):
        with standin(daemon.scan) as peer:
            assert peer.do("listen()") == "None"
            assert daemon.listed()[peer.pid]["state"] == "live"
            socket_of(daemon, peer).unlink()
            assert peer.pid not in daemon.listed()


def test_a_target_is_described(daemon):
    with application(daemon.scan) as target:
        listed = daemon.listed()[target.pid]
        assert listed["agent"] == "native" and listed["python"].startswith("3.")
        assert listed["uid"] == US and listed["sessions"] == 0
        assert listed["comm"].startswith("python") and "manhole.install" in listed["command"]
        error, status = daemon.call(f"{BROKER}.Status", {"target": str(target.pid)})
        assert error is None and status["target"] == listed
        assert status["allowed"] is True and status["diagnosis"] is None
        assert status["recording"] == f"file:{daemon.record}"


def test_sockets_from_before_the_daemon_are_found(daemon, peer):
    assert peer.do("listen()") == "None"
    with Daemon(f"--scan={daemon.scan}") as other:
        assert other.listed(folder=daemon.scan)[peer.pid]["state"] == "live"


def test_a_folder_named_twice_is_one(daemon, peer):
    """Also under another name: by a link, or with a slash at its end."""
    link = daemon.folder / "link"
    link.symlink_to(daemon.scan)
    assert peer.do("listen()") == "None"
    with Daemon(f"--scan={daemon.scan}", f"--scan={daemon.scan}/", f"--scan={link}", "--scan=/tmp") as other:
        _, reply = other.call(f"{BROKER}.List")
        assert [t["pid"] for t in reply["targets"]].count(peer.pid) == 1
        with other.attach(peer.pid):
            pass


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *ts) {
        int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
        int r = real(clock, ts);
        if (clock == CLOCK_REALTIME)
                ts->tv_sec += 3600;
        return r;
}
"""


@pytest.mark.skipif(os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"), reason="a sanitizer comes first itself")
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a compiler")
def test_a_clock_that_was_set_makes_no_one_untrusted(daemon, peer):
    """Older processes seem to be younger than their sockets; the connection shows whose they are."""
    library = daemon.folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], input=CLOCK.encode(), check=True)
    assert peer.do("listen()") == "None"
    with Daemon(f"--scan={daemon.scan}", env={"LD_PRELOAD": str(library)}) as other:
        assert other.listed(folder=daemon.scan)[peer.pid]["state"] == "live"
        with other.attach(peer.pid):
            assert peer.do("accept()") == "None"


def test_a_renamed_socket_goes_and_comes(daemon, peer):
    assert peer.do("listen()") == "None"
    assert peer.pid in daemon.listed()
    path = socket_of(daemon, peer)
    path.rename(daemon.scan / "elsewhere")
    assert peer.pid not in daemon.listed()
    (daemon.scan / "elsewhere").rename(path)
    assert daemon.listed()[peer.pid]["state"] == "live"


def test_a_socket_replaced_by_another_is_the_other(daemon, peer):
    assert peer.do("listen()") == "None"
    daemon.wait_state(peer.pid, "live")
    for _ in range(50):
        assert peer.do("os.unlink(path); server = socket.socket(socket.AF_UNIX); listen()") == "None"
        assert daemon.listed()[peer.pid]["socket"] == str(socket_of(daemon, peer))
        assert daemon.listed()[peer.pid]["state"] == "live"


def test_two_thousand_sockets_at_once(daemon):
    """More events than one read of inotify takes."""
    sockets = []
    names = range(3_000_000, 3_002_000)
    for n in names:
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(str(daemon.scan / f"manhole-{n}"))
        sockets[-1].listen()
        if len(sockets) > 500:
            sockets.pop(0).close()
    assert set(daemon.listed()) <= set(names)
    for s in sockets:
        s.close()
    wait_for(lambda: not daemon.listed() and not os.listdir(daemon.scan), "all stale ones to go")
    assert {r["MANHOLE_SOCKET"] for r in daemon.removed()} == {f"{daemon.scan}/manhole-{n}" for n in names}


def test_what_came_while_inotify_lost_events_is_found(daemon):
    """More than its queue holds, while the daemon cannot read; nobody asks for a list afterwards."""
    limit = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with standin(daemon.scan) as victim:
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            for n in range(limit // 2 + 10):
                path = daemon.scan / f"x{n}"
                path.touch()
                path.unlink()
            assert victim.do("listen()") == "None"
            victim.kill()
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        daemon.wait_event(event="stale", target_pid=victim.pid)
    assert "inotify has lost events" in daemon.said()


def test_a_folder_made_anew_is_looked_into_again():
    """As a service's RuntimeDirectory= is, whenever the service starts."""
    folder = place().folder()
    with Daemon(f"--scan={folder}") as daemon:
        for _ in range(3):
            with standin(folder) as peer:
                assert peer.do("listen()") == "None"
                assert daemon.listed(folder=folder)[peer.pid]["state"] == "live"
                with daemon.attach(peer.pid):
                    assert peer.do("accept()") == "None"
                shutil.rmtree(folder)
                assert daemon.listed(folder=folder) == {}
            folder.mkdir()


@needs_root
def test_a_service_s_own_tmp_is_looked_into(daemon):
    private = daemon.scan / "systemd-private-abc"
    private.mkdir(0o700)
    (private / "tmp").mkdir()
    (private / "tmp").chmod(0o1777)
    with standin(private / "tmp") as peer:
        assert peer.do("listen()") == "None"
        assert daemon.listed(folder=private / "tmp")[peer.pid]["state"] == "live"
        with daemon.attach(peer.pid):
            assert peer.do("accept()") == "None"
        shutil.rmtree(private)
        assert daemon.listed(folder=private / "tmp") == {}


@needs_root
def test_a_users_folder_of_that_name_is_not(daemon):
    elsewhere, private = place().folder(), daemon.scan / "systemd-private-abc"
    (daemon.folder / "private").mkdir()
    (daemon.folder / "private" / "tmp").mkdir()
    os.chown(daemon.folder / "private", BOB, BOB)
    (daemon.folder / "private").rename(private)
    (daemon.scan / "systemd-private-link").symlink_to(elsewhere)
    (daemon.scan / "systemd-private-file").write_text("")
    (elsewhere / "tmp").mkdir()
    with standin(private / "tmp") as one, standin(elsewhere / "tmp") as two:
        assert one.do("listen()") == two.do("listen()") == "None"
        said = daemon.said()
        for _ in range(3):
            assert daemon.listed(folder=private / "tmp") == {}
            assert daemon.listed(folder=elsewhere / "tmp") == {}
        # Nor can a user fill the log that way.
        assert daemon.said() == said


# ------------------------------------------------------------------- staleness


def test_only_the_dead_are_removed(daemon):
    """One test, since proving "never" takes the time that a removal takes."""
    kept = []
    with standin(daemon.scan) as listening, standin(daemon.scan) as bound, standin(daemon.scan) as closed, \
            sleeper() as named, standin(daemon.scan) as victim:
        assert listening.do("listen()") == "None"
        assert bound.do("bind()") == "None"  # but does not listen yet
        assert closed.do("listen()") == "None"
        assert closed.do("server.close()") == "None"  # the process lives
        # A dead socket in the name of a process that lives: somebody's, but not certainly dead.
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(daemon.scan / f"manhole-{named.pid}"))
        (daemon.scan / "manhole-3999999").write_text("no socket")
        os.mkfifo(daemon.scan / "manhole-3999998")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(daemon.scan / "manhole-39999x"))
        kept = set(os.listdir(daemon.scan))
        assert victim.do("listen()") == "None"
        path = socket_of(daemon, victim)
        born = path.stat().st_ctime
        victim.kill()
        wait_for(lambda: not path.exists(), "the dead one's removal", timeout=8)
        assert time.time() - born >= STALE_AGE - 1  # whole seconds are compared
        stale = daemon.wait_event(event="stale", socket=path)
        assert stale["MANHOLE_TARGET_PID"] == str(victim.pid)
        assert stale["MESSAGE_ID"] and "MANHOLE_SESSION" not in stale
        # A second one, younger than all that are to stay.
        with standin(daemon.scan) as second:
            assert second.do("listen()") == "None"
            path = socket_of(daemon, second)
            second.kill()
            wait_for(lambda: not path.exists(), "the second's removal", timeout=8)
        assert set(os.listdir(daemon.scan)) == kept
        listed = daemon.listed()
        assert listed[listening.pid]["state"] == "live"
        assert listed[bound.pid]["state"] == "live"
        assert listed[closed.pid]["state"] == "stale"
        assert listed[named.pid]["state"] == "stale"
        assert len(daemon.removed()) == 2
        for pid in (closed.pid, named.pid):
            assert daemon.refused(pid) == "TargetGone"
            _, status = daemon.call(f"{BROKER}.Status", {"target": str(pid)})
            assert str(pid) in status["diagnosis"]


def test_a_process_that_ends_at_once_is_stale_all_the_same(daemon):
    """It may die while it is being looked at."""
    pids = []
    for _ in range(10):
        with standin(daemon.scan) as peer:
            peer.tell("listen() or os.kill(os.getpid(), 9)")
            peer.process.wait(TIMEOUT)
            pids.append(peer.pid)
    wait_for(lambda: not os.listdir(daemon.scan), "their removal", timeout=8)
    assert {int(r["MANHOLE_TARGET_PID"]) for r in daemon.removed()} == set(pids)


def test_a_dead_parents_socket_that_a_child_holds_is_orphaned_and_stays(daemon):
    with standin(daemon.scan) as parent:
        assert parent.do("listen()") == "None"
        daemon.wait_state(parent.pid, "live")
        child = int(parent.do("os.fork() or (os.closerange(0, 3), __import__('signal').pause())"))
        try:
            parent.kill()
            daemon.wait_state(parent.pid, "orphaned")
            assert daemon.refused(parent.pid) == "TargetGone"
            _, status = daemon.call(f"{BROKER}.Status", {"target": str(parent.pid)})
            assert "inherited" in status["diagnosis"]
            assert socket_of(daemon, parent).exists()
            # One who has not seen the parent live cannot tell a child from somebody else.
            with Daemon(f"--scan={daemon.scan}") as other:
                assert other.listed(folder=daemon.scan)[parent.pid]["state"] == "untrusted"
                assert other.refused(parent.pid) == "TargetUntrusted"
                assert other.events(event="denied", target_pid=parent.pid)
        finally:
            os.kill(child, signal.SIGKILL)
        # Nothing tells of the child's end; the next list finds out.
        wait_for(lambda: not daemon.listed() and not socket_of(daemon, parent).exists(), "its removal", timeout=8)
        assert daemon.events(event="stale", target_pid=parent.pid)


def test_a_stale_socket_is_reported_and_left():
    """Once; and what was left is removed when the configuration comes to say so."""
    with Daemon(config="RemoveStale=report") as daemon, standin(daemon.scan) as peer:
        path = socket_of(daemon, peer)
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        peer.kill()
        stale = daemon.wait_event(event="stale", target_pid=peer.pid)
        assert stale["MANHOLE_REMOVED"] == "no" and stale["MANHOLE_SOCKET"] == str(path)
        # As long as it takes for another's.
        with standin(daemon.scan) as second:
            assert second.do("listen()") == "None"
            second.kill()
            daemon.wait_event(event="stale", target_pid=second.pid)
            for pid in peer.pid, second.pid:
                assert daemon.listed()[pid]["state"] == "stale"
                assert len(daemon.events(event="stale", target_pid=pid)) == 1
        daemon.config.write_text("[Manholed]\nRemoveStale=yes\n")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(lambda: not path.exists(), "its removal", timeout=8)
        assert daemon.wait_event(event="stale", target_pid=peer.pid, removed="yes")


def test_a_stale_socket_is_left_without_a_word():
    with Daemon(config="RemoveStale=no") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        peer.kill()
        daemon.wait_state(peer.pid, "stale")
        with Daemon(f"--scan={daemon.scan}") as other:
            wait_for(lambda: other.events(event="stale", target_pid=peer.pid), "its removal by another", timeout=8)
        wait_for(lambda: daemon.listed() == {}, "it is gone")
        assert daemon.events(event="stale", target_pid=peer.pid) == []


def test_a_stopped_process_is_said_to_be_stopped(daemon, peer):
    assert peer.do("listen()") == "None"
    daemon.wait_state(peer.pid, "live")
    os.kill(peer.pid, signal.SIGSTOP)
    try:
        daemon.wait_state(peer.pid, "stopped")
        assert daemon.refused(peer.pid) == "TargetGone"
    finally:
        os.kill(peer.pid, signal.SIGCONT)
    daemon.wait_state(peer.pid, "live")


def test_a_socket_closed_without_a_word_is_noticed_at_the_next_list(daemon, peer):
    assert peer.do("listen()") == "None"
    daemon.wait_state(peer.pid, "live")
    assert peer.do("server.close()") == "None"
    daemon.wait_state(peer.pid, "stale")
    assert daemon.refused(peer.pid) == "TargetGone"
    assert peer.do("os.unlink(path); server = socket.socket(socket.AF_UNIX); listen()") == "None"
    daemon.wait_state(peer.pid, "live")
