# SPDX-License-Identifier: BSD-2-Clause
"""The record says where a client comes from, and why it came."""
import pty

from daemonlib import *  # noqa: F403
from sessionlib import Watcher

# Calls of a client that logged in as somebody, at a terminal, and then became another user, as with sudo.
# Ends with its standard input.
CALLER_CODE = """
import fcntl, json, os, socket, sys, termios
control, login, uid, method, parameters = sys.argv[1:]
if login:
    open("/proc/self/loginuid", "w").write(login)
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
if uid:
    os.setgroups([]), os.setgid(int(uid)), os.setuid(int(uid))
s = socket.socket(socket.AF_UNIX)
s.connect(control)
s.sendall(json.dumps({"method": method, "parameters": json.loads(parameters), "upgrade": True}).encode() + bytes(1))
print(s.recv(65536).split(bytes(1))[0].decode(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def caller(daemon, method, login="", uid="", **parameters):
    """A call of Attach, or another method that upgrades, made by a process at a terminal; its pid, the
    terminal's name and the answer."""
    leader, follower = pty.openpty()
    tty = os.ttyname(follower).removeprefix("/dev/")
    argv = [PYTHON, "-c", CALLER_CODE, str(daemon.control), str(login), str(uid), f"{BROKER}.{method}",
            json.dumps(parameters)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=follower) as process:
        try:
            yield process.pid, tty, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(TIMEOUT)
            os.close(leader)
            os.close(follower)


def audited():
    """Whether the kernel lets us say who logged in."""
    code = "open('/proc/self/loginuid', 'w').write('0')"
    return subprocess.run([PYTHON, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


needs_audit = pytest.mark.skipif(not ROOT or not audited(), reason="cannot write /proc/self/loginuid")


@needs_audit
def test_who_logged_in_stands_in_the_record_whoever_he_is_now(daemon):
    with application(daemon.scan, uid=ALICE) as target:
        daemon.wait_state(target.pid, "live")
        with caller(daemon, "Attach", login=BOB, uid=ALICE, target=str(target.pid)) as (pid, tty, answer):
            start = daemon.wait_event(event="start", session=answer["parameters"]["session"])
        assert start["MANHOLE_CLIENT_UID"] == str(ALICE)
        assert start["MANHOLE_CLIENT_PID"] == str(pid)
        assert start["MANHOLE_CLIENT_LOGINUID"] == str(BOB)
        assert int(start["MANHOLE_CLIENT_AUDIT_SESSION"]) > 0
        assert start["MANHOLE_CLIENT_TTY"] == tty
        assert start["MANHOLE_CLIENT_COMM"].startswith("python")
        assert start["MANHOLE_CLIENT_COMMAND"].startswith(f"{PYTHON} -c \\nimport fcntl")
        assert len(start["MANHOLE_CLIENT_COMMAND"].encode()) < 1024
        end, _ = daemon.ended(start["MANHOLE_SESSION"])
        assert "MANHOLE_CLIENT_LOGINUID" not in end


@needs_audit
def test_who_is_refused_is_known_as_well(daemon):
    with application(daemon.scan, uid=ALICE) as target:
        daemon.wait_state(target.pid, "live")
        with caller(daemon, "Attach", login=ALICE, uid=BOB, target=str(target.pid)) as (pid, tty, answer):
            assert answer["error"] == f"{ERROR}.NotAuthorized"
            denied = daemon.wait_event(event="denied", target_pid=target.pid)
        assert denied["MANHOLE_CLIENT_UID"] == str(BOB)
        assert denied["MANHOLE_CLIENT_LOGINUID"] == str(ALICE)
        assert denied["MANHOLE_CLIENT_TTY"] == tty


def test_who_watches_and_who_is_back_are_told_too(daemon):
    with application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        console = daemon.attach(target.pid, linger=True).start()
        with Watcher(daemon, console.session):
            watch = daemon.wait_event(event="watch", session=console.session)
        assert watch["MANHOLE_ACTOR_COMM"].startswith("python")
        with caller(daemon, "Resume", session=console.session) as (pid, tty, answer):
            assert "error" not in answer
            resume = daemon.wait_event(event="resume", session=console.session)
        assert resume["MANHOLE_ACTOR_PID"] == str(pid)
        assert resume["MANHOLE_ACTOR_TTY"] == tty
        console.close()


def test_a_reason_is_kept_and_has_a_length(daemon):
    with application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        with daemon.attach(target.pid, reason="r" * 1000) as console:
            start = daemon.wait_event(event="start", session=console.session)
        assert start["MANHOLE_REASON"] == "r" * 1000
        error, reply = daemon.call(f"{BROKER}.Attach", {"target": str(target.pid), "reason": "r" * 1001}, upgrade=True)
        assert (error, reply) == (f"{SERVICE}.InvalidParameter", {"parameter": "reason"})


def test_where_a_reason_is_needed_nobody_enters_without():
    with Daemon(config="RequireReason=yes") as daemon, application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        for given in {}, {"reason": ""}, {"reason": " \t\n"}, {"reason": None}:
            assert daemon.refused(target.pid, **given) == "NotAuthorized"
        assert len(daemon.events(event="denied", target_pid=target.pid)) == 4
        assert daemon.events(event="start") == []
        with daemon.attach(target.pid, reason="ticket 5") as console:
            assert console.start().run("6 * 7") == "42\n"
        # And no longer, when the administrator says so.
        daemon.config.write_text("[Manholed]\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reloaded" in daemon.said(), "the new configuration")
        with daemon.attach(target.pid):
            pass
