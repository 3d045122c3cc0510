# SPDX-License-Identifier: BSD-2-Clause
"""The broker's rows about what it finds."""
import os
import socket
import subprocess
import tempfile

from benchlib import *
from relay_rows import broker


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


def stacks():
    """Of 100 processes, beside a console in each of them, which begins with them."""
    with contextlib.ExitStack() as stack, broker("none", "/tmp") as (control, _):
        targets = [stack.enter_context(application(AGENT)) for _ in range(100)]
        pids = [str(pid) for pid, _ in targets]

        def ask_all():
            subprocess.run([BUILD / "cli/manholectl", f"--control={control}", "stacks", *pids], check=True,
                           stdout=subprocess.DEVNULL)

        def attach_all():
            for _, address in targets:
                console = Plain(address)
                console.until(b">>> ")
                console.close()

        ask_all()
        row("manholectl stacks, 100 processes", *turns(15, ask_all, attach_all), "ms", 1e3,
            against="a console in each, one after the other, without the broker")
