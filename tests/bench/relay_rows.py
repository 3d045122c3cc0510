# SPDX-License-Identifier: BSD-2-Clause
"""The broker's rows about sessions: what a relay costs, beside programs that do nothing else.

The target is a process that speaks like a console in the plain face and costs next to nothing itself.
"""
import contextlib
import functools
import json
import os
import pathlib
import resource
import socket
import subprocess
import tempfile

from benchlib import *

PROXYD = "/lib/systemd/systemd-socket-proxyd"
LINE = b"a = f(x)\n"
N_BULK = 20_000_000
N_SESSIONS = 1000
N_TARGETS = 20  # that they are with

# Answers a line with the line, and a number with so many bytes, no two lines of which are alike.
TARGET = """
import os, socket, sys, threading
threading.stack_size(1 << 18)
bulk = b"".join(b"line %8d, of about as many characters as such lines have\\n" % n for n in range(360_000))
def serve(client):
    with client:
        while data := client.recv(4096):
            if not data[:1].isdigit():
                client.sendall(data)
                continue
            client.sendall(memoryview(bulk)[:int(data)])
server = socket.socket(socket.AF_UNIX)
path = f"{sys.argv[1]}/manhole-{os.getpid()}"
server.bind(path)
server.listen(1024)
print(path, flush=True)
def accept():
    while True:
        threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
"""


