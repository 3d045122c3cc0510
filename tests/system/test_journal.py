# SPDX-License-Identifier: BSD-2-Clause
"""What happens to sessions and their record when journald is stopped, killed, frozen or full, keeps nothing,
or is lied to. "Complete" is the word of `manholectl replay --verify`."""
import contextlib
import json
import select
import subprocess
import time

import pytest

from machine import Machine, await_true, variable, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

APPLICATION = """
[Service]
Environment=PYTHONPATH={agent} PYTHONMANHOLE=
ExecStart=/usr/bin/python3 -c "import signal; signal.pause()"
"""

# All that a test writes stays: what is dropped must have been dropped for the test's own reason.
JOURNAL = """
[Journal]
Storage=persistent
SystemMaxUse=1G
SystemKeepFree=16M
"""

JOURNALD = "systemd-journald.service"
SOCKETS = "systemd-journald.socket", "systemd-journald-dev-log.socket"


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    try:
        machine.mount()
        machine.install()
        machine.root("/etc/systemd/system/app.service").write_text(APPLICATION.format(agent=variable("agentdir")))
        folder = machine.root("/etc/systemd/journald.conf.d")
        folder.mkdir(exist_ok=True)
        (folder / "tests.conf").write_text(JOURNAL)
        machine.boot()
        machine.run("useradd", "--no-create-home", "visitor")
        machine.run("systemctl", "enable", "--now", "manholed")
        machine.run("systemctl", "start", "app.service")
        await_true(machine.targets, "app.service is not listed")
        yield machine
    finally:
        machine.stop()


class Console:
    """`manholectl attach` with its standard streams in the test's hand."""

    def __init__(self, machine, target="app.service"):
        self.process = machine.spawn("manholectl", "attach", target, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, bufsize=0)
        self.said = b""
        self.until(b">>> ")

    def send(self, text):
        self.process.stdin.write(text.encode() + b"\n")

    def until(self, end, seconds=30):
        deadline = time.monotonic() + seconds
        while end not in self.said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, (end, self.said[-200:])
            data = self.process.stdout.read(65536)
            assert data, (end, self.said[-200:], self.process.stderr.read())
            self.said += data
        said, _, self.said = self.said.partition(end)
        return said

    def run(self, code):
        self.send(code)
        return self.until(b">>> ").decode()

    def is_over(self, text):
        """Types a line, if that still can be done."""
        with contextlib.suppress(BrokenPipeError):
            self.send(text)
        return self.process.poll() is not None

    def ended(self, seconds=30):
        """What is on standard error when it has ended by itself."""
        deadline = time.monotonic() + seconds
        while select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            data = self.process.stdout.read(65536)
            if not data:
                break
            self.said += data
        self.process.wait(max(0, deadline - time.monotonic()))
        return self.process.stderr.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()
        self.process.stderr.close()


def sessions(machine, event="end"):
    """The ids of recorded sessions, oldest first."""
    return [r["MANHOLE_SESSION"] for r in machine.journal("_SYSTEMD_UNIT=manholed.service", f"MANHOLE_EVENT={event}")]


def live(machine):
    return [s["session"] for s in json.loads(machine.ctl("sessions", "--json=short").stdout)]


