# SPDX-License-Identifier: BSD-2-Clause
"""What the agent's tests need: applications to connect to, and a client for each face.

Nothing here sleeps to wait for something: every wait is for bytes, lines or a condition, and fails
after TIMEOUT.
"""
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
import threading
import time

import pytest

TIMEOUT = 20.0

SOURCE = pathlib.Path(os.environ.get("MANHOLED_SRCDIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", SOURCE / "build"))
AGENT = BUILD / "agent" / "python"
HOSTS = SOURCE / "tests" / "hosts"
# The interpreter that runs the application; pytest has its own.
PYTHON = (
    os.environ.get("MANHOLED_TARGET_PYTHON")
    or os.environ.get("MANHOLED_PYTHON")
    or sys.executable
)

HELLO, OPEN, INPUT, INTERRUPT, EXEC, COMPLETE, HISTORY, STACKS, TASKS, HEALTH = range(1, 11)
ANSWER, OUTPUT, STDERR, PROMPT, DROPPED, END = range(128, 134)

BANNER_END = b"(ManholeConsole)\n"


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MANHOLE"))}
    env.update(PYTHONPATH=str(AGENT), PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1",
               PYTHONWARNINGS="ignore::DeprecationWarning")
    if "address" in os.environ.get("MANHOLED_SANITIZER", ""):
        # With libstdc++ beside it, or libasan stops the first C++ exception (greenlet's).
        libraries = [
            subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
            for name in ("libasan.so", "libstdc++.so.6")
        ]
        env.update(
            LD_PRELOAD=" ".join(libraries),
            PYTHONMALLOC="malloc",
            ASAN_OPTIONS="detect_leaks=0:" + os.environ.get("ASAN_OPTIONS", ""),
        )
    if "thread" in os.environ.get("MANHOLED_SANITIZER", ""):
        library = subprocess.run(["gcc", "-print-file-name=libtsan.so"], capture_output=True, text=True).stdout.strip()
        env.update(LD_PRELOAD=library, TSAN_OPTIONS="die_after_fork=0:" + os.environ.get("TSAN_OPTIONS", ""))
    env.update({k: str(v) for k, v in changes.items() if v is not None})
    for name in [k for k, v in changes.items() if v is None]:
        env.pop(name, None)
    return env


