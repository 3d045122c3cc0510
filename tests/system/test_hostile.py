# SPDX-License-Identifier: BSD-2-Clause
"""Those who mean harm, against the installed thing on a booted systemd.

Each test ends with the same questions: is everybody else still served, by the same two processes, and
did nothing leak? What needs no systemd is tested with processes alone:

- test_daemon_varlink.py: half a message, one of 64 MB, nested deeply, with a key twice; a client that
  never reads; descriptors passed along; a call that comes a byte at a time
- test_daemon_limits.py: ten thousand connections of one user; no descriptor left; slow clients
- test_daemon_policy.py: a squatter, also of the same user; a process that changes its user meanwhile;
  what is no socket; a remapped user namespace
- test_daemon_sessions.py: bad frames of either side, a target that floods
- test_daemon_storm.py: all at once, at random
- test_daemon_discovery.py, test_daemon_containers.py: folders and sockets that are put in others' place
- test_cli_broker.py: what a target prints at a terminal
- test_recorder-journal, test_daemon_recording.py: a destination that is full, gone or slow

The clock of the machine is the host's, and is not changed here.
"""
import contextlib
import json
import os
import pathlib
import pty
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))

from daemonlib import AGENT_CODE, BROKER, ERROR, SERVICE, STANDIN_CODE, Attached, Process, Varlink, wait_for
from machine import Machine, await_true, variable, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

ROUNDS = int(os.environ.get("MANHOLED_ROUNDS", "500"))
MEMORY = 16 << 20  # what may stay with a process that was given much to do
OURS = "_SYSTEMD_UNIT=manholed.service"
NOBODYS_PID = 2**22 - 1
UNITS = "manholed.service", "manholed-priv.service"

CONFIGURATION = """
[Manholed]
RecordBytesPerSession=4M
[Grant "team"]
Group=team
TargetUser=alice
Mode=observe control
"""


