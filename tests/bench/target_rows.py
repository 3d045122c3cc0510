# SPDX-License-Identifier: BSD-2-Clause
"""The broker's rows about very many targets, and very many sockets that nobody serves any more."""
import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

from benchlib import *
from relay_rows import Brokered

MANY = 10_000
STALE = 20_000


@contextlib.contextmanager
def following(folder, *arguments):
    """A broker that looks into this folder too."""
    control = f"{folder}.control"
    config = pathlib.Path(f"{folder}.conf")
    config.write_text("[Manholed]\nTargetsPerUser=65536\n")
    process = subprocess.Popen([BUILD / "daemon/manholed", f"--control={control}", f"--scan={folder}", "--record=none",
                                "--log-level=err", f"--config={config}", *arguments])
    wait_for(lambda: os.path.exists(control))
    try:
        yield control, process.pid
    finally:
        process.terminate()
        process.wait()
        config.unlink()


def list_once(control):
    """The targets, as bytes: to parse them is the client's business."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        s.sendall(b'{"method":"org.manholed.Broker.List"}\0')
        answer = bytearray()
        while not answer.endswith(b"\0"):
            answer += s.recv(1 << 20)
    return bytes(answer)


def memory(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")) * 1024


def processor(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare_loop(folder):
    for entry in os.scandir(folder):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect_ex(entry.path)


def many_targets():
    """Each a process of its own, all of one program that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        with following(folder) as (control, pid):
            list_once(control)
            empty = memory(pid)
        crowd = subprocess.Popen([BUILD / "tests/bench/manholes", folder, str(MANY)], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        assert crowd.stdout.readline() == b"ready\n"
        try:
            start = time.perf_counter()
            with following(folder) as (control, pid):
                while list_once(control).count(b'"state":"live"') < MANY:
                    pass
                started = time.perf_counter() - start
                bare = [timed(lambda: bare_loop(folder)) for _ in range(5)]
                row("10,000 targets: start to complete list", [started], [1], "s", against="the goal")
                lists = []
                for _ in range(5):
                    time.sleep(2)  # what was seen a moment ago is believed
                    lists.append(timed(lambda: list_once(control)))
                row("10,000 targets: list", lists, bare, "ms", 1e3, against="a loop of readdir and probe in Python")
                row("10,000 targets: memory of each", [(memory(pid) - empty) / MANY], [2048], "B", against="the goal")
                time.sleep(2)
                before = processor(pid)
                time.sleep(5)
                row("10,000 targets: idle for 5 s", [processor(pid) - before], [1], "s", against="the goal, which is 0")
        finally:
            crowd.communicate(b"")


def many_stale():
    """Sockets of dead processes, which are removed while somebody opens one console after the other."""
    with tempfile.TemporaryDirectory() as folder, application(AGENT) as (pid, _):
        for n in range(STALE):
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(f"{folder}/manhole-{4_100_000 + n}")
        time.sleep(2.5)  # too young before
        with following(folder) as (control, _):
            def attach():
                console = Brokered(control, pid)
                console.reply()
                console.until(b">>> ")
                console.close()

            busy, quiet = [], []
            start = time.perf_counter()
            while os.listdir(folder):
                busy.append(timed(attach))
            removed = time.perf_counter() - start
            for _ in range(20):
                quiet.append(timed(attach))
        row("attach while 20,000 stale ones are removed", busy, quiet, "ms", 1e3, against="attach when all is quiet")
        row("the same, the longest", [max(busy)], [max(quiet)], "ms", 1e3, against="attach when all is quiet")
        row("20,000 stale sockets removed", [removed], [1], "s", against="nothing: one second")