def wait_for(condition, what, timeout=TIMEOUT):
    """For what has no event of its own: asks until it is so."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.01)
    return value


class Host:
    """A running application, whose standard streams the test holds."""

    def __init__(self, *arguments, python=PYTHON, flags=(), env=None, ready="READY", cwd=None):
        self.process = subprocess.Popen(
            [python, *flags, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment() if env is None else env,
            cwd=cwd,
        )
        self.pid = self.process.pid
        self.path = f"/tmp/manhole-{self.pid}"
        self.changed = threading.Condition()
        self.out, self.err = [], []
        self.readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.out)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.err)),
        ]
        for reader in self.readers:
            reader.start()
        if ready:
            self.wait_out(f"^{ready}$")

    def _read(self, pipe, lines):
        for line in pipe:
            with self.changed:
                lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()

    def _wait(self, lines, pattern, start, timeout):
        def found():
            return next((line for line in lines[start:] if re.search(pattern, line)), None)

        with self.changed:
            self.changed.wait_for(lambda: found() is not None, timeout)
            line = found()
            assert line is not None, f"no line {pattern!r} in {lines[start:]!r}; stderr: {self.err!r}"
            return line

    def wait_out(self, pattern, start=0, timeout=TIMEOUT):
        return self._wait(self.out, pattern, start, timeout)

    def wait_err(self, pattern, start=0, timeout=TIMEOUT):
        return self._wait(self.err, pattern, start, timeout)

    def wait_more_out(self, n, timeout=TIMEOUT):
        """Until the application has printed so many lines more."""
        with self.changed:
            wanted = len(self.out) + n
            assert self.changed.wait_for(lambda: len(self.out) >= wanted, timeout), "it stopped printing"

    def do(self, code):
        """Has the application's main thread run a line (hosts/plain.py), and waits until it has."""
        self.count = getattr(self, "count", 0) + 1
        mark = f"DONE-{self.count}"
        text = f"exec({code!r})\nwrite_raw({mark!r})\n"
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        self.wait_out(f"^{mark}$")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        """The kernel's names of its threads, by their id."""
        names = {}
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            try:
                comm = pathlib.Path(f"/proc/{self.pid}/task/{tid}/comm").read_text()
                names[int(tid)] = comm.rstrip("\n")
            except OSError:
                pass  # it has just ended
        return names

    def thread_names(self):
        return list(self.threads().values())

    def wait_blocked(self, name=None):
        """Until the main thread, or one whose name begins so, goes on sleeping in one system call."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task")
        task = tasks / str(self.pid)
        if name:
            task = next(t for t in tasks.iterdir() if (t / "comm").read_text().startswith(name))
        seen = []

        def sleeps():
            seen.append((task / "syscall").read_text())
            return len(seen) > 1 and seen[-1] == seen[-2] and not seen[-1].startswith("running")

        wait_for(sleeps, "a thread blocks")

    def wait_idle(self):
        """Until the I/O thread sleeps: it has a few files to read when it begins."""
        self.wait_thread("Manhole")
        self.wait_blocked("Manhole")

    def wait_thread(self, name):
        """The id of the thread that has this name: it takes it when it has started."""
        return wait_for(
            lambda: next((t for t, n in self.threads().items() if n == name), None), f"thread {name}"
        )

    def wait(self, timeout=TIMEOUT):
        status = self.process.wait(timeout)
        for reader in self.readers:
            reader.join(TIMEOUT)
        return status

    def finish(self, timeout=TIMEOUT):
        """Lets the application end by itself."""
        self.process.stdin.close()
        return self.wait(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except OSError:
                pass
        # A killed process leaves its file; this one is certainly nobody else's.
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


def plain_host(options="", **kwargs):
    return Host(HOSTS / "plain.py", options, **kwargs)


@pytest.fixture
def host():
    with plain_host() as host:
        yield host


class Client:
    def __init__(self, path, name=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if name is not None:
            self.socket.bind(name)
        # With a time-out set before, a full backlog would be an error instead of a wait.
        self.socket.connect(str(path))
        self.socket.settimeout(TIMEOUT)
        self.buffer = b""

    def receive(self):
        """Appends what comes; False at the end."""
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def close(self):
        self.socket.close()

    def wait_closed(self):
        """Reads to the end, whichever way the other side closes."""
        try:
            while self.receive():
                pass
        except ConnectionResetError:
            pass
        return self.buffer

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Plain(Client):
    """As somebody types into socat."""

    def until(self, wanted):
        while (at := self.buffer.find(wanted)) < 0:
            assert self.receive(), f"closed before {wanted!r}: {self.buffer!r}"
        at += len(wanted)
        text, self.buffer = self.buffer[:at], self.buffer[at:]
        return text

    def start(self):
        self.until(BANNER_END)
        self.until(b">>> ")
        return self

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def run(self, line, prompt=b">>> "):
        """Types a line; what is printed before the next prompt."""
        self.send(line + "\n")
        return self.until(prompt)[: -len(prompt)].decode()


def connect(host):
    return Plain(host.path).start()


class Framed(Client):
    count = 0

    def __init__(self, path, version=1):
        Framed.count += 1
        super().__init__(path, f"\0manhole/{version}/{os.getpid()}-{Framed.count}-{time.monotonic_ns()}")
        self.id = 0

    def frame(self):
        """The next (type, id, payload), or None at the end."""
        while len(self.buffer) < 12 or len(self.buffer) < 12 + struct.unpack("<I", self.buffer[:4])[0]:
            if not self.receive():
                assert self.buffer == b"", "a torn frame"
                return None
        length, kind, number = struct.unpack("<III", self.buffer[:12])
        payload, self.buffer = self.buffer[12 : 12 + length], self.buffer[12 + length :]
        return kind, number, payload

    def hello(self):
        kind, number, payload = self.frame()
        assert (kind, number) == (ANSWER, 0)
        return json.loads(payload)

    def send(self, kind, number, payload=b""):
        payload = payload.encode() if isinstance(payload, str) else payload
        self.socket.sendall(struct.pack("<III", len(payload), kind, number) + payload)

    def request(self, kind, payload=b""):
        self.id += 1
        self.send(kind, self.id, payload)
        return self.id

    def until(self, kind, number):
        """Frames up to one of this type; the payloads joined by type, that frame's included."""
        seen = {}
        while (frame := self.frame()) is not None:
            assert frame[1] == number, frame
            seen[frame[0]] = seen.get(frame[0], b"") + frame[2]
            if frame[0] == kind:
                return seen
        raise AssertionError(f"closed before type {kind}: {seen!r}")

    def ask(self, kind, payload=b""):
        return json.loads(self.until(ANSWER, self.request(kind, payload))[ANSWER])

    def stacks(self, options=""):
        """As text, taken with the GIL."""
        answer = self.ask(STACKS, options)
        assert answer["gil"]
        return answer["text"]

    def exec(self, code):
        """Runs code to its end: (end object, stdout, stderr)."""
        return self.exec_end(self.request(EXEC, code))

    def exec_end(self, number):
        seen = self.until(END, number)
        return (
            json.loads(seen[END]),
            seen.get(OUTPUT, b"").decode(),
            seen.get(STDERR, b"").decode(),
        )


def framed(host):
    client = Framed(host.path)
    client.hello()
    return client


@pytest.fixture
def client(host):
    """A framed one, of whatever host the test has."""
    with framed(host) as client:
        yield client


def is_listening(path):
    """By the kernel's table, which opens no console: flags, type, state, inode, path."""
    with open("/proc/net/unix") as table:
        return any(
            len(words := line.split()) == 8 and words[7] == str(path) and int(words[3], 16) & 0x10000
            for line in table.readlines()[1:]
        )


def target_version():
    code = "import sys; print(sys.version_info[:2])"
    return eval(subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout)


def target_has(module):
    return subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode == 0


__all__ = [name for name in dir() if not name.startswith("_")]
