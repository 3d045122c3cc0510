# SPDX-License-Identifier: BSD-2-Clause
"""Who is let in, and into what: the policy, and who is at the other end of a socket."""
import shutil
import socket
import struct

import pytest

from daemonlib import *  # noqa: F403


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


@pytest.fixture
def alices(daemon):
    """A target of Alice's."""
    with standin(daemon.scan, uid=ALICE) as t:
        assert t.do("listen()") == "None"
        daemon.wait_state(t.pid, "live")
        yield t


def credentials(peer):
    """pid, uid, gid of who has connected, as the target's kernel says."""
    return struct.unpack("iII", eval(peer.do("client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)")))


def nobody_came(peer):
    """Nothing has connected to the peer, or what has was closed without a byte."""
    assert peer.do("server.setblocking(False)") == "None"
    answer = peer.do("accept()")
    return "BlockingIOError" in answer or eval(peer.do("receive(1)")) == b""


# --------------------------------------------------------------------- policy


@needs_root
def test_a_user_may_enter_an_own_process(daemon, alices):
    with daemon.attach(alices.pid, uid=ALICE) as console:
        assert alices.do("accept()") == "None"
        assert credentials(alices)[1:2] == (ALICE,)
    start = daemon.wait_event(event="start", session=console.session)
    assert start["MANHOLE_CLIENT_UID"] == start["MANHOLE_TARGET_UID"] == str(ALICE)
    assert start["MANHOLE_CLIENT_USER"] == str(ALICE)  # this uid has no name
    daemon.ended(console.session)


@needs_root
def test_root_may_enter_every_process(daemon, alices):
    with daemon.attach(alices.pid) as console:
        assert alices.do("accept()") == "None"
        assert credentials(alices)[1] == 0
    assert daemon.ended(console.session)[0]["MANHOLE_CLIENT_USER"] == "root"


@needs_root
def test_a_user_may_not_enter_somebody_elses_process(daemon, alices):
    for target in (alices.pid, f"{daemon.scan}/manhole-{alices.pid}"):
        assert daemon.refused(target, uid=BOB, reason="curious") == "NotAuthorized"
    error, reply = daemon.call(f"{BROKER}.Status", {"target": str(alices.pid)}, uid=BOB)
    assert error == f"{ERROR}.NotAuthorized" and reply["reason"]
    assert nobody_came(alices)
    denied = daemon.events(event="denied")
    assert len(denied) == 2
    for record in denied:
        assert record["MANHOLE_CLIENT_UID"] == str(BOB)
        assert record["MANHOLE_CLIENT_PID"] == str(os.getpid())
        assert record["MANHOLE_TARGET_PID"] == str(alices.pid)
        assert record["MANHOLE_TARGET_UID"] == str(ALICE)
        assert record["MANHOLE_SOCKET"] == f"{daemon.scan}/manhole-{alices.pid}"
    assert not daemon.events(event="start")


@needs_root
def test_a_list_shows_what_the_caller_may_enter(daemon, alices):
    with standin(daemon.scan, uid=BOB) as bobs, standin(daemon.scan) as roots:
        for peer in (bobs, roots):
            assert peer.do("listen()") == "None"
        assert set(daemon.listed(uid=ALICE)) == {alices.pid}
        assert set(daemon.listed(uid=BOB)) == {bobs.pid}
        assert set(daemon.listed()) == {alices.pid, bobs.pid, roots.pid}
        assert {t["uid"] for t in daemon.listed().values()} == {0, ALICE, BOB}


@needs_root
@pytest.mark.parametrize("change", [
    f"os.setresuid({ALICE}, {ALICE}, 0)", f"os.setresuid(0, {ALICE}, 0)", f"os.setresuid({ALICE}, 0, 0)",
    f"os.setresuid({ALICE}, {ALICE}, {BOB})",
])
def test_a_process_of_mixed_uids_is_roots(daemon, change):
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        assert peer.do(change) == "None"
        assert daemon.refused(peer.pid, uid=ALICE) == "NotAuthorized"
        assert peer.pid not in daemon.listed(uid=ALICE)
        with daemon.attach(peer.pid):
            assert peer.do("accept()") == "None"


