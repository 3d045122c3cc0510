# SPDX-License-Identifier: BSD-2-Clause
"""The agent's rows: what it costs an application, and how fast its console is."""
import contextlib
import glob
import io
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from benchlib import *

# The package looks for gevent and eventlet and would import them. What counts as memory is what nobody
# else has: pages of files are there once for all processes, and come and go with their neighbours.
# What a thread takes when install() has returned counts too.
INSTALL = """
import sys
import time
sys.modules.update(gevent=None, eventlet=None)
def resident():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return [int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon")]
resident()
before = resident(); start = time.perf_counter()
import manhole
manhole.install(verbose=False)
elapsed = time.perf_counter() - start
time.sleep(0.1)
print(elapsed, *(b - a for a, b in zip(before, resident())), flush=True)
"""
# What a service has loaded anyway.
USUAL = "import json, logging, re, socket, subprocess, threading, traceback\n"
# Prints lines for so long as it is asked to, as a service does that is logged, and says how many it could.
PRINTER = """
import manhole, sys, time
manhole.install(verbose=False)
print("ready", file=sys.stderr, flush=True)
for line in sys.stdin:
    n, end = 0, time.perf_counter() + float(line)
    while time.perf_counter() < end:
        for _ in range(100):
            print("a line of about as many characters as such lines have:", n, flush=True)
        n += 100
    sys.__stdout__.truncate(0)
    print(n, file=sys.__stderr__, flush=True)
"""


def interpreters():
    """The configured one, and 3.13 where there is one."""
    found = {PYTHON: ""}
    for path in [shutil.which("python3.13"), *glob.glob(os.path.expanduser("~/.pyenv/versions/3.13.*/bin/python3"))]:
        if path and len(found) == 1 and subprocess.run([path, "-c", "1"], capture_output=True).returncode == 0:
            found[path] = ", 3.13"
    return found


@contextlib.contextmanager
def installed(package, python):
    """A copy of the package with its caches, as an installation has them."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(package / "manhole", f"{folder}/manhole", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([python, "-m", "compileall", "-q", folder], check=True)
        yield pathlib.Path(folder)


def install():
    for python, suffix in interpreters().items():
        with installed(AGENT, python) as ours, installed(PACKAGE, python) as theirs:
            for code, what in (INSTALL, ""), (USUAL + INSTALL, ", usual modules loaded"):
                def once(path):
                    out = subprocess.run([python, "-c", code], env=environment(path), check=True,
                                         capture_output=True)
                    return [float(x) for x in out.stdout.split()]

                a, b = zip(*[(once(ours), once(theirs)) for _ in range(15)])
                a, b = list(zip(*a)), list(zip(*b))
                row(f"import and install{suffix}{what}", a[0], b[0], "ms", 1e3)
                row("  its memory", a[2], b[2], "kB")
                row("  and pages of files", a[1], b[1], "kB")


def trips(ours, theirs):
    """The times of round trips; over fresh connections, since a thread stays where it was placed."""
    times = [], []
    for _ in range(20):
        a, b = Plain(ours), Plain(theirs)
        a.until(b">>> "), b.until(b">>> ")
        for all_of_it, some in zip(times, turns(50, lambda: a.run(b"1+1"), lambda: b.run(b"1+1"))):
            all_of_it.extend(some)
        a.close(), b.close()
    return times


def bare_send():
    """20 MB from one thread to another, which reads them as the consoles' client does."""
    data, (a, b) = b"x" * 20_000_000, socket.socketpair()
    room, n = bytearray(1 << 18), 0
    with a, b:
        sender = threading.Thread(target=a.sendall, args=(data,))
        sender.start()
        while n < len(data):
            n += b.recv_into(room)
        sender.join()


def bare_prints():
    """To the file that takes the least time of all."""
    file = io.StringIO()
    for i in range(50_000):
        print(i, file=file)


def console():
    def connect(address):
        console = Plain(address)
        console.until(b">>> ")
        console.close()

    with application(AGENT) as (_, ours), application(PACKAGE) as (_, theirs):
        connect(ours), connect(theirs)  # both import at the first session
        times = turns(200, lambda: connect(ours), lambda: connect(theirs))
        row("connect to prompt", *times, "ms", 1e3)
        row("connect to prompt, 99th percentile", *times, "ms", 1e3, figure=p99)
        row("a round trip of 1+1", *trips(ours, theirs), "ms", 1e3)
        a, b = Plain(ours), Plain(theirs)
        a.until(b">>> "), b.until(b">>> ")
        for console in a, b:
            console.run(b"big = 'x' * 20_000_000")
        # What no console can do without has a row of its own: how far the ratio above it can get.
        mine, theirs, bare = turns(9, lambda: a.run(b"print(big)"), lambda: b.run(b"print(big)"), bare_send)
        row("print 20 MB", mine, theirs, "ms", 1e3)
        row("  a bare socket pair alone", bare, theirs, "ms", 1e3)
        loop = b"for i in range(50_000): print(i)\n"
        mine, theirs, bare = turns(9, lambda: a.run(loop), lambda: b.run(loop), bare_prints)
        row("50,000 short prints", mine, theirs, "ms", 1e3)
        row("  print() into memory alone", bare, theirs, "ms", 1e3)
        a.close(), b.close()

    # Across CPUs, most of it is how the kernel has placed the threads this time.
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        with application(AGENT) as (_, ours), application(PACKAGE) as (_, theirs):
            row("a round trip of 1+1, on one CPU", *trips(ours, theirs), "ms", 1e3)
    finally:
        os.sched_setaffinity(0, cpus)


def stalled():
    """What the application prints in a second beside a console that takes nothing, against beside none."""
    with tempfile.TemporaryFile("ab") as file:
        process = subprocess.Popen([PYTHON, "-c", PRINTER], stdin=subprocess.PIPE, stdout=file,
                                   stderr=subprocess.PIPE, env=environment(AGENT))
    assert process.stderr.readline() == b"ready\n"

    def lines():
        process.stdin.write(b"0.3\n")
        process.stdin.flush()
        return int(process.stderr.readline()) / 0.3

    lines()
    beside, alone = [], []
    for _ in range(5):
        alone.append(lines())
        client = Plain(f"/tmp/manhole-{process.pid}")
        client.until(b">>> ")
        lines()  # its queue is full then
        beside.append(lines())
        client.close()
        wait_for(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == 2)
    row("lines printed beside a stalled console", beside, alone, "/s", better="higher", against="no console")
    process.stdin.close()
    process.wait(30)


@contextlib.contextmanager
def idle():
    """How often the agent's thread wakes meanwhile in an application that nobody talks to."""
    def status(task):
        return dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())

    with application(AGENT) as (pid, _):
        task = next(t for t in pathlib.Path(f"/proc/{pid}/task").iterdir() if t.name != str(pid))
        wait_for(lambda: status(task)["State"].strip().startswith("S"))
        start, before = time.monotonic(), status(task)
        yield
        after = status(task)
        n = sum(int(after[k]) - int(before[k]) for k in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
        print(f"wake-ups of an idle agent in {time.monotonic() - start:.0f} s: {n}", flush=True)
