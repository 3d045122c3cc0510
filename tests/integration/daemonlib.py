# SPDX-License-Identifier: BSD-2-Clause
"""What manholed's tests need: the daemon as root or as a user, targets, and a Varlink client.

Targets live in folders of the test's own, so that nothing else on the machine is in the way;
manholed looks into /tmp as well, hence List is filtered by folder here.
"""
import array
import atexit
import contextlib
import functools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from agentlib import AGENT, BUILD, PYTHON, TIMEOUT, Framed, Plain, environment, wait_for

ROOT = os.geteuid() == 0
# Nobody's: uids without a name, so that no process of theirs is about.
ALICE, BOB = 60101, 60102
US = os.geteuid()

needs_root = pytest.mark.skipif(not ROOT, reason="needs root: other users' processes")

BROKER = "org.manholed.Broker"
ERROR = "org.manholed"
SERVICE = "org.varlink.service"


class Place:
    """A folder that every user can reach, with programs that every user can run: the build folder
    may be in somebody's home."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="manholed-", dir="/var/tmp"))
        self.path.chmod(0o755)
        (self.path / "daemon").mkdir()
        for name in ("manholed", "manholed-priv"):
            shutil.copy2(BUILD / "daemon" / name, self.path / "daemon" / name)
        shutil.copytree(AGENT, self.path / "python")
        self.count = 0
        atexit.register(shutil.rmtree, self.path)

    def folder(self, mode=0o1777):
        """A new folder that looks like /tmp."""
        self.count += 1
        path = self.path / f"f{self.count}"
        path.mkdir()
        path.chmod(mode)
        return path


@functools.lru_cache(maxsize=None)
def place():
    return Place()


def as_user(uid):
    """Arguments of Popen to run as this user."""
    return {} if uid == US else {"user": uid, "group": uid, "extra_groups": []}


# ---------------------------------------------------------------- the daemon


class Daemon:
    def __init__(self, *arguments, uid=US, config="", record=True, fds=None, env=None, control=True, prefix=()):
        self.folder = place().folder(0o755)
        if uid != US:
            os.chown(self.folder, uid, uid)
        self.scan = place().folder()
        self.control = self.folder / "control"
        self.record = self.folder / "record"
        self.uid = uid
        self.config = self.folder / "manholed.conf"
        self.config.write_text(f"[Manholed]\n{config}\n")
        self.log = self.folder / "log"
        self.argv = [
            *prefix, *([] if fds is None else ["prlimit", f"--nofile={fds}"]),
            str(place().path / "daemon" / "manholed"), f"--config={self.config}", f"--scan={self.scan}",
            *([f"--control={self.control}"] if control else []),
            *([f"--record=file:{self.record}"] if record else []), *map(str, arguments),
        ]
        self.env = {**os.environ, **(env or {})}
        self.start()

    def start(self, ready="Ready."):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stderr=log, env=self.env, cwd="/", **as_user(self.uid))
        self.pid = self.process.pid
        if ready:
            wait_for(lambda: ready in self.said() or self.process.poll() is not None, "manholed's start")
            assert self.process.poll() is None, self.said()

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        if self.process.poll() is not None:
            assert kind is not None or self.process.returncode == 0, self.said()
            return
        status = self.stop()
        assert status == 0, self.said()

    # ------------------------------------------------------------- clients

    def client(self, uid=US):
        return Varlink(self.control, uid)

    def call(self, method, parameters=None, uid=US, **flags):
        with self.client(uid) as client:
            return client.call(method, parameters, **flags)

    def listed(self, uid=US, folder=None):
        """Targets of a folder (the daemon's own) by pid, as List shows them to a user."""
        error, parameters = self.call(f"{BROKER}.List", uid=uid)
        assert error is None, parameters
        folder = str(folder or self.scan)
        return {t["pid"]: t for t in parameters["targets"] if os.path.dirname(t["socket"]) == folder}

    def wait_state(self, pid, state, folder=None):
        wait_for(lambda: self.listed(folder=folder).get(pid, {}).get("state") == state, f"{pid} {state}")

    def attach(self, target, uid=US, framed=False, behind=b"", **parameters):
        """An open console; fails if there is none."""
        client = self.client(uid)
        client.send(f"{BROKER}.Attach", {"target": str(target), "framed": framed, **parameters},
                    upgrade=True, behind=behind)
        error, reply = client.reply()
        assert error is None, (error, reply)
        return (AttachedFrames if reply["framed"] else Attached)(client, reply)

    def refused(self, target, uid=US, **parameters):
        """The error of an Attach that fails."""
        error, reply = self.call(f"{BROKER}.Attach", {"target": str(target), **parameters}, uid=uid, upgrade=True)
        assert error is not None, reply
        assert reply["reason"]
        return error.removeprefix(f"{ERROR}.")

    # ------------------------------------------------------------- records

    def events(self, **wanted):
        """Records of events.jsonl that have these values; keys without MANHOLE_."""
        path = self.record / "events.jsonl"
        # A line without its end is being written.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        found = [json.loads(line) for line in lines]
        wanted = {f"MANHOLE_{k.upper()}": str(v) for k, v in wanted.items()}
        return [r for r in found if all(r.get(k) == v for k, v in wanted.items())]

    def removed(self):
        """Records of stale sockets in the daemon's own folder: /tmp is everybody's."""
        return [r for r in self.events(event="stale", removed="yes") if r["MANHOLE_SOCKET"].startswith(f"{self.scan}/")]

    def wait_event(self, **wanted):
        return wait_for(lambda: self.events(**wanted), f"a record {wanted}")[0]

    def ended(self, session):
        """The session's end record, held against what was recorded of the session."""
        end = self.wait_event(event="end", session=session)
        cast = Cast(self.record / f"{session}.cast")
        assert int(end["MANHOLE_INPUT_BYTES"]) == len(cast.input)
        assert int(end["MANHOLE_OUTPUT_BYTES"]) == len(cast.output)
        assert int(end["MANHOLE_INPUT_RECORDS"]) == cast.n_input
        assert int(end["MANHOLE_OUTPUT_RECORDS"]) == cast.n_output
        # start, every piece, who watched and the like, end: a number that is missing is a record that is.
        others = [e for e in self.events(session=session) if e["MANHOLE_EVENT"] not in ("start", "end")]
        assert int(end["MANHOLE_SEQ"]) == 1 + cast.n_input + cast.n_output + len(others)
        return end, cast

    # --------------------------------------------------------------- state

    def links(self):
        """What is open, as /proc names it."""
        links = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return links

    def descriptors(self):
        """What is open, but for the pidfds of targets, and the folders of containers, anywhere on the machine."""
        return len([link for link in self.links() if "pidfd" not in link and link not in ("/", "/tmp")])

    @contextlib.contextmanager
    def no_leak(self):
        """As many descriptors after as before, once the daemon has noticed all ends."""
        before = self.descriptors()
        yield
        wait_for(lambda: self.descriptors() <= before, f"{before} descriptors again, not {self.descriptors()}")

    def resident(self):
        """Bytes in memory; 0 under a sanitizer, which keeps what was freed."""
        if os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"):
            return 0
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024

    def busy(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def serves(self, uid=US):
        """Others are served."""
        error, reply = self.call(f"{SERVICE}.GetInfo", uid=uid)
        return error is None and reply["product"] == "manholed"


class Cast:
    """A recorded session: the bytes of each direction, told from the text of an asciicast."""

    INPUT = {"i", "hello", "open", "interrupt", "complete", "history", "stacks", "tasks", "health"}
    NEVER = {"m", "record"}

    def __init__(self, path):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.header, events = lines[0], [line for line in lines[1:] if line[1] not in self.NEVER]
        self.input = self.output = b""
        self.n_input = self.n_output = 0
        self.pieces = []
        for at, (_, code, text) in enumerate(events):
            if code.startswith("x"):
                continue
            exact = events[at + 1][2] if at + 1 < len(events) and events[at + 1][1] == f"x{code}" else None
            data = text.replace("\r\n", "\n").encode() if exact is None else bytes.fromhex(exact)
            self.pieces.append((code, data))
        self.input = b"".join(data for code, data in self.pieces if code in self.INPUT)
        self.output = b"".join(data for code, data in self.pieces if code not in self.INPUT)
        self.n_input = sum(code in self.INPUT for code, _ in self.pieces)
        self.n_output = len(self.pieces) - self.n_input

    def of(self, code):
        return b"".join(data for c, data in self.pieces if c == code)


# ------------------------------------------------------------------- clients


class Varlink:
    def __init__(self, path, uid=US):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The kernel notes the effective uid of this moment.
        if uid != US:
            os.setegid(uid)
            os.seteuid(uid)
        try:
            self.socket.connect(str(path))
        finally:
            if uid != US:
                os.seteuid(US)
                os.setegid(US)
        self.socket.settimeout(TIMEOUT)
        self.buffer = b""

    def send_raw(self, data):
        self.socket.sendall(data)

    def send_fds(self, data, fds):
        self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])

    @staticmethod
    def encode(method, parameters=None, **flags):
        call = {"method": method, **flags}
        if parameters is not None:
            call["parameters"] = parameters
        return json.dumps(call).encode() + b"\0"

    def send(self, method, parameters=None, behind=b"", **flags):
        self.send_raw(self.encode(method, parameters, **flags) + behind)

    def message(self):
        """The next message, or None at the end."""
        while (at := self.buffer.find(b"\0")) < 0:
            data = self.socket.recv(65536)
            if not data:
                assert self.buffer == b"", f"a torn reply: {self.buffer!r}"
                return None
            self.buffer += data
        message, self.buffer = json.loads(self.buffer[:at]), self.buffer[at + 1:]
        return message

    def reply(self):
        """(error or None, parameters), or None at the end."""
        message = self.message()
        if message is None:
            return None
        assert not message.get("continues")
        return message.get("error"), message["parameters"]

    def call(self, method, parameters=None, **flags):
        self.send(method, parameters, **flags)
        return self.reply()

    def at_end(self):
        """The daemon has closed, whatever it had not read."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class _Attached:
    def __init__(self, client, reply):
        self.socket, self.buffer = client.socket, client.buffer
        self.session, self.answer = reply["session"], reply
        self.id = 0

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)


class Attached(_Attached, Plain):
    """A plain console through the broker."""


class AttachedFrames(_Attached, Framed):
    """Frames through the broker."""


# ------------------------------------------------------------------- targets


class Process:
    """A process that a test holds by its standard streams: it says READY and ends with its input."""

    def __init__(self, code, *arguments, uid=US, cwd="/", prefix=()):
        self.process = subprocess.Popen(
            [*prefix, PYTHON, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=environment(PYTHONPATH=place().path / "python"), cwd=cwd, **as_user(uid),
        )
        self.pid = self.process.pid
        assert self.line() == "READY"

    def line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        assert ready, "the process does not answer"
        return self.process.stdout.readline().decode().rstrip("\n")

    def tell(self, text):
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def do(self, code):
        """Runs a line of Python in a stand-in (below); its answer."""
        self.tell(code)
        return self.line()

    def kill(self):
        self.process.kill()
        self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


AGENT_CODE = """
import os, sys, manhole
manhole.install(socket_path=f"{sys.argv[1]}/manhole-{os.getpid()}", verbose=False)
print("READY", flush=True)
sys.stdin.read()
"""

# Binds a socket of a manhole's name and then does as it is told, a line of Python at a time: the
# other side of the relay in the test's own hand.
STANDIN_CODE = """
import os, socket, sys
from struct import pack
name = sys.argv[2] if len(sys.argv) > 2 else os.getpid()
path = f"{sys.argv[1]}/manhole-{name}"
server = socket.socket(socket.AF_UNIX)
def bind():
    server.bind(path)