@needs_root
def test_a_process_that_becomes_a_users_is_that_users(daemon):
    """A server that binds as root and then drops its privileges."""
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        assert daemon.refused(peer.pid, uid=ALICE) == "NotAuthorized"
        assert peer.do(f"os.setresuid({ALICE}, {ALICE}, {ALICE})") == "None"
        wait_for(lambda: daemon.listed()[peer.pid]["uid"] == ALICE, "the new uid")
        assert daemon.listed()[peer.pid]["state"] == "live"
        assert set(daemon.listed(uid=ALICE)) == {peer.pid}
        with daemon.attach(peer.pid, uid=ALICE):
            assert peer.do("accept()") == "None"


@needs_root
def test_a_framed_client_shows_its_uid_and_the_protocols_name(daemon, alices):
    client = daemon.client(ALICE)
    client.send(f"{BROKER}.Attach", {"target": str(alices.pid), "framed": True}, upgrade=True)
    assert alices.do("accept()") == "None"
    assert credentials(alices)[1] == ALICE
    assert eval(alices.do("client.getpeername()")).startswith(b"\0manhole/1/")
    assert alices.do("hello()") == "None"
    assert client.reply()[1]["framed"] is True
    client.close()
    daemon.wait_event(event="end")


@needs_root
def test_a_users_process_in_a_folder_that_only_root_may_enter(daemon):
    """As with PrivateTmp=yes: the connection is the user's all the same."""
    private = daemon.scan / "systemd-private-x"
    private.mkdir(0o700)
    (private / "tmp").mkdir()
    (private / "tmp").chmod(0o1777)
    with standin(".", uid=ALICE, cwd=private / "tmp") as peer:
        assert peer.do("listen()") == "None"
        wait_for(lambda: daemon.listed(uid=ALICE, folder=private / "tmp")[peer.pid]["state"] == "live", "the target")
        for uid in (ALICE, US):
            with daemon.attach(peer.pid, uid=uid):
                assert peer.do("accept()") == "None"
                assert credentials(peer)[1] == uid
    shutil.rmtree(private)


# A user namespace of its own; who it maps is the test's to say (user_namespaces(7)).
UNSHARE = "__import__('ctypes').CDLL(None).unshare(0x10000000)"

REMAPPED_AGENT = f"""
import os, sys, manhole
assert {UNSHARE} == 0
print("READY", flush=True)
sys.stdin.readline()
manhole.install(socket_path=f"{{sys.argv[1]}}/manhole-{{os.getpid()}}", verbose=False)
print(os.getuid(), flush=True)
sys.stdin.read()
"""


def remap(pid, *lines):
    for name in "uid_map", "gid_map":
        pathlib.Path(f"/proc/{pid}/{name}").write_text("".join(f"{line}\n" for line in lines))


@needs_root
@pytest.mark.parametrize("lines, seen", [
    ([f"0 {ALICE} 1"], {US: 0, ALICE: 0}),                   # as podman without root
    ([f"0 {BOB} 1", f"1000 {ALICE} 1"], {US: 1000, ALICE: 1000}),  # not even as its root
    ([f"5 0 1", f"1000 {ALICE} 1"], {US: 5, ALICE: 1000}),   # root is somebody else there
    (["0 0 4294967294"], {US: 0, ALICE: ALICE}),
])
def test_who_connects_is_whom_the_targets_user_namespace_knows(daemon, lines, seen):
    with standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do(UNSHARE) == "0"
        remap(peer.pid, *lines)
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        for uid, inside in seen.items():
            with daemon.attach(peer.pid, uid=uid):
                assert peer.do("accept()") == "None"
                assert credentials(peer)[1] == inside


