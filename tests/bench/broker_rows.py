# SPDX-License-Identifier: BSD-2-Clause
"""The broker's rows: what passes through it, and what it lists."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile

from benchlib import *


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
        self.begin()
        reply, self.tail = reply.split(b"\0", 1)
        assert "error" not in json.loads(reply), reply


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


def relay():
    with application(AGENT) as (pid, address), socat(address) as path:
        for record in "none", "file":
            with broker(record) as (control, _):
                a, b = Brokered(control, pid), Plain(path)
                a.until(b">>> "), b.until(b">>> ")
                note = "socat, which records nothing"
                row(f"relayed round trip, record={record}",
                    *turns(200, lambda: a.run(b"1+1"), lambda: b.run(b"1+1")), "ms", 1e3, against=note)
                for console in a, b:
                    console.run(b"big = 'x' * 20_000_000")
                row(f"relayed 20 MB, record={record}",
                    *turns(3, lambda: a.run(b"print(big)"), lambda: b.run(b"print(big)")), "ms", 1e3, against=note)
                a.close(), b.close()


def list_targets():
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
