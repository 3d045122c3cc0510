# SPDX-License-Identifier: BSD-2-Clause
"""A booted systemd to test in: this machine's own root folder as an overlay, in systemd-nspawn.

Mounts live in a private mount namespace and nspawn dies with us, so nothing outlives the test
however it ends; only empty cgroups can, and the next run removes those.
"""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import pytest

BUILD = pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", "build")).resolve()
CGROUPS = pathlib.Path("/sys/fs/cgroup")
CLONE_NEWNS = 0x00020000
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """The reason why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for program in "systemd-nspawn", "nsenter", "mount", "make":
        if not shutil.which(program):
            return f"{program} is missing"
    if in_chroot():
        return "in a chroot, where nspawn cannot work"
    if not hierarchies():
        return "no writable cgroup hierarchy"
    if os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"):
        return "an instrumented agent is no system's agent"
    units = variable("systemdsystemunitdir")
    if units not in ("/lib/systemd/system", "/usr/lib/systemd/system"):
        return f"configured with units in {units}, where systemd does not look"
    return None


def in_chroot():
    try:
        return not os.path.samefile("/proc/1/root", "/")
    except OSError:
        return False  # some sandboxes hide process 1 even from root


def variable(name):
    """The value of a variable of the build's Makefile."""
    values = dict(line.split(" = ", 1) for line in (BUILD / "Makefile").read_text().splitlines()
                  if " = " in line and not line.startswith(("\t", " ")))
    value = values[name]
    for _ in range(8):
        for inner in "prefix", "exec_prefix", "datarootdir":
            value = value.replace("${%s}" % inner, values[inner])
    return value


def hierarchies():
    """The roots of the cgroup hierarchies that a machine needs a group of its own in."""
    roots = ([CGROUPS] if (CGROUPS / "cgroup.procs").exists()
             else [CGROUPS / "systemd", CGROUPS / "unified"])
    return [r for r in roots if (r / "cgroup.procs").exists() and os.access(r, os.W_OK)]


def await_true(condition, what, seconds=20):
    """Polls, for what gives no event across the container's border."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(0.05)


def remove_cgroups(name):
    for root in hierarchies():
        for group in root.glob(name):
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # of a machine that lives


class Machine:
    def __init__(self):
        self.name = f"manholed-test-{os.getpid()}"
        self.base = None
        self.nspawn = None
        self.leader = None

    def root(self, path):
        return self.base / "root" / path.lstrip("/")

    def mount(self):
        if libc.unshare(CLONE_NEWNS) != 0:
            pytest.skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
        remove_cgroups("manholed-test-*")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="manholed-test-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tmpfs", self.base], check=True)
        for folder in "up", "work", "root":
            (self.base / folder).mkdir()
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir=/,upperdir={self.base}/up,workdir={self.base}/work",
                        self.base / "root"], check=True)
        # Of its own, and not missing: a first boot would enable every unit.
        self.root("/etc/machine-id").write_text(uuid.uuid4().hex + "\n")

    def install(self):
        """What `make install` gives, in the machine's root folder."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
        subprocess.run(["make", "-s", "-C", BUILD, "install", f"DESTDIR={self.base}/root"],
                       check=True, env=env, stdout=subprocess.DEVNULL)

    def boot(self):
        def enter():
            for root in hierarchies():
                group = root / self.name
                group.mkdir()
                (group / "cgroup.procs").write_text("0")
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        log = open(self.base / "log", "wb")
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "-D", self.base / "root", "--register=no", "--keep-unit",
             "-M", self.name, "--private-network", "-b", "systemd.unit=basic.target"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=enter)
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")

        def up():
            assert self.nspawn.poll() is None, (self.base / "log").read_text(errors="replace")
            self.leader = next(iter(children.read_text().split()), None)
            return (self.leader and os.path.exists(f"/proc/{self.leader}/root/run/systemd/private")
                    and self.run("systemctl", "is-system-running", check=False).stdout.strip()
                    in ("running", "degraded"))

        await_true(up, "the machine does not boot", 60)

    def command(self, *argv):
        return ["nsenter", "-t", self.leader, "-a", "env", "-i", "LANG=C.UTF-8",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *map(str, argv)]

    def run(self, *argv, check=True, **options):
        """Runs a command inside and returns what subprocess.run() does."""
        result = subprocess.run(
            self.command(*argv), text=True, capture_output=True, timeout=60,
            **({"stdin": subprocess.DEVNULL} if "input" not in options else {}), **options)
        if check:
            assert result.returncode == 0, f"{argv}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def spawn(self, *argv, **options):
        """Starts a command inside; a Popen."""
        return subprocess.Popen(self.command(*argv), **options)

    def show(self, unit, name):
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def pid(self, unit):
        return int(self.show(unit, "MainPID"))

    def ctl(self, *argv, **options):
        return self.run("manholectl", *argv, **options)

    def targets(self):
        return json.loads(self.ctl("list", "--json=short").stdout)

    def journal(self, *matches):
        """Records that match, as dictionaries of text."""
        self.run("journalctl", "--sync")
        out = self.run("journalctl", "-o", "json", "-a", "--no-pager", *matches).stdout
        return [{k: text(v) for k, v in json.loads(line).items()} for line in out.splitlines()]

    def stop(self):
        if self.nspawn and self.nspawn.poll() is None:
            self.nspawn.terminate()
            try:
                self.nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        if self.base:
            for folder in self.base / "root", self.base:
                subprocess.run(["umount", "-l", folder], check=False)
            self.base.rmdir()
        remove_cgroups(self.name)


def text(value):
    """journalctl's JSON has a list of bytes for a field with control characters in it."""
    if isinstance(value, list) and value and all(isinstance(byte, int) for byte in value):
        return bytes(value).decode(errors="replace")
    return value
