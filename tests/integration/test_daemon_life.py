# SPDX-License-Identifier: BSD-2-Clause
"""The daemon itself: start, configuration, privileges, and every way to end."""
import contextlib
import fcntl
import shutil
import socket
import tempfile

import pytest

from agentlib import is_listening
from daemonlib import *  # noqa: F403

CAP_SETUID, CAP_DAC_OVERRIDE, CAP_SYS_PTRACE = 7, 1, 19


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def privileged_half(daemon):
    pids = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    return int(pids[0]) if pids else None


def manholed(*argv, **kwargs):
    return subprocess.run([place().path / "daemon" / "manholed", *map(str, argv)], capture_output=True, text=True,
                          timeout=TIMEOUT, **kwargs)


# ------------------------------------------------------------------ privileges


@needs_root
def test_the_parser_has_no_capability_and_cannot_have_one(daemon):
    status = status_of(daemon.pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == ["0"] * 4  # the journal's OBJECT_ fields demand it


@needs_root
def test_the_privileged_half_has_exactly_three(daemon):
    three = 1 << CAP_DAC_OVERRIDE | 1 << CAP_SYS_PTRACE | 1 << CAP_SETUID
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")  # it has served
    status = status_of(privileged_half(daemon))
    assert status["Name"] == "manholed-priv"
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) == three, name
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@needs_root
def test_the_privileged_half_is_back_to_itself_after_a_connection_as_a_user(daemon):
    with standin(daemon.scan, uid=ALICE) as alices:
        assert alices.do("listen()") == "None"
        daemon.wait_state(alices.pid, "live")
        before = status_of(privileged_half(daemon))
        with daemon.attach(alices.pid, uid=ALICE):
            after = status_of(privileged_half(daemon))
            assert (after["Uid"], after["CapEff"]) == (before["Uid"], before["CapEff"])


@needs_root
def test_the_privileged_half_holds_nothing_but_its_channel(daemon):
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with daemon.attach(peer.pid):
            half = privileged_half(daemon)
            # A look at all processes may be under way: at the end of it.
            wait_for(lambda: sorted(os.listdir(f"/proc/{half}/fd")) == ["0", "1", "2", "3"], "nothing else open")


@needs_root
def test_without_its_privileged_half_it_ends_with_an_error():
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        console = daemon.attach(peer.pid)
        assert peer.do("accept()") == "None"
        os.kill(privileged_half(daemon), signal.SIGKILL)
        assert daemon.process.wait(TIMEOUT) == 1
        assert console.wait_closed() == b"\n[manholed: the daemon is stopping]\n"
        daemon.ended(console.session)
        assert not daemon.control.exists()
        assert "manholed-priv is gone" in daemon.said()
        daemon.process.returncode = 0


@needs_root
def test_while_the_privileged_half_hangs_lists_are_answered_all_the_same(daemon):
    """Say in a file system: what needs it waits, a list only for a moment."""
    with standin(daemon.scan) as old, standin(daemon.scan) as new:
        assert old.do("listen()") == "None"
        daemon.wait_state(old.pid, "live")
        console = daemon.attach(old.pid)
        assert old.do("accept()") == "None"
        half = privileged_half(daemon)
        os.kill(half, signal.SIGSTOP)
        try:
            assert new.do("listen()") == "None"
            assert set(daemon.listed()) == {old.pid}  # of the other nothing is known yet
            console.send(b"still\n")
            assert old.do("receive(6)") == "b'still\\n'"
            assert daemon.refused(old.pid) == "TargetGone"
        finally:
            os.kill(half, signal.SIGCONT)
        daemon.wait_state(new.pid, "live")
        with daemon.attach(new.pid):
            assert new.do("accept()") == "None"
        console.close()


@needs_root
def test_the_privileged_half_ends_with_the_daemon():
    with Daemon() as daemon:
        half = privileged_half(daemon)
        daemon.process.kill()
        daemon.process.wait(TIMEOUT)
        daemon.process.returncode = 0
        wait_for(lambda: not os.path.exists(f"/proc/{half}") or status_of(half)["State"].startswith("Z"), "its end")