@needs_root
def test_an_agent_in_a_user_namespace_without_root_lets_the_broker_in(daemon):
    with Process(REMAPPED_AGENT, daemon.scan, uid=ALICE) as app:
        remap(app.pid, f"0 {ALICE} 1")
        app.tell("go")
        assert app.line() == "0"
        daemon.wait_state(app.pid, "live")
        for uid in US, ALICE:
            with daemon.attach(app.pid, uid=uid) as console:
                console.start()
        assert daemon.refused(app.pid, uid=BOB) == "NotAuthorized"


@needs_root
def test_manholectl_as_a_user_with_a_real_agent(daemon, build):
    program = place().path / "manholectl"
    shutil.copy2(build / "cli" / "manholectl", program)
    with application(daemon.scan, uid=ALICE) as alices:
        daemon.wait_state(alices.pid, "live")
        run = lambda uid, *argv: subprocess.run(  # noqa: E731
            [program, f"--control={daemon.control}", *map(str, argv)], capture_output=True, text=True,
            timeout=TIMEOUT, cwd="/", **as_user(uid))
        done = run(ALICE, "exec", alices.pid, "import os; print(os.getuid())")
        assert (done.returncode, done.stdout) == (0, f"{ALICE}\n")
        assert str(alices.pid) in run(ALICE, "list", "--json=short").stdout
        assert str(alices.pid) not in run(BOB, "list", "--json=short").stdout
        assert run(BOB, "exec", alices.pid, "1").returncode == 4
    daemon.wait_event(event="denied", client_uid=BOB)


# ------------------------------------------------------------------- identity


@needs_root
def test_another_users_socket_in_a_process_s_name_is_untrusted(daemon):
    with sleeper(ALICE) as alices, standin(daemon.scan, name=alices.pid, uid=BOB) as squatter:
        assert squatter.do("listen()") == "None"
        daemon.wait_state(alices.pid, "untrusted")
        for uid in (ALICE, US):
            assert daemon.refused(alices.pid, uid=uid) == "TargetUntrusted"
        assert "BlockingIOError" in squatter.do("server.setblocking(False) or accept()")
        assert len(daemon.events(event="denied", target_pid=alices.pid)) == 2
        assert not daemon.events(event="start")


def test_another_process_of_the_same_user_is_untrusted(daemon):
    with sleeper() as named, standin(daemon.scan, name=named.pid) as squatter:
        assert squatter.do("listen()") == "None"
        assert named.pid in daemon.listed()
        client = daemon.client()
        client.send(f"{BROKER}.Attach", {"target": str(named.pid)}, upgrade=True, behind=b"secret\n")
        error, reply = client.reply()
        assert error == f"{ERROR}.TargetUntrusted"
        client.close()
        assert squatter.do("accept()") == "None"
        assert squatter.do("receive(100)") == "b''"
        assert daemon.wait_event(event="denied", target_pid=named.pid)["MANHOLE_REASON"] == reply["reason"]
        # It stays so, and says why: not that the users differ, for they do not.
        assert daemon.listed()[named.pid]["state"] == "untrusted"
        _, again = daemon.call(f"{BROKER}.Attach", {"target": str(named.pid)}, upgrade=True)
        assert "uid" not in again["reason"]
        assert nobody_came(squatter)


@needs_root
def test_a_squatter_does_not_hide_the_true_socket(daemon):
    """The true one lies in a service's own /tmp; whoever takes the name in the common one gains nothing."""
    private = daemon.scan / "systemd-private-x"
    private.mkdir(0o700)
    (private / "tmp").mkdir()
    with standin(private / "tmp") as true, standin(daemon.scan, name=true.pid, uid=BOB) as squatter:
        assert true.do("listen()") == squatter.do("listen()") == "None"
        daemon.wait_state(true.pid, "untrusted")
        daemon.wait_state(true.pid, "live", private / "tmp")
        with daemon.attach(true.pid) as console:
            assert console.answer["target"]["socket"] == f"{private}/tmp/manhole-{true.pid}"
            assert true.do("accept()") == "None"
        assert nobody_came(squatter)
    shutil.rmtree(private)