class Inside(Process):
    """A process in the machine that the test holds by its standard streams; .pid is the machine's."""

    def __init__(self, machine, code, *arguments, user="root", groups=None):
        groups = ["--clear-groups"] if groups is None else [f"--groups={groups}"]
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", *groups]
        self.process = subprocess.Popen(
            ["nsenter", "-t", machine.leader, "-a", "--wd=/", "env", "-i", f"PYTHONPATH={variable('agentdir')}",
             *become, "/usr/bin/python3", "-c",
             "import os, sys; print(os.getpid(), flush=True)\n" + code, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.pid = int(self.line())
        assert self.line() == "READY"
        self.machine = machine

    def kill(self):
        self.machine.run("kill", "-KILL", self.pid, check=False)
        self.process.wait(20)


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    try:
        machine.mount()
        machine.install()
        machine.root("/etc/manholed.conf").write_text(CONFIGURATION)
        machine.boot()
        machine.run("groupadd", "team")
        for user in "alice", "mallory":
            machine.run("useradd", "--no-create-home", user)
        machine.uids = {user: int(machine.run("id", "-u", user).stdout) for user in ("root", "alice", "mallory")}
        machine.run("systemctl", "enable", "--now", "manholed")
        machine.control = os.open(f"/proc/{machine.leader}/root/run/manholed/control", os.O_PATH)
        yield machine
    finally:
        machine.stop()


def client(machine, user="root"):
    return Varlink(f"/proc/self/fd/{machine.control}", machine.uids[user])


def call(machine, method, parameters=None, user="root", **flags):
    with client(machine, user) as c:
        return c.call(f"{BROKER}.{method}", parameters, **flags)


def attach(machine, target, user="root"):
    c = client(machine, user)
    error, reply = c.call(f"{BROKER}.Attach", {"target": str(target)}, upgrade=True)
    assert error is None, reply
    return Attached(c, reply)


def refused(machine, target, user="mallory"):
    error, reply = call(machine, "Attach", {"target": str(target)}, user, upgrade=True)
    assert error is not None and reply["reason"]
    return error.removeprefix(f"{ERROR}.")


def targets(machine, user="root"):
    error, reply = call(machine, "List", user=user)
    assert error is None, reply
    return {t["socket"]: t for t in reply["targets"]}


def wait_target(machine, process, state="live"):
    path = f"/tmp/manhole-{process.pid}"
    wait_for(lambda: targets(machine).get(path, {}).get("state") == state, f"{path} {state}")


@contextlib.contextmanager
def application(machine, **who):
    with Inside(machine, AGENT_CODE, "/tmp", **who) as process:
        wait_target(machine, process)
        yield process


@contextlib.contextmanager
def standin(machine, name="", **who):
    with Inside(machine, STANDIN_CODE, "/tmp", *([name] if name else []), **who) as process:
        yield process
        process.do("os.path.lexists(path) and os.unlink(path)")


def descriptors(machine, unit):
    """What is open, but for the pidfds of targets, and the journal's files: each user has one."""
    # One may be closed between its name and a look at it.
    links = machine.run("sh", "-c", f"ls -l /proc/{machine.pid(unit)}/fd || :").stdout.splitlines()
    return sorted(link.split(" -> ")[1] for link in links
                  if " -> " in link and "pidfd" not in link and ".journal" not in link)


def resident(machine, unit):
    status = machine.run("cat", f"/proc/{machine.pid(unit)}/status").stdout
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) << 10


@pytest.fixture(scope="module")
def bystander(machine):
    """Somebody's console in somebody's application, open all the while."""
    with application(machine, user="alice") as process, attach(machine, process.pid, "alice") as console:
        console.start()
        yield console


@pytest.fixture(autouse=True)
def nobody_else_suffers(machine, bystander):
    pids = [machine.pid(unit) for unit in UNITS]
    before = {unit: (descriptors(machine, unit), resident(machine, unit)) for unit in UNITS}
    yield
    began = time.monotonic()
    assert bystander.run("6 * 7") == "42\n"
    assert call(machine, "Status", {"target": "1"})[0] == f"{ERROR}.NoSuchTarget"
    assert time.monotonic() - began < 2
    assert [machine.pid(unit) for unit in UNITS] == pids
    for unit, (links, memory) in before.items():
        await_true(lambda: len(descriptors(machine, unit)) <= len(links),
                   f"{unit} has more open than {links}")
        assert resident(machine, unit) - memory < MEMORY


def denied(machine, process, user):
    """The one record of a refusal."""
    record, = machine.journal(OURS, "MANHOLE_EVENT=denied", f"MANHOLE_TARGET_PID={process.pid}")
    assert int(record["MANHOLE_CLIENT_UID"]) == machine.uids[user] and record["MANHOLE_REASON"]
    return record


# ------------------------------------------------------------------ who enters


def test_another_uid_attaches(machine):
    with application(machine) as roots:
        assert refused(machine, roots.pid) == "NotAuthorized"
        denied(machine, roots, "mallory")
        assert targets(machine, "mallory") == {}


def test_a_squatted_name(machine):
    sleeper = "print('READY', flush=True); sys.stdin.read()"
    with Inside(machine, sleeper) as victim, standin(machine, victim.pid, user="mallory") as squatter:
        assert squatter.do("listen()") == "None"
        wait_target(machine, victim, "untrusted")
        for user in "root", "mallory":
            assert refused(machine, victim.pid, user) == ("TargetUntrusted" if user == "root" else "NotAuthorized")
        records = machine.journal(OURS, "MANHOLE_EVENT=denied", f"MANHOLE_TARGET_PID={victim.pid}")
        assert {int(r["MANHOLE_CLIENT_UID"]) for r in records} == {machine.uids["root"], machine.uids["mallory"]}
        # Not a byte has come, and no connection either.
        squatter.do("server.setblocking(False)")
        assert squatter.do("server.accept()").startswith("BlockingIOError")


def test_what_is_no_socket(machine):
    make = """
import os, sys
others = sys.argv[1]
paths = [f"/tmp/manhole-{n}" for n in range(4000001, 4000005)]
os.symlink(others, paths[0])
os.mkfifo(paths[1])
open(paths[2], "w").close()
os.mkdir(paths[3])
print("READY", flush=True)
sys.stdin.read()
"""
    with Inside(machine, "print('READY', flush=True); sys.stdin.read()") as living, \
            application(machine, user="alice") as alices, \
            Inside(machine, make, f"/tmp/manhole-{alices.pid}", user="mallory"):
        paths = [f"/tmp/manhole-{n}" for n in range(4000001, 4000005)]
        assert not set(paths) & set(targets(machine))
        for pid in 4000001, 4000002, 4000003, 4000004:
            assert refused(machine, pid, "root") == "NoSuchTarget"
        assert machine.run("sh", "-c", f"ls -d {' '.join(paths)} | wc -l").stdout.strip() == "4"
        machine.run("rm", "-r", *paths)
        assert refused(machine, living.pid, "root") == "NoSuchTarget"


# Dead sockets are removed when they are two seconds old. From then on other things come into their
# places, in the order in which they go: a link to what is others', a second name of a live socket.
RACE = """
import os, random, socket, sys, time
first, n, victim = map(int, sys.argv[1:4])
names = [f"/tmp/manhole-{i}" for i in range(first, first + n)]
live = socket.socket(socket.AF_UNIX)
mine = f"/tmp/manhole-{os.getpid()}"
live.bind(mine)
live.listen()
for name in names:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(name)
born = time.monotonic()
print("READY", flush=True)
won = 0
while time.monotonic() < born + 2:
    pass
for name in names:
    # Close behind what removes them, or ahead of it.
    try:
        os.rename(name, f"/tmp/.aside-{first}")
    except FileNotFoundError:
        continue
    if random.random() < 0.5:
        os.symlink(random.choice([f"/tmp/manhole-{victim}", "/etc/passwd"]), name)
    else:
        os.link(mine, name)
    won += 1
print(won, flush=True)
sys.stdin.readline()
for name in (*names, f"/tmp/.aside-{first}"):
    if os.path.lexists(name):
        os.unlink(name)
assert os.path.exists(mine)
os.unlink(mine)
print("clean", flush=True)
"""


def test_a_race_for_the_names_of_dead_sockets(machine):
    passwd = machine.run("sha256sum", "/etc/passwd").stdout
    first, rounds, lost = 3000000, 0, 0
    with application(machine, user="alice") as victim:
        while rounds < ROUNDS:
            n = min(1000, ROUNDS - rounds)
            with Inside(machine, RACE, first, n, victim.pid, user="mallory") as attacker:
                won = int(attacker.line())
                assert call(machine, "List", user="alice")[0] is None
                attacker.tell("end")
                assert attacker.line() == "clean"
            lost += n - won
            rounds += n
            first += n
        assert machine.run("sha256sum", "/etc/passwd").stdout == passwd
        with attach(machine, victim.pid, "alice") as console:
            assert console.start().run("1 + 1") == "2\n"
    print(f"{rounds} rounds; the broker was first in {lost}")


# ---------------------------------------------------------- what targets can do


EVIL = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m"


def test_escape_sequences_of_a_process(machine):
    """In its name, in its command line, and in what it prints."""
    name = """
import ctypes
ctypes.CDLL(None).prctl(15, b"\\x1b]0;x\\x07\\x1b[2J", 0, 0, 0)
""" + AGENT_CODE
    with Inside(machine, name, "/tmp", "\x1b[31m\x9b2J", user="mallory") as evil:
        wait_target(machine, evil)
        for words in (["list"], ["status", evil.pid], ["sessions"], ["exec", evil.pid, f"print('{EVIL}')"],
                      ["attach", evil.pid]):
            shown = on_terminal(machine, *words, typed=f"print('{EVIL}')\nexit()\n")
            assert b"\x1b]" not in shown and b"\x1b[2J" not in shown and "\x9b".encode() not in shown, shown
            assert b"\x07" not in shown and b"\x9b" not in shown.replace("\u201b".encode(), b"")
        lines = machine.run("journalctl", "-o", "cat", "-a", "--no-pager", "-u", "manholed").stdout
        assert "\x1b" not in lines and "\x9b" not in lines


def on_terminal(machine, *words, typed=""):
    """What manholectl writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(["nsenter", "-t", machine.leader, "-a", "env", "-i", "LANG=C.UTF-8", "TERM=xterm",
                           "PATH=/usr/bin:/bin", "manholectl", "--no-pager", *map(str, words)],
                          stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while data := os.read(master, 65536):
                shown += data
        assert process.wait(20) == 0, shown
    os.close(master)
    return shown


def test_a_flood_cannot_rotate_the_journal(machine):
    """Whoever has much printed is ended; what was recorded before is still there."""
    with application(machine, user="mallory") as flooding, application(machine) as roots:
        assert refused(machine, roots.pid) == "NotAuthorized"
        with attach(machine, flooding.pid, "mallory") as console:
            console.start().send("while True: print('x' * 10000)\n\n")
            said = console.wait_closed()
        denied(machine, roots, "mallory")
        end, = await_true(lambda: machine.journal(OURS, "MANHOLE_EVENT=end", f"MANHOLE_SESSION={console.session}"), "no end")
        records = machine.journal(OURS, f"MANHOLE_SESSION={console.session}")
        assert len(said) < 8 << 20
        assert "recorded" in end["MANHOLE_REASON"]
        assert [int(r["MANHOLE_SEQ"]) for r in records] == list(range(len(records)))


# ---------------------------------------------------------- what clients can do


def test_a_client_that_never_reads(machine):
    """Neither answers, nor what a console shows."""
    with application(machine, user="mallory") as flooding, client(machine, "mallory") as deaf, \
            attach(machine, flooding.pid, "mallory") as console:
        console.send("while True: print('x' * 10000)\n\n")
        deaf.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                deaf.socket.send(deaf.encode(f"{BROKER}.List") * 100)
        began = time.monotonic()
        assert call(machine, "List", user="alice")[0] is None
        assert time.monotonic() - began < 2


def test_a_thousand_clients_that_say_nothing(machine):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(client(machine, "mallory")) for _ in range(1000)]
        assert call(machine, "List", user="alice")[0] is None
        # More than may be are told so, and let go.
        told = [c for c in silent if told_too_many(c)]
        assert len(told) == 1000 - 512
        assert refused(machine, 1, "root") == "NoSuchTarget"


def told_too_many(c):
    c.socket.settimeout(0.001)
    with contextlib.suppress(TimeoutError):
        return c.reply()[0] == f"{ERROR}.TooManySessions"


@pytest.mark.parametrize("data, error", [
    (b'{"method":', None),
    (b"[" * 60000 + b"\0", "BadMessage"),
    (b'{"a":' * 10000 + b"1" + b"}" * 10000 + b"\0", "BadMessage"),
    (b'{"method":"' + b"x" * (64 << 20), "BadMessage"),
    (b'{"method":"org.manholed.Broker.List","method":"org.manholed.Broker.Metrics"}\0', "BadMessage"),
], ids=["half", "deep list", "deep object", "64 MB", "a key twice"])
def test_what_is_no_message(machine, data, error):
    with client(machine, "mallory") as c:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.send_raw(data)
        if error:
            assert c.reply()[0] == f"{ERROR}.{error}"
            assert c.at_end()


def test_a_forged_upgrade(machine):
    """What stands behind a call that is refused, or that cannot be upgraded, is no console's."""
    with application(machine, user="mallory") as mallorys, application(machine) as roots:
        with client(machine, "mallory") as c:
            c.send(f"{BROKER}.Attach", {"target": str(mallorys.pid)})
            assert c.reply()[0] == "org.varlink.service.ExpectedUpgrade"
            c.send(f"{BROKER}.Attach", {"target": str(roots.pid)}, upgrade=True, behind=b"import os; os.abort()\n\0")
            assert c.reply()[0] == f"{ERROR}.NotAuthorized"
            assert c.reply()[0] == f"{ERROR}.BadMessage"
        with client(machine, "mallory") as c:
            c.send(f"{SERVICE}.GetInfo", upgrade=True, behind=b"raw\0")
            assert c.reply()[0] is None
            assert c.reply()[0] == f"{ERROR}.BadMessage"
        machine.run("kill", "-0", roots.pid)
        denied(machine, roots, "mallory")


def test_descriptors_that_are_passed_along(machine):
    receiving, passed = socket.socketpair()
    with client(machine, "mallory") as c:
        for _ in range(50):
            c.send_fds(b'{"method":"', [passed.fileno()] * 100)
        passed.close()
        receiving.settimeout(10)
        assert receiving.recv(1) == b""  # all copies are closed
    receiving.close()


def test_a_group_changes_during_a_session(machine):
    """What was opened goes on. Whoever leaves the group leaves it for processes that come after."""
    machine.run("gpasswd", "-a", "mallory", "team")
    code = """
import socket, sys, json
def ask(method, **parameters):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/manholed/control")
        s.sendall(json.dumps({"method": f"org.manholed.Broker.{method}", "parameters": parameters}).encode() + b"\\0")
        data = b""
        while not data.endswith(b"\\0"):
            data += s.recv(65536)
        reply = json.loads(data[:-1])
        return reply.get("error") or len(reply["parameters"]["targets"])
print("READY", flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""
    with application(machine, user="alice") as alices:
        before = Inside(machine, code, user="mallory", groups="team")
        with before:
            assert int(before.do("ask('List')")) >= 1
            console = subprocess.Popen(
                ["nsenter", "-t", machine.leader, "-a", "setpriv", "--reuid=mallory", "--regid=mallory", "--groups=team",
                 "manholectl", "attach", str(alices.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

            def types(word):
                console.stdin.write(f"print('{word}', 6 * 7)\n")
                console.stdin.flush()
                while f"{word} 42" not in (line := console.stdout.readline()):
                    assert line

            types("in")
            machine.run("gpasswd", "-d", "mallory", "team")
            types("still")
            console.communicate(timeout=20)
            assert refused(machine, alices.pid) == "NotAuthorized"
            with Inside(machine, code, user="mallory") as after:
                assert after.do("ask('List')") == "0"


def test_forged_records(machine):
    """Any user may write such fields; what the journal itself says of the writer cannot be forged."""
    with application(machine, user="mallory") as mallorys:
        with attach(machine, mallorys.pid, "mallory") as console:
            console.start().run("1")
            for event in "input", "end":
                machine.run("runuser", "-u", "mallory", "--", "logger", "--journald", input=(
                    f"MESSAGE=forged\nMANHOLE_EVENT={event}\nMANHOLE_SESSION={console.session}\nMANHOLE_SEQ=1\n"
                    "_UID=0\n_SYSTEMD_UNIT=manholed.service\nMANHOLE_DATA=rm -rf /\n"))
        await_true(lambda: machine.journal(OURS, "MANHOLE_EVENT=end", f"MANHOLE_SESSION={console.session}"), "no end")
    assert len(machine.journal("MESSAGE=forged", f"MANHOLE_SESSION={console.session}")) == 2
    records = machine.journal(OURS, "_UID=0", f"MANHOLE_SESSION={console.session}")
    assert [r for r in records if r["MESSAGE"] == "forged"] == []
    assert [int(r["MANHOLE_SEQ"]) for r in records] == list(range(len(records)))


# ------------------------------------------------------ when the machine changes


def test_a_journal_that_is_frozen(machine, bystander):
    """Nobody enters unrecorded, nothing typed is lost, and all that is not recorded is answered."""
    journald = machine.pid("systemd-journald.service")
    with application(machine, user="mallory") as mallorys:
        machine.run("kill", "-STOP", journald)
        try:
            began = time.monotonic()
            assert call(machine, "List", user="alice")[0] is None
            assert time.monotonic() - began < 2
            assert refused(machine, mallorys.pid) == "RecorderUnavailable"
        finally:
            machine.run("kill", "-CONT", journald)
        with attach(machine, mallorys.pid, "mallory") as console:
            assert console.start().run("6 * 7") == "42\n"


def test_tmp_is_mounted_anew(machine):
    machine.run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    try:
        with application(machine, user="mallory") as process, attach(machine, process.pid, "mallory") as console:
            assert console.start().run("6 * 7") == "42\n"
    finally:
        machine.run("umount", "-l", "/tmp")
    await_true(lambda: len(targets(machine, "alice")) == 1, "what was there before is not listed again")


def test_proc_hides_processes(machine):
    machine.run("mount", "-o", "remount,hidepid=invisible", "/proc")
    try:
        with application(machine, user="mallory") as process:
            shown = machine.run("runuser", "-u", "mallory", "--", "manholectl", "list", "--json=short").stdout
            assert [t["pid"] for t in json.loads(shown)] == [process.pid]
            out = machine.run("runuser", "-u", "mallory", "--", "manholectl", "exec", process.pid, "6 * 7").stdout
            assert out == "42\n"
    finally:
        machine.run("mount", "-o", "remount,hidepid=off", "/proc")