@contextlib.contextmanager
def target(folder):
    """Its PID and its socket."""
    process = subprocess.Popen([PYTHON, "-c", TARGET, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process.pid, process.stdout.readline().decode().rstrip("\n")
    finally:
        process.stdin.close()
        process.wait(30)


@contextlib.contextmanager
def running(argv, path, **options):
    """A program that listens at the path; its PID."""
    process = subprocess.Popen(argv, **options)
    wait_for(lambda: os.path.exists(path))
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def broker(record, folder):
    """Its control socket and its PID."""
    with tempfile.TemporaryDirectory() as ours:
        control, config = f"{ours}/control", pathlib.Path(f"{ours}/manholed.conf")
        config.write_text(f"[Manholed]\nConnectionsPerUser={2 * N_SESSIONS}\nSessionsPerUser={N_SESSIONS + 1}\n")
        where = f"file:{ours}/record" if record == "file" else record
        with running([BUILD / "daemon/manholed", f"--control={control}", f"--config={config}", f"--scan={folder}",
                      f"--record={where}", "--log-level=err"], control) as pid:
            yield control, pid


@contextlib.contextmanager
def socat(address):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/relay"
        with running(["socat", f"UNIX-LISTEN:{path},fork", f"UNIX-CONNECT:{address}"], path) as pid:
            yield path, pid


@contextlib.contextmanager
def proxyd(address):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/relay"
        with running(["systemd-socket-activate", "-l", path, PROXYD, f"--connections-max={2 * N_SESSIONS}", address],
                     path, stderr=subprocess.DEVNULL) as pid:
            yield path, pid


class Relayed(Plain):
    """A session with the target, through what relays."""

    def reply(self):
        pass

    def echo(self):
        self.socket.sendall(LINE)
        self.until(LINE)

    def bulk(self, keep=None):
        n = N_BULK
        self.socket.sendall(b"%d\n" % n)
        while n > 0:
            k = self.socket.recv_into(self.room)
            n -= k
            if keep is not None:
                keep += self.room[:k]


class Brokered(Relayed):
    """The same through manholed; it is only asked for before reply()."""

    def __init__(self, control, pid):
        super().__init__(control)
        call = {"method": "org.manholed.Broker.Attach", "parameters": {"target": str(pid)}, "upgrade": True}
        self.socket.sendall(json.dumps(call).encode() + b"\0")

    def reply(self):
        reply = b""
        while b"\0" not in reply:
            reply += self.socket.recv(4096)
        reply, self.tail = reply.split(b"\0", 1)
        assert "error" not in json.loads(reply), reply


def pairs(n, *connect):
    """Of fresh connections, n times, since a process stays where it was placed."""
    for _ in range(n):
        pair = [c() for c in connect]
        for session in pair:
            session.reply()
        yield pair
        for session in pair:
            session.close()


def trips(*connect):
    times = [], []
    for a, b in pairs(10, *connect):
        for all_of_it, some in zip(times, turns(200, a.echo, b.echo)):
            all_of_it.extend(some)
    return times


def bulks(*connect):
    times = [], []
    for a, b in pairs(3, *connect):
        for all_of_it, some in zip(times, turns(3, a.bulk, b.bulk)):
            all_of_it.extend(some)
    return times


@contextlib.contextmanager
def one_cpu():
    """Across CPUs, most of a round trip is how the kernel has placed the processes this time."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


def relay():
    def around(record, *relays):
        """For each relay: ways to a target through manholed and through it."""
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pid, address = stack.enter_context(target(folder))
        control, _ = stack.enter_context(broker(record, folder))
        for relay in relays:
            path, _ = stack.enter_context(relay(address))
            yield functools.partial(Brokered, control, pid), functools.partial(Relayed, path)

    with contextlib.ExitStack() as stack:
        to_proxyd, to_socat = around("none", proxyd, socat)
        row("relayed round trip, record=none", *trips(*to_proxyd), "ms", 1e3, against="systemd-socket-proxyd")
        row("relayed 20 MB, record=none", *bulks(*to_socat), "ms", 1e3, against="socat")
        row("relayed 20 MB, record=none", *bulks(*to_proxyd), "ms", 1e3, against="systemd-socket-proxyd, which splices")
    with contextlib.ExitStack() as stack:
        with one_cpu():
            to_proxyd, = around("none", proxyd)
            row("relayed round trip, record=none, one CPU", *trips(*to_proxyd), "ms", 1e3,
                against="systemd-socket-proxyd")
    with contextlib.ExitStack() as stack:
        to_socat, = around("file", socat)
        row("relayed round trip, record=file", *trips(*to_socat), "ms", 1e3, against="socat, which records nothing")
        row("relayed 20 MB, record=file", *bulks(*to_socat), "ms", 1e3, against="socat, which records nothing")


def crowd(connect):
    """So many at once: all are asked for before the first is answered, and then each is heard."""
    sessions = [c() for c in connect]
    for session in sessions:
        session.reply()
    for session in sessions:
        session.socket.sendall(LINE)
    for session in sessions:
        session.until(LINE)
    return sessions


def resident(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def crowd_of(connect, relay):
    """How long it took, and what the relay's memory grew by, a session."""
    first = connect[0]()  # what all need is there from the first on
    first.reply()
    before, start = resident(relay), time.perf_counter()
    sessions = crowd(connect)
    taken, held = time.perf_counter() - start, (resident(relay) - before) / N_SESSIONS
    for session in [first, *sessions]:
        session.close()
    return taken, held


@contextlib.contextmanager
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def many(record="none"):
    ours, theirs = [], []
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            stack.enter_context(many_descriptors())
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            pids = [stack.enter_context(target(folder)) for _ in range(N_TARGETS)]
            with broker(record, folder) as (control, daemon):
                ours.append(crowd_of([functools.partial(Brokered, control, pids[n % N_TARGETS][0])
                                      for n in range(N_SESSIONS)], daemon))
            with proxyd(pids[0][1]) as (path, relay):
                theirs.append(crowd_of([functools.partial(Relayed, path)] * N_SESSIONS, relay))
    ours, theirs = list(zip(*ours)), list(zip(*theirs))
    row(f"{N_SESSIONS:,} sessions at once, record={record}", ours[0], theirs[0], "ms", 1e3,
        against="systemd-socket-proxyd")
    row("  memory of each", ours[1], theirs[1], "kB", against="systemd-socket-proxyd")
