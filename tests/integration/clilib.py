# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the tools share: programs on a terminal, a daemon, targets, and a daemon that
says what a test wants it to say."""
import contextlib
import fcntl
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import pexpect
import pexpect.fdpexpect

BUILD = pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", "build")).resolve()
SOURCE = pathlib.Path(os.environ.get("MANHOLED_SRCDIR", pathlib.Path(__file__).parents[2])).resolve()
MANHOLECTL = str(BUILD / "cli/manholectl")
MANHOLE_CLI = str(BUILD / "cli/manhole-cli")
PATIENCE = 20

DONE, FAILED, USAGE, NO_TARGET, REFUSED, TIMED_OUT = range(6)

ANSWER, OUTPUT, STDERR, PROMPT, DROPPED, END = range(128, 134)
NOTICE, TYPED = 192, 193
HELLO, OPEN, INPUT, INTERRUPT, EXEC = range(1, 6)


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if k not in ("MANHOLED_CONTROL", "COLUMNS", "PAGER", "XDG_STATE_HOME", "PYTHONMANHOLE")}
    env.update(TERM="xterm", LANG="C.UTF-8", **more)
    return env


def run(*args, control=None, input="", env=(), program=MANHOLECTL, **more):
    """Runs a tool to its end, without a terminal."""
    env = environment(**dict(env))
    if control:
        env["MANHOLED_CONTROL"] = str(control)
    return subprocess.run([program, *map(str, args)], input=input, env=env, text=True,
                          capture_output=True, timeout=PATIENCE, **more)


def until(condition, what):
    """Polls where nothing tells of the event."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"in vain: {what}")


def one_line(text, program="manholectl"):
    """The message, if it is the only line."""
    assert re.fullmatch(rf"{program}: [^\n]+\n", text), text
    return text[len(program) + 2:-1]


