# SPDX-License-Identifier: BSD-2-Clause
"""`make bench`: what manholed costs, beside what a user would pick instead.

Every figure is a median, and every ratio is of one run: the two sides take turns, so that a noisy
machine is noisy for both. Nothing here passes or fails.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", "build")).resolve()
AGENT = BUILD / "agent/python"
PACKAGE = BUILD / "tests/python-manhole/usr/lib/python3/dist-packages"
PYTHON = os.environ.get("MANHOLED_PYTHON", sys.executable)


INSTALL = """
import time
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4
import sys
sys.modules.update(gevent=None, eventlet=None)  # the package would import them only to look at them
before = rss(); start = time.perf_counter()
import manhole
manhole.install(verbose=False)
print(time.perf_counter() - start, rss() - before, flush=True)
"""
APPLICATION = "import manhole; manhole.install(verbose=False); print('ready', flush=True); input()"


def environment(path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MANHOLE"))}
    return env | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def application(path):
    process = subprocess.Popen([PYTHON, "-c", APPLICATION], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=environment(path))
    assert process.stdout.readline() == b"ready\n"
    address = f"/tmp/manhole-{process.pid}"
    wait_for(lambda: os.path.exists(address))
    try:
        yield process.pid, address
    finally:
        process.communicate(b"\n", timeout=30)


@contextlib.contextmanager
def broker(record):
    with tempfile.TemporaryDirectory() as folder:
        control = f"{folder}/control"
        where = f"file:{folder}/record" if record == "file" else record
        process = subprocess.Popen([BUILD / "daemon/manholed", f"--control={control}", f"--record={where}",
                                    "--log-level=err"])
        wait_for(lambda: os.path.exists(control))
        try:
            yield control, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Plain:
    """A console as socat has it."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX)
        # Between bind() and listen() nobody answers yet.
        wait_for(lambda: self.socket.connect_ex(address) == 0)
        self.buffer = b""

    def until(self, end):
        while not self.buffer.endswith(end):
            data = self.socket.recv(1 << 18)
            assert data, self.buffer[-200:]
            self.buffer = self.buffer[-64:] + data
        self.buffer = b""

    def run(self, code):
        self.socket.sendall(code + b"\n")
        self.until(b">>> ")

    def close(self):
        self.socket.close()


class Brokered(Plain):
    """A console through manholed, plain."""

    def __init__(self, control, pid):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(control)
        call = {"method": "org.manholed.Broker.Attach", "parameters": {"target": str(pid)}, "upgrade": True}
        self.socket.sendall(json.dumps(call).encode() + b"\0")
        reply = b""
        while b"\0" not in reply:
            reply += self.socket.recv(4096)
        reply, self.buffer = reply.split(b"\0", 1)
        assert "error" not in json.loads(reply), reply


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def turns(n, *functions):
    """Each function n times, in turn: the list of its times."""
    times = [[] for _ in functions]
    for _ in range(n):
        for function, of_it in zip(functions, times):
            of_it.append(timed(function))
    return times


def row(what, ours, theirs, unit, scale, better="lower", against="the pure-Python package"):
    a, b = statistics.median(ours) * scale, statistics.median(theirs) * scale
    print(f"{what:44} {a:10.3f} {b:10.3f} {unit:5} {a / b:7.3f}  ({better} is better; against {against})",
          flush=True)


def bench_install():
    def once(path):
        out = subprocess.run([PYTHON, "-c", INSTALL], env=environment(path), check=True, capture_output=True)
        return [float(x) for x in out.stdout.split()]

    ours, theirs = [], []
    for _ in range(15):
        ours.append(once(AGENT))
        theirs.append(once(PACKAGE))
    row("import and install", [t for t, _ in ours], [t for t, _ in theirs], "ms", 1e3)
    row("its memory", [m for _, m in ours], [m for _, m in theirs], "kB", 1)


def bench_console():
    def connect(address):
        console = Plain(address)
        console.until(b">>> ")
        console.close()

    with application(AGENT) as (_, ours), application(PACKAGE) as (_, theirs):
        connect(ours), connect(theirs)  # both import at the first session
        row("connect to prompt", *turns(50, lambda: connect(ours), lambda: connect(theirs)), "ms", 1e3)
        a, b = Plain(ours), Plain(theirs)
        a.until(b">>> "), b.until(b">>> ")
        row("a round trip of 1+1", *turns(200, lambda: a.run(b"1+1"), lambda: b.run(b"1+1")), "ms", 1e3)
        for console in a, b:
            console.run(b"big = 'x' * 20_000_000")
        row("print 20 MB", *turns(3, lambda: a.run(b"print(big)"), lambda: b.run(b"print(big)")), "ms", 1e3)
        loop = b"for i in range(50_000): print(i)\n"
        row("50,000 short prints", *turns(3, lambda: a.run(loop), lambda: b.run(loop)), "ms", 1e3)
        a.close(), b.close()


@contextlib.contextmanager
def socat(address):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/relay"
        process = subprocess.Popen(["socat", f"UNIX-LISTEN:{path},fork", f"UNIX-CONNECT:{address}"])
        wait_for(lambda: os.path.exists(path))
        try:
            yield path
        finally:
            process.terminate()
            process.wait()


def bench_relay():
    with application(AGENT) as (pid, address), socat(address) as relay:
        for record in "none", "file":
            with broker(record) as (control, _):
                a, b = Brokered(control, pid), Plain(relay)
                a.until(b">>> "), b.until(b">>> ")
                note = "socat, which records nothing"
                row(f"relayed round trip, record={record}",
                    *turns(200, lambda: a.run(b"1+1"), lambda: b.run(b"1+1")), "ms", 1e3, against=note)
                for console in a, b:
                    console.run(b"big = 'x' * 20_000_000")
                row(f"relayed 20 MB, record={record}",
                    *turns(3, lambda: a.run(b"print(big)"), lambda: b.run(b"print(big)")), "ms", 1e3, against=note)
                a.close(), b.close()


def bench_list():
    """1,000 live sockets, all of this process, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        listeners = []
        for n in range(1000):
            s = socket.socket(socket.AF_UNIX)
            s.bind(f"{folder}/manhole-{4_000_000 + n}")
            s.listen()
            listeners.append(s)

        def probe_all():
            for entry in os.scandir(folder):
                s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                s.connect_ex(entry.path)
                s.close()

        control = f"{folder}/control"
        process = subprocess.Popen([BUILD / "daemon/manholed", f"--control={control}", f"--scan={folder}",
                                    "--record=none", "--log-level=err"])
        wait_for(lambda: os.path.exists(control))

        def list_all():
            subprocess.run([BUILD / "cli/manholectl", f"--control={control}", "list", "--json=short"],
                           check=True, stdout=subprocess.DEVNULL)

        list_all()
        row("manholectl list, 1,000 sockets", *turns(15, list_all, probe_all), "ms", 1e3,
            against="a loop of readdir and probe in Python")
        process.terminate()
        process.wait()
        for s in listeners:
            s.close()


def main():
    print(f"{'':44} {'manholed':>10} {'the other':>10}       {'ratio':>7}")
    if (PACKAGE / "manhole").is_dir():
        bench_install()
        bench_console()
    else:
        print("(the pure-Python package is not here: run tests/fetch-python-manhole in the build folder)")
    if shutil.which("socat"):
        bench_relay()
    else:
        print("(socat is not here)")
    bench_list()


main()