def verify(machine, session):
    machine.run("journalctl", "--sync")
    done = machine.ctl("replay", session, "--verify", "--json=short", check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == report["complete"]
    return report


def assert_complete(machine, session):
    """The session's record, when its end has come to it."""
    await_true(lambda: session in sessions(machine), "the session has no end")
    report = verify(machine, session)
    assert report["findings"] == []
    return report


def at_once(machine, *argv):
    """Others are served, within a second."""
    began = time.monotonic()
    result = machine.ctl(*argv)
    assert time.monotonic() - began < 1
    return result


def journald_again(machine, *how):
    """Restarts it, or what else makes it start again."""
    machine.run("systemctl", "reset-failed", JOURNALD)
    machine.run("systemctl", *(how or ("restart", JOURNALD)))


@contextlib.contextmanager
def journald(machine, text):
    """With this configuration."""
    path = machine.root("/etc/systemd/journald.conf.d/zz.conf")
    path.write_text(f"[Journal]\n{text}\n")
    journald_again(machine)
    try:
        yield
    finally:
        path.unlink()
        journald_again(machine)


def test_what_was_typed_and_shown_can_be_shown_again(machine):
    out = machine.ctl("exec", "app.service", "--reason=why", "print('x' * 5000); 6 * 7").stdout
    session = await_true(lambda: sessions(machine), "no end")[-1]
    assert_complete(machine, session)
    shown = machine.ctl("replay", session, "--speed=1000").stdout
    assert shown == "print('x' * 5000); 6 * 7" + out.removesuffix("42\n")
    cast = machine.ctl("replay", session, "--cast=-").stdout.splitlines()
    assert json.loads(cast[0])["version"] == 2 and len(cast) > 3
    start, = machine.journal(f"MANHOLE_SESSION={session}", "MANHOLE_EVENT=start")
    assert start["MANHOLE_REASON"] == "why"
    assert start["MANHOLE_CLIENT_COMMAND"].startswith("manholectl exec app.service")
    assert start["MANHOLE_CLIENT_COMM"] == "manholectl"


def status(machine):
    return json.loads(machine.ctl("status", "--json=short").stdout)


def test_how_far_back_the_journal_reaches_is_told(machine):
    told = status(machine)
    oldest = json.loads(machine.run("sh", "-c", "journalctl -o json --no-pager | head -1").stdout)
    since = int(oldest["__REALTIME_TIMESTAMP"]) // 1_000_000
    assert told["records"]["since"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    assert told["records"]["volatile"] is False and told["problems"] == []
    assert told["records"]["bytes"] > 1 << 20
    with journald(machine, "Storage=volatile"):
        await_true(lambda: status(machine)["records"]["volatile"], "it is not noticed")
        assert "in memory" in status(machine)["problems"][0]
        assert "in memory only" in machine.ctl("status").stdout


def test_a_user_who_may_not_read_the_journal_is_told(machine):
    session = sessions(machine)[-1]
    done = machine.run("runuser", "-u", "visitor", "--", "manholectl", "replay", session, "--verify", check=False)
    assert done.returncode == 3
    assert "systemd-journal" in done.stderr


def test_forged_records_are_ignored(machine):
    with Console(machine) as console:
        session, = live(machine)
        assert console.run("6 * 7") == "42\n"
        fields = [f"MANHOLE_SESSION={session}", "MANHOLE_VERSION=1", "SYSLOG_IDENTIFIER=manholed",
                  "_UID=0", "_SYSTEMD_UNIT=manholed.service", "MESSAGE=forged"]
        records = [["MANHOLE_EVENT=input", "MANHOLE_SEQ=3", "MANHOLE_POS=0", "MANHOLE_DATA=forged"],
                   ["MANHOLE_EVENT=end", "MANHOLE_SEQ=1", "MANHOLE_INPUT_BYTES=0"]]
        for n, record in enumerate(records):
            machine.root(f"/opt/forged{n}").write_text("\n".join(fields + record) + "\n")
            # Somebody; root; and root where the record is read by its unit alone.
            for who in (["runuser", "-u", "visitor", "--"], [], ["systemd-run", "-q", "--wait", "--collect"]):
                machine.run(*who, "sh", "-c", f"logger --journald=/opt/forged{n} </dev/null || logger --journald "
                                              f"</opt/forged{n}")
    assert_complete(machine, session)
    assert len(machine.journal("MESSAGE=forged", f"MANHOLE_SESSION={session}")) == 6
    assert "forged" not in machine.ctl("replay", session, "--speed=1000").stdout


def test_a_hundred_megabytes_are_recorded(machine):
    writing = machine.spawn("manholectl", "exec", "app.service",
                            "import sys\nfor n in range(100): _ = sys.stdout.write(str(n % 10) * 1_000_000)",
                            stdout=subprocess.PIPE)
    n = 0
    while data := writing.stdout.read(1 << 20):
        n += len(data)
    assert writing.wait(30) == 0
    writing.stdout.close()
    assert n == 100_000_000
    session = await_true(lambda: sessions(machine), "no end")[-1]
    assert assert_complete(machine, session)["output"] >= 100_000_000


@pytest.mark.parametrize("how", [["restart", JOURNALD], ["kill", "--signal=KILL", JOURNALD]], ids=["restarted", "killed"])
def test_nothing_is_lost_when_journald_is(machine, how):
    with Console(machine) as console:
        session, = live(machine)
        console.send("import sys, time\nfor n in range(400): _ = sys.stdout.write('%06d' % n * 1000), time.sleep(0.005)\n")
        for _ in range(3):
            journald_again(machine, *how)
            at_once(machine, "list")
        console.until(b"000399" * 1000)
        console.until(b">>> ")
        assert console.run("6 * 7") == "42\n"
    assert assert_complete(machine, session)["output"] > 400 * 6000


def test_a_frozen_journald_makes_sessions_wait(machine):
    journald = machine.pid(JOURNALD)
    with Console(machine) as console:
        session, = live(machine)
        console.send("import sys\nfor n in range(1500): _ = sys.stdout.write('%06d' % n * 1000)\n")
        console.until(b"000010")
        machine.run("kill", "-STOP", journald)
        try:
            # A session begins when its start is known to be kept.
            began = time.monotonic()
            refused = machine.ctl("exec", "app.service", "1", check=False)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "journal" in refused.stderr
            assert time.monotonic() - began < 10
            at_once(machine, "list")
            at_once(machine, "sessions")
            assert console.process.poll() is None
        finally:
            machine.run("kill", "-CONT", journald)
        console.until(b"001499" * 1000)
        console.until(b">>> ")
    assert assert_complete(machine, session)["output"] > 1500 * 6000


def test_without_a_journal_sessions_end_and_none_begins(machine):
    with Console(machine) as console:
        session, = live(machine)
        assert console.run("6 * 7") == "42\n"
        machine.run("systemctl", "stop", *SOCKETS, JOURNALD)
        try:
            began = time.monotonic()
            console.send("'not recorded'")
            assert "recorder is lost" in console.ended()
            assert 4 < time.monotonic() - began < 15
            assert b"not recorded" not in console.said
            assert machine.ctl("exec", "app.service", "1", check=False).returncode == 1
            at_once(machine, "list")
        finally:
            machine.run("systemctl", "start", *SOCKETS, JOURNALD)
    # Its end waited for the journal.
    assert_complete(machine, session)
    assert machine.ctl("exec", "app.service", "6 * 7").stdout == "42\n"


def test_where_the_journal_stores_nothing_nobody_enters(machine):
    with journald(machine, "Storage=none"):
        refused = machine.ctl("exec", "app.service", "1", check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "journal" in refused.stderr
        at_once(machine, "list")
    assert machine.ctl("exec", "app.service", "6 * 7").stdout == "42\n"


def test_a_journal_that_keeps_no_output_is_found_out(machine):
    with journald(machine, "MaxLevelStore=info"):
        with Console(machine) as console:
            assert console.run("6 * 7") == "42\n"
            session, = live(machine)
            await_true(lambda: console.is_over("7"), "it is not noticed")
            assert "does not keep the record" in console.ended()
    assert verify(machine, session)["findings"]


def test_a_full_journal_makes_sessions_wait(machine):
    """journald looks for room with each record that it takes."""
    folder = "/var/log/journal"
    machine.run("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder)
    try:
        with journald(machine, "SystemKeepFree=1"), Console(machine) as console:
            session, = live(machine)
            machine.run("sh", "-c", f"cat /dev/zero >{folder}/ballast || true")
            console.send("import sys\nfor n in range(4000): _ = sys.stdout.write('%06d' % n * 1000)\n")
            console.until(b"000800")
            for _ in range(5):
                at_once(machine, "list")
            machine.run("rm", f"{folder}/ballast")
            console.until(b"003999" * 1000)
            console.until(b">>> ")
            console.process.stdin.close()
            console.process.wait(10)
            assert assert_complete(machine, session)["output"] > 4000 * 6000
    finally:
        machine.run("umount", "-l", folder)
        journald_again(machine)
