# SPDX-License-Identifier: BSD-2-Clause
"""A service manager as far as manholed needs one that outlives it: it keeps descriptors (FDSTORE=1 of
sd_notify(3)) and passes them to the next manholed (sd_listen_fds(3)), in an order of its own."""
import array
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading

from agentlib import TIMEOUT, wait_for
from daemonlib import Daemon, as_user

# Puts descriptors where the manager would, and becomes the daemon.
LAUNCH = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
high = [os.dup2(fd, 500 + k) for k, fd in enumerate(fds)]
for k, fd in enumerate(high):
    os.dup2(fd, 3 + k)
os.closerange(3 + len(fds), 1000)
if fds:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


class Stored(Daemon):
    """manholed with a service manager."""

    def __init__(self, *arguments, env=None, **options):
        self.stored = {}
        self.lock = threading.Lock()
        self.notify = None
        self.options = env or {}
        super().__init__(*arguments, **options)

    def listen(self):
        path = self.folder / "notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path))
        path.chmod(0o666)
        self.env = {**self.env, "NOTIFY_SOCKET": str(path), **self.options}
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        while select.select([self.notify], [], []):
            with self.lock:
                self.take()

    def take(self):
        """What has been said so far; with the lock."""
        while True:
            try:
                text, ancillary, _, _ = self.notify.recvmsg(65536, socket.CMSG_SPACE(64 * 4), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            fds = array.array("i")
            for _, _, data in ancillary:
                fds.frombytes(data[:len(data) // 4 * 4])
            lines = dict(line.split("=", 1) for line in text.decode().splitlines())
            if "FDSTORE" in lines:
                self.stored.setdefault(lines["FDNAME"], []).extend(fds)
            if "FDSTOREREMOVE" in lines:
                for fd in self.stored.pop(lines["FDNAME"], []):
                    os.close(fd)

    def start(self, ready="Ready."):
        if not self.notify:
            self.listen()
        with self.lock:
            self.take()
            pairs = [(name, fd) for name, fds in self.stored.items() for fd in fds]
            random.shuffle(pairs)
            before = self.said().count(ready)
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", LAUNCH, ",".join(str(fd) for _, fd in pairs),
                     ":".join(name for name, _ in pairs), *self.argv],
                    stderr=log, env=self.env, cwd="/", pass_fds=[fd for _, fd in pairs], **as_user(self.uid))
        self.pid = self.process.pid
        wait_for(lambda: self.said().count(ready) > before or self.process.poll() is not None, "manholed's start")
        assert self.process.poll() is None, self.said()

    def restart(self, how=signal.SIGUSR1):
        """In order, or by any signal that ends it."""
        self.process.send_signal(how)
        status = self.process.wait(TIMEOUT)
        assert status == (0 if how == signal.SIGUSR1 else -how), self.said()
        self.start()

    def names(self):
        with self.lock:
            return sorted(self.stored)

    def drop(self, prefix):
        """Something is lost."""
        with self.lock:
            for name in [name for name in self.stored if name.startswith(prefix)]:
                for fd in self.stored.pop(name):
                    os.close(fd)