def listen():
    bind()
    server.listen()
clients = []
def accept():
    global client
    client, _ = server.accept()
    clients.append(client)
def frame(kind, number, payload=b""):
    client.sendall(pack("<III", len(payload), kind, number) + payload)
def hello():
    frame(128, 0, b"{}".ljust(256))
def receive(n):
    data = b""
    while len(data) < n and (more := client.recv(n - len(data))):
        data += more
    return data
print("READY", flush=True)
for line in sys.stdin:
    try:
        result = eval(line)
    except SyntaxError:
        exec(line)
        result = None
    except Exception as error:
        result = error
    print(repr(result), flush=True)
"""


def application(folder, **kwargs):
    """A Python process with the agent."""
    return Process(AGENT_CODE, folder, **kwargs)


def standin(folder, name="", **kwargs):
    """A process whose socket does what the test says; it listens when told to."""
    return Process(STANDIN_CODE, folder, *([name] if name else []), **kwargs)


def sleeper(uid=US):
    """A process of a user, without a manhole."""
    return Process("import sys; print('READY', flush=True); sys.stdin.read()", uid=uid)


@pytest.fixture
def daemon():
    with Daemon() as d:
        yield d


@pytest.fixture
def target(daemon):
    """A Python process with the agent."""
    with application(daemon.scan) as t:
        daemon.wait_state(t.pid, "live")
        yield t


@pytest.fixture
def peer(daemon):
    """A target that accepts and answers as it is told."""
    with standin(daemon.scan) as t:
        assert t.do("listen()") == "None"
        daemon.wait_state(t.pid, "live")
        yield t


@pytest.fixture(scope="module")
def shared():
    """One daemon for tests that leave it as it was."""
    with Daemon() as d:
        yield d


__all__ = [name for name in dir() if not name.startswith("__")]