# A server that gives its uid away and keeps the power to take it back (capabilities(7)).
KEEP_SETUID = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def drop(uid):
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setresuid(uid, uid, uid)
def rise():
    header = struct.pack("Ii", 0x20080522, 0)
    assert libc.capset(header, struct.pack("6I", 1 << 7, 1 << 7, 0, 0, 0, 0)) == 0  # CAP_SETUID
    os.setresuid(0, 0, 0)
"""


@needs_root
def test_a_process_that_changes_its_user_under_an_attach_is_not_entered(daemon):
    """The policy said yes to what the process was, and others look at what it is now."""
    with standin(daemon.scan) as peer, socket.socket(socket.AF_UNIX) as filler, daemon.client(ALICE) as client:
        assert peer.do(f"exec({KEEP_SETUID!r})") == "None"
        assert peer.do("bind()") == peer.do("server.listen(0)") == "None"
        daemon.wait_state(peer.pid, "live")
        filler.connect(str(daemon.scan / f"manhole-{peer.pid}"))  # nobody else gets in now
        assert peer.do(f"drop({ALICE})") == "None"
        client.send(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True)
        daemon.wait_event(event="start", target_pid=peer.pid, target_uid=ALICE)
        assert peer.do("rise()") == "None"
        wait_for(lambda: daemon.listed()[peer.pid]["uid"] == 0, "the new uid")
        assert peer.do("accept()") == "None"
        assert client.reply()[0] == f"{ERROR}.TargetUntrusted"
        assert peer.do("accept()") == "None" and peer.do("receive(1)") == "b''"
        # It is no impostor: whoever may enter it now does.
        assert daemon.listed()[peer.pid]["state"] == "live"
        with daemon.attach(peer.pid):
            assert peer.do("accept()") == "None"


def test_what_is_no_manhole_is_left_alone(daemon):
    with sleeper() as named, standin(daemon.scan, name="somewhere") as other:
        assert other.do("listen()") == "None"
        names = [f"manhole-{named.pid}{suffix}" for suffix in ("x", " ", ".sock", "/..")][:3] + [
            "manhole-", "manhole-0", f"manhole-0{named.pid}", "manhole--1", "manhole-99999999999999999999",
            f"Manhole-{named.pid}", "manhole-4194305"]
        sockets = []
        for name in names:
            sockets.append(socket.socket(socket.AF_UNIX))
            sockets[-1].bind(str(daemon.scan / name))
            sockets[-1].listen()
        (daemon.scan / "manhole-1").write_text("a file")
        os.mkfifo(daemon.scan / "manhole-2")
        (daemon.scan / "manhole-3").mkdir()
        (daemon.scan / "manhole-4").symlink_to(daemon.scan / "manhole-somewhere")
        (daemon.scan / "manhole-5").symlink_to("/nowhere")
        for kind, name in ((socket.SOCK_DGRAM, f"manhole-{named.pid}"),):
            sockets.append(socket.socket(socket.AF_UNIX, kind))
            sockets[-1].bind(str(daemon.scan / name))
        before = set(os.listdir(daemon.scan))
        assert daemon.listed() == {}
        for pid in (1, 2, 3, 4, 5, named.pid):
            assert daemon.refused(f"{daemon.scan}/manhole-{pid}") == "NoSuchTarget"
        assert set(os.listdir(daemon.scan)) == before
        for s in sockets:
            s.close()


def test_a_seqpacket_socket_is_not_served(daemon):
    """Alive, but no stream: it is listed at most, and gives an error."""
    with standin(daemon.scan) as peer:
        assert peer.do("server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)") == "None"
        assert peer.do("listen()") == "None"
        daemon.listed()
        assert daemon.refused(peer.pid) in ("TargetGone", "NoSuchTarget")