class Terminal:
    """A program on a pty of its own, whose modes can still be asked when it has ended."""

    def __init__(self, *args, program=MANHOLECTL, control=None, env=(), rows=24, columns=80):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.found = termios.tcgetattr(self.slave)
        env = environment(**dict(env))
        if control:
            env["MANHOLED_CONTROL"] = str(control)
        self.process = subprocess.Popen(
            [program, *map(str, args)], stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.pexpect = pexpect.fdpexpect.fdspawn(self.master, encoding="utf-8", timeout=PATIENCE)
        self.expect = self.pexpect.expect
        self.expect_exact = self.pexpect.expect_exact
        self.send = self.pexpect.send

    def line(self, text):
        self.send(text + "\n")

    def editing(self):
        """Waits until a line is edited: then the terminal does not echo."""
        until(lambda: not termios.tcgetattr(self.slave)[3] & termios.ICANON, "a prompt")

    def modes(self):
        return termios.tcgetattr(self.slave)

    def wait(self):
        return self.process.wait(PATIENCE)

    def rest(self):
        """What is left to read, when the program has ended."""
        text = self.pexpect.buffer
        while select.select([self.master], [], [], 0)[0]:
            text += os.read(self.master, 65536).decode()
        return text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@contextlib.contextmanager
def terminal(*args, **more):
    t = Terminal(*args, **more)
    try:
        yield t
    finally:
        t.close()


@contextlib.contextmanager
def spawned(args, **more):
    process = subprocess.Popen(args, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


@contextlib.contextmanager
def daemon(directory):
    """A manholed of the test's own. Yields its process, with the path `control`."""
    control = pathlib.Path(directory) / "control"
    record = pathlib.Path(directory) / "record"
    record.mkdir(exist_ok=True)
    with open(pathlib.Path(directory) / "manholed.log", "wb") as log, \
            spawned([str(BUILD / "daemon/manholed"), f"--control={control}", f"--record=file:{record}"],
                    env=environment(), stdout=log, stderr=log) as process:
        process.control = control
        process.record = record
        until(lambda: connects(control) or process.poll() is not None, "manholed listens")
        assert process.poll() is None
        yield process


def connects(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(str(path))
        except OSError:
            return False
    return True


APPLICATION = """
import signal, sys
sys.stdout.write("ready\\n")
sys.stdout.flush()
signal.pause()
"""


@contextlib.contextmanager
def killed_with_its_socket(process):
    """A process that is killed leaves the file of its socket behind."""
    process.socket = f"/tmp/manhole-{process.pid}"
    try:
        yield
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(process.socket)


@contextlib.contextmanager
def application(code=APPLICATION, control=None, **more):
    """A process with the agent, which says `ready`. Waits until it listens, and, with `control`,
    until the daemon there knows it."""
    env = environment(PYTHONPATH=str(BUILD / "agent/python"), PYTHONMANHOLE="verbose=False")
    with spawned([os.environ.get("MANHOLED_PYTHON", sys.executable), "-c", code], env=env,
                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **more) as process:
        assert process.stdout.readline() == "ready\n"
        with killed_with_its_socket(process):
            until(lambda: os.path.exists(process.socket), "the agent's socket")
            if control:
                until(lambda: process.pid in listed(control), "manholed knows the application")
            yield process


def listed(control):
    result = run("list", "--json=short", control=control)
    return {t["pid"]: t for t in json.loads(result.stdout)} if result.returncode == 0 else {}


# What the pure-Python package is to a client: text, one connection after the other. With an
# argument, it begins to listen when that signal comes.
PLAIN_APPLICATION = """
import code, contextlib, os, signal, socket, sys
path = "/tmp/manhole-%d" % os.getpid()

def serve(*args):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(1)
    if not args:
        print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        with client, client.makefile("r") as lines, client.makefile("w", buffering=1) as out, \\
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            def ask(prompt=""):
                out.write(prompt)
                out.flush()
                line = lines.readline()
                if not line:
                    raise EOFError
                return line.rstrip("\\n")
            try:
                console = code.InteractiveConsole()
                console.raw_input = ask
                console.interact("(ManholeConsole)", exitmsg="now exiting ManholeConsole...")
                out.flush()
            except (SystemExit, OSError):
                pass

if len(sys.argv) > 1:
    signal.signal(getattr(signal, sys.argv[1]), serve)
    print("ready", flush=True)
    while True:
        signal.pause()
serve()
"""


@contextlib.contextmanager
def plain_application(*args):
    with spawned([sys.executable, "-c", PLAIN_APPLICATION, *args], stdin=subprocess.DEVNULL,
                 stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with killed_with_its_socket(process):
            yield process


def frame(kind, payload=b"", id=1):
    if isinstance(payload, dict):
        payload = json.dumps(payload).encode()
    return struct.pack("<III", len(payload), kind, id) + payload


def hello():
    text = json.dumps({"agent": "manholed-agent", "pid": 1}).encode()
    return frame(ANSWER, text.ljust(256), id=0)


def target(pid, **more):
    value = {"pid": pid, "uid": 0, "user": "root", "unit": None, "comm": "python3",
             "command": "python3 app.py", "python": "3.11", "agent": "native", "state": "live",
             "sessions": 0, "socket": f"/tmp/manhole-{pid}"}
    value.update(more)
    return value


class Peer:
    """The daemon's end of a connection."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.seen = b""

    def _read(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.seen += data

    def call(self):
        while b"\0" not in self.seen:
            self._read()
        text, _, self.seen = self.seen.partition(b"\0")
        return json.loads(text)

    def frame(self):
        while len(self.seen) < 12 or len(self.seen) < 12 + struct.unpack_from("<I", self.seen)[0]:
            self._read()
        n, kind, id = struct.unpack_from("<III", self.seen)
        payload, self.seen = self.seen[12:12 + n], self.seen[12 + n:]
        return kind, id, payload

    def send(self, data):
        self.sock.sendall(data)

    def reply(self, parameters):
        self.send(json.dumps({"parameters": parameters}).encode() + b"\0")

    def error(self, name, **parameters):
        self.send(json.dumps({"error": name, "parameters": parameters}).encode() + b"\0")

    def attach(self, pid=0, framed=True, recording="file:/records", with_reply=b"", **more):
        """Answers Attach; returns its parameters."""
        call = self.call()
        assert call["method"] == "org.manholed.Broker.Attach" and call["upgrade"] is True
        reply = {"session": "feed", "target": target(pid), "framed": framed, "recording": recording, **more}
        self.send(json.dumps({"parameters": reply}).encode() + b"\0" + with_reply)
        return call["parameters"]

    def end(self):
        self.sock.close()


class FakeDaemon:
    """Serves one connection after the other with `script(peer)`."""

    def __init__(self, script):
        self.directory = tempfile.TemporaryDirectory()
        self.control = pathlib.Path(self.directory.name) / "control"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.control))
        self.listener.listen(8)
        self.script = script
        self.error = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                try:
                    self.script(Peer(sock))
                except (BrokenPipeError, ConnectionResetError, EOFError):
                    pass
                except Exception as e:  # told to the test, which is in another thread
                    self.error = e

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE)
        self.listener.close()
        self.directory.cleanup()
        if self.error:
            raise self.error


@contextlib.contextmanager
def fake_daemon(script):
    fake = FakeDaemon(script)
    try:
        yield fake
    finally:
        fake.close()


def kill(process, signo=signal.SIGKILL):
    os.kill(process.pid, signo)


SESSION = {"session": "c0ffee", "uid": 1000, "user": "alice\x1b[2J", "client": 8, "pid": 4321, "comm": "shop",
           "unit": "shop.service", "state": "attached", "since": "2024-05-06T07:08:09Z", "idle": 61.7,
           "input": 10, "output": 2000}


def notice(kind, text):
    return frame(NOTICE, {"kind": kind, "text": text}, id=0)