def test_the_privileged_half_is_no_program_to_start_by_hand():
    done = subprocess.run([place().path / "daemon" / "manholed-priv"], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 1 and "manholed(8)" in done.stderr


# ---------------------------------------------------------------- an own user


@needs_root
def test_as_an_ordinary_user_it_serves_that_user():
    """With the folders of the XDG specification, and no privileged half."""
    home = place().folder(0o755)
    for name in ("run", "state"):
        (home / name).mkdir(0o700)
        os.chown(home / name, ALICE, ALICE)
    env = {"XDG_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": str(home / "state"), "HOME": "/nonexistent"}
    with Daemon(uid=ALICE, record=False, control=False, env=env) as daemon:
        daemon.control, daemon.record = home / "run/manholed/control", home / "state/manholed"
        assert daemon.control.is_socket()
        assert privileged_half(daemon) is None
        with standin(daemon.scan, uid=ALICE) as own, standin(daemon.scan, uid=BOB) as bobs, \
                standin(daemon.scan) as roots, daemon.no_leak():
            for peer in (own, bobs, roots):
                assert peer.do("listen()") == "None"
            assert set(daemon.listed(uid=ALICE)) == {own.pid}
            (home / "run").chmod(0o755)  # or only Alice and root come to the socket
            assert daemon.listed(uid=BOB) == {}
            assert daemon.refused(own.pid, uid=BOB) == "NotAuthorized"
            assert daemon.refused(bobs.pid, uid=BOB) == "NoSuchTarget"
            assert daemon.refused(roots.pid, uid=ALICE) == "NoSuchTarget"
            for uid in (ALICE, 0):
                with daemon.attach(own.pid, uid=uid) as console:
                    assert console.answer["recording"] == f"file:{daemon.record}"
                    assert own.do("accept()") == "None"
                daemon.ended(console.session)
            dead = daemon.scan / f"manhole-{own.pid}"
            foreign = daemon.scan / f"manhole-{bobs.pid}"
            own.kill()
            bobs.kill()
            wait_for(lambda: not dead.exists(), "the removal", timeout=8)
            assert foreign.exists()  # not ours to judge
        assert daemon.record.stat().st_uid == ALICE
        assert daemon.record.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_users_agent_under_a_users_daemon():
    with Daemon(uid=ALICE) as daemon, application(daemon.scan, uid=ALICE) as target:
        wait_for(lambda: target.pid in daemon.listed(uid=ALICE), "the target")
        with daemon.attach(target.pid, uid=ALICE, framed=True) as console:
            console.hello()
            assert console.exec("import os; print(os.getuid())")[1] == f"{ALICE}\n"
        daemon.ended(console.session)


@needs_root
@pytest.mark.parametrize("missing, option", [("XDG_RUNTIME_DIR", "--control="), ("HOME", "--record=")])
def test_a_user_without_folders_is_told_which_option_to_give(missing, option):
    env = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent", "PATH": os.environ["PATH"]}
    del env[missing]
    done = manholed(env=env, cwd="/", **as_user(ALICE))
    assert done.returncode == 1 and option in done.stderr


# ------------------------------------------------------------------------- end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_every_session_cleanly(number):
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        consoles = []
        for _ in range(3):
            consoles.append(daemon.attach(peer.pid))
            assert peer.do("accept()") == "None"
        waiting = daemon.client()  # whose session is under way
        waiting.send(f"{BROKER}.Attach", {"target": str(peer.pid), "framed": True}, upgrade=True)
        assert peer.do("accept()") == "None"
        idle = daemon.client()
        assert idle.call(f"{SERVICE}.GetInfo")[0] is None
        consoles[0].send(b"last\n")
        daemon.process.send_signal(number)
        assert daemon.process.wait(TIMEOUT) == 0
        for console in consoles:
            console.wait_closed()
            assert daemon.ended(console.session)[0]["MANHOLE_REASON"] == "the daemon is stopping"
        assert idle.at_end()
        assert len(daemon.events(event="start")) == len(daemon.events(event="end")) == 4
        assert not daemon.control.exists()
        assert (daemon.scan / f"manhole-{peer.pid}").exists()


def test_after_a_kill_the_next_one_takes_the_socket_over():
    with Daemon() as daemon:
        daemon.process.kill()
        daemon.process.wait(TIMEOUT)
        assert daemon.control.is_socket()
        daemon.log.unlink()
        daemon.start()
        assert daemon.serves()


def test_a_second_daemon_on_one_socket_is_refused(daemon):
    done = manholed(f"--control={daemon.control}", "--record=none")
    assert done.returncode == 1 and str(daemon.control) in done.stderr
    assert daemon.serves()


def test_a_second_daemon_is_refused_also_while_nobody_accepts(daemon):
    """The first is stopped, and its queue is full."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack, contextlib.suppress(BlockingIOError):
            while True:
                s = stack.enter_context(socket.socket(socket.AF_UNIX))
                s.setblocking(False)
                s.connect(str(daemon.control))
        assert manholed(f"--control={daemon.control}", "--record=none").returncode == 1
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert daemon.serves()


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("precious"), lambda path: path.mkdir(), os.mkfifo,
    lambda path: path.symlink_to("/etc/passwd"),
], ids=["file", "folder", "fifo", "symlink"])
def test_what_is_no_socket_is_never_replaced(make):
    path = place().folder(0o755) / "control"
    make(path)
    before = os.lstat(path)
    done = manholed(f"--control={path}", "--record=none")
    assert done.returncode == 1 and str(path) in done.stderr
    after = os.lstat(path)
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)


def test_a_path_that_is_too_long_is_refused():
    done = manholed(f"--control=/tmp/{'x' * 200}", "--record=none")
    assert done.returncode == 1 and "too long" in done.stderr


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_everybody_may_connect(umask):
    with Daemon(prefix=["sh", "-c", f'umask {umask:o}; exec "$@"', "sh"]) as daemon:
        assert daemon.control.stat().st_mode & 0o777 == 0o666


# ------------------------------------------------------------------ activation


def activated(*argv, listener):
    """Starts manholed as systemd would: with the socket as descriptor 3."""
    fd = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
    code = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])")
    process = subprocess.Popen([PYTHON, "-c", code, str(fd), str(place().path / "daemon" / "manholed"), *argv],
                               pass_fds=[fd], stderr=subprocess.PIPE)
    os.close(fd)
    return process


def test_it_serves_a_socket_that_is_passed_to_it():
    folder = place().folder(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "activated"))
        listener.listen()
        process = activated("--record=none", f"--control={folder}/unused", listener=listener)
        # A client may connect before the daemon is up: its call waits in the queue.
        with Varlink(folder / "activated") as client:
            assert client.call(f"{SERVICE}.GetInfo")[1]["product"] == "manholed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        process.stderr.close()
    # The socket is systemd's: it stays, and no other was made.
    assert [p.name for p in folder.iterdir()] == ["activated"]


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate")
@pytest.mark.parametrize("uid", [US, pytest.param(ALICE, marks=needs_root)])
def test_systemd_socket_activate_starts_it_on_the_first_connection(uid):
    """Without XDG_RUNTIME_DIR, too: nothing is to be made there."""
    folder = place().folder()
    process = subprocess.Popen(["systemd-socket-activate", f"--listen={folder}/control",
                                str(place().path / "daemon" / "manholed"), "--record=none"],
                               stderr=subprocess.DEVNULL, cwd="/", **as_user(uid))
    wait_for(lambda: is_listening(folder / "control"), "the socket listens")
    with Varlink(folder / "control") as client:
        assert client.call(f"{SERVICE}.GetInfo")[0] is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_kind_is_refused(kind):
    folder = place().folder(0o755)
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(folder / "activated"))
        process = activated("--record=none", listener=listener)
        assert process.wait(TIMEOUT) == 1
        process.stderr.close()


# --------------------------------------------------------------- configuration


def check(text):
    path = place().folder(0o755) / "manholed.conf"
    path.write_text(text)
    done = manholed("--check-config", f"--config={path}")
    return done.returncode, done.stderr.replace(str(path), "FILE")


@pytest.mark.parametrize("text, line", [
    ("[Manholed]\nNonsense=1\n", 2), ("[Other]\n", 1), ("Record=none\n", 1), ("[Manholed]\n\n# x\nRecord\n", 4),
    ("[Manholed]\nRecord=elsewhere\n", 2), ("[Manholed]\nRecord=file:relative\n", 2), ("[Manholed]\nScan=tmp\n", 2),
    ("[Manholed]\nConnectionsPerUser=0\n", 2), ("[Manholed]\nConnectionsPerUser=-1\n", 2),
    ("[Manholed]\nConnectionsPerUser=12x\n", 2), ("[Manholed]\nLogLevel=loud\n", 2), ("[Manholed\n", 1),
])
def test_a_bad_line_is_named(text, line):
    status, said = check(text)
    assert status == 1
    assert f"FILE:{line}: " in said


def test_a_good_configuration_is_good():
    assert check("# c\n; c\n[Manholed]\nRecord=file:/x\nScan=\nScan=/a\nConnectionsPerUser=7\n  LogLevel = debug \n") == (0, "")


def test_a_configuration_that_is_not_there_is_an_error():
    done = manholed("--check-config", "--config=/nowhere/manholed.conf")
    assert done.returncode == 1 and "/nowhere/manholed.conf" in done.stderr


def test_a_configuration_with_a_nul_or_too_long_is_an_error():
    assert check("[Manholed]\nRecord=none\0\n")[0] == 1
    assert check("#" * (1 << 20))[0] == 1


def test_a_daemon_with_a_bad_configuration_does_not_start():
    path = place().folder(0o755) / "manholed.conf"
    path.write_text("[Manholed]\nNonsense=1\n")
    done = manholed(f"--config={path}", f"--control={path.parent}/control", "--record=none")
    assert done.returncode == 1 and f"{path}:2: " in done.stderr
    assert not (path.parent / "control").exists()


@pytest.mark.parametrize("argv", [["--nonsense"], ["argument"], ["--control"]])
def test_a_usage_error_is_one_line_and_status_2(argv):
    done = manholed(*argv)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_scanned_is_named():
    done = manholed("--scan=/nowhere", "--record=none", f"--control={place().folder(0o755)}/control")
    assert done.returncode == 1 and "/nowhere" in done.stderr


@pytest.mark.parametrize("where", ["/var/tmp", "/tmp"])
def test_a_reload_takes_what_has_changed(daemon, where):
    """Also below a folder that stays."""
    with tempfile.TemporaryDirectory(prefix="manholed-", dir=where) as more:
        reload_and_back(daemon, more)


def reload_and_back(daemon, more):
    with standin(more) as peer, standin(daemon.scan) as old:
        assert peer.do("listen()") == old.do("listen()") == "None"
        daemon.wait_state(old.pid, "live")
        console = daemon.attach(old.pid)
        assert old.do("accept()") == "None"
        assert daemon.listed(folder=more) == {}

        daemon.config.write_text(f"[Manholed]\nScan={more}\nConnectionsPerUser=3\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: daemon.listed(folder=more), "the new folder's target")
        clients = [daemon.client() for _ in range(3)]
        wait_for(lambda: any(c.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) for c in clients[2:]), "a refusal")
        for client in clients:
            client.close()

        daemon.config.write_text("[Manholed]\nNonsense=1\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{daemon.config}:2: " in daemon.said(), "the error")
        assert daemon.listed(folder=more)  # as it was

        # A folder that is not there is found late, and still nothing else is taken.
        daemon.config.write_text(f"[Manholed]\nScan={place().path}\nScan=/nowhere\nConnectionsPerUser=1\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "/nowhere cannot be scanned" in daemon.said(), "the error")
        with daemon.client() as one, daemon.client() as two:
            for client in one, two:
                assert client.call(f"{SERVICE}.GetInfo")[0] is None
        assert str(place().path) not in daemon.links()

        daemon.config.write_text("[Manholed]\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not daemon.listed(folder=more), "the folder to be left")
        # The session has lived through all of it.
        console.send(b"still\n")
        assert old.do("receive(6)") == "b'still\\n'"
        console.close()
        daemon.ended(console.session)
