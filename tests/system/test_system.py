# SPDX-License-Identifier: BSD-2-Clause
"""The installed thing on a booted systemd: units, a real application's service, its journal."""
import json
import os
import re

import pytest

from machine import Machine, await_true, variable, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

CATALOG = {
    "start": "029ba6fe313e48319210947b4153b16a",
    "input": "a87532b988e44521a4ff28cd736cd199",
    "output": "bcd1fd08f095461ebcf797fe88719784",
    "end": "cac2a841cf904c99a620da9496278041",
    "denied": "6a4ff6c1cd9749b7b8b44d0f73a1f8b2",
    "stale": "1b15d028ca084bd3a871a2819d45935b",
    "restart": "92834478a32349b4bed68d7500e08aa2",
}

APPLICATION = """
import flask
app = flask.Flask(__name__)
@app.route("/")
def root():
    return "served by flask"
"""

# What an administrator writes: the agent comes in by environment, the application knows nothing.
SERVICE = """
[Service]
Type=notify
DynamicUser=yes
RuntimeDirectory=shop
Environment=PYTHONPATH={agent} PYTHONMANHOLE=
ExecStart=/usr/bin/gunicorn --chdir /opt/shop --preload --workers 1 --bind unix:/run/shop/http shop:app
"""

# One without PrivateTmp, that can be killed.
DOOMED = """
[Service]
Environment=PYTHONPATH={agent} PYTHONMANHOLE=
ExecStart=/usr/bin/python3 -c "import signal; signal.pause()"
"""


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    try:
        machine.mount()
        machine.install()
        agent = variable("agentdir")
        shop = machine.root("/opt/shop")
        shop.mkdir(parents=True)
        (shop / "shop.py").write_text(APPLICATION)
        units = machine.root("/etc/systemd/system")
        (units / "shop.service").write_text(SERVICE.format(agent=agent))
        (units / "doomed.service").write_text(DOOMED.format(agent=agent))
        machine.boot()
        machine.run("journalctl", "--update-catalog")
        machine.run("useradd", "--no-create-home", "visitor")
        yield machine
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def manholed(machine):
    machine.run("systemctl", "enable", "--now", "manholed")
    return machine


@pytest.fixture(scope="module")
def shop(manholed):
    """The machine, with the gunicorn service listed; its main process is .pid("shop.service")."""
    manholed.run("systemctl", "start", "shop.service")
    # The main process, and its worker's console after the fork.
    await_true(lambda: len([t for t in manholed.targets() if t["unit"] == "shop.service"]) == 2,
               "the shop's two processes are not listed")
    return manholed


def capabilities(machine, pid):
    status = machine.run("cat", f"/proc/{pid}/status").stdout
    return {line.split()[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}


def get(machine):
    return machine.run("socat", "-t5", "-", "UNIX-CONNECT:/run/shop/http", input="GET / HTTP/1.0\r\n\r\n").stdout


def exposure(machine, unit):
    out = machine.run("systemd-analyze", "security", "--no-pager", unit, check=False).stdout
    return float(re.search(r"exposure level for \S+: ([0-9.]+)", out).group(1))


def private_socket(machine):
    pid = machine.pid("shop.service")
    return machine.run("sh", "-c", f"echo /tmp/systemd-private-*-shop.service-*/tmp/manhole-{pid}").stdout.strip()


def test_the_socket_alone_activates_the_broker(machine):
    machine.run("systemctl", "start", "manholed.socket")
    assert machine.show("manholed.service", "ActiveState") == "inactive"
    assert machine.targets() == []
    assert machine.show("manholed.service", "ActiveState") == "active"
    machine.run("systemctl", "stop", "manholed.service", "manholed.socket")


def test_enable_now_is_all_it_takes(machine):
    machine.run("systemctl", "enable", "--now", "manholed")
    for unit in "manholed.service", "manholed.socket":
        assert machine.show(unit, "ActiveState") == "active"
        assert machine.run("systemctl", "is-enabled", unit).stdout.strip() == "enabled"
    assert machine.targets() == []


def test_the_process_that_parses_has_no_capability(manholed):
    manholed.targets()
    assert set(capabilities(manholed, manholed.pid("manholed.service")).values()) == {0}


def test_the_privileged_half_has_three_capabilities(shop):
    dac_override, setuid, sys_ptrace = 1, 7, 19
    caps = capabilities(shop, shop.pid("manholed-priv.service"))
    three = 1 << dac_override | 1 << setuid | 1 << sys_ptrace
    assert (caps["CapPrm:"], caps["CapEff:"], caps["CapBnd:"]) == (three, three, three)


@pytest.mark.parametrize("unit", ["manholed.service", "manholed-priv.service"])
def test_neither_half_reaches_the_service_manager(shop, unit):
    def connect(path, *where):
        return shop.run(*where, "socat", "-u", "OPEN:/dev/null", f"UNIX-CONNECT:{path}", check=False).returncode

    inside = "nsenter", "-t", shop.pid(unit), "-m"
    sockets = "/run/systemd/private", "/run/dbus/system_bus_socket"
    for path in sockets:
        assert connect(path, *inside) != 0
    assert connect("/run/systemd/journal/stdout", *inside) == 0
    assert connect(sockets[0]) == 0


def test_a_service_is_listed_with_its_unit(shop):
    pid = shop.pid("shop.service")
    target, = [t for t in shop.targets() if t["pid"] == pid]
    assert target["unit"] == "shop.service"
    assert target["user"] == "shop"
    assert target["state"] == "live"
    assert target["agent"] == "native"
    assert target["sessions"] == 0
    assert "served by flask" in get(shop)


def test_exec_prints_from_inside_the_application(shop):
    pid = shop.pid("shop.service")
    out = shop.ctl("exec", pid, "import os, shop; print(os.getpid(), shop.app.name)").stdout
    assert out.split() == [str(pid), "shop"]
    assert "served by flask" in get(shop)


def test_exec_in_the_worker_changes_what_it_serves(shop):
    worker, = [t["pid"] for t in shop.targets()
               if t["unit"] == "shop.service" and t["pid"] != shop.pid("shop.service")]
    shop.ctl("exec", worker, "import shop; shop.app.view_functions['root'] = lambda: 'served by the console'")
    assert "served by the console" in get(shop)
    shop.ctl("exec", worker, "import shop; shop.app.view_functions['root'] = shop.root")
    assert "served by flask" in get(shop)


def test_the_applications_journal_shows_what_was_typed(shop):
    marker = "print('typed', 6 * 7)"
    pid = shop.pid("shop.service")
    assert shop.ctl("attach", pid, input=marker + "\n").stdout.count("typed 42") == 1

    def events():
        records = shop.journal("-u", "shop.service", "_SYSTEMD_UNIT=manholed.service", "+",
                               "OBJECT_SYSTEMD_UNIT=shop.service")
        session = next((r["MANHOLE_SESSION"] for r in records
                        if r.get("MANHOLE_EVENT") == "input" and marker in r["MANHOLE_DATA"]), None)
        mine = [r for r in records if session and r.get("MANHOLE_SESSION") == session]
        return mine if mine and mine[-1]["MANHOLE_EVENT"] == "end" else None

    records = await_true(events, "no record of the session")
    assert records[0]["MANHOLE_EVENT"] == "start"
    assert [int(r["MANHOLE_SEQ"]) for r in records] == list(range(int(records[0]["MANHOLE_SEQ"]),
                                                                  int(records[0]["MANHOLE_SEQ"]) + len(records)))
    for r in records:
        assert r["_UID"] == "0" and r["_SYSTEMD_UNIT"] == "manholed.service"
        assert r["MESSAGE_ID"] == CATALOG.get(r["MANHOLE_EVENT"], r["MESSAGE_ID"])
        assert int(r["MANHOLE_TARGET_PID"]) == int(r["OBJECT_PID"]) == shop.pid("shop.service")
        assert r["MANHOLE_CLIENT_UID"] == "0" and r["MANHOLE_CLIENT_USER"] == "root"
    data = {kind: "".join(r["MANHOLE_DATA"] for r in records if r["MANHOLE_EVENT"] == kind)
            for kind in ("input", "output")}
    assert "typed 42" in data["output"]
    end = records[-1]
    for kind in "input", "output":
        assert int(end[f"MANHOLE_{kind.upper()}_BYTES"]) == len(data[kind].encode())


def test_socat_reaches_the_agent_without_the_broker(shop):
    pid = shop.pid("shop.service")
    out = shop.run("nsenter", "-t", pid, "-m", "socat", "-t5", "-", f"UNIX-CONNECT:/tmp/manhole-{pid}",
                   input="import shop; shop.app.name\n").stdout
    assert "(ManholeConsole)" in out
    assert ">>> 'shop'" in out


def test_a_stranger_is_refused_and_recorded(shop):
    pid = shop.pid("shop.service")
    refused = shop.run("runuser", "-u", "visitor", "--", "manholectl", "exec", pid, "print('in')", check=False)
    assert refused.returncode == 4
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    uid = shop.run("id", "-u", "visitor").stdout.strip()
    denied, = shop.journal("_SYSTEMD_UNIT=manholed.service", "MANHOLE_EVENT=denied", f"MANHOLE_TARGET_PID={pid}")
    assert denied["MESSAGE_ID"] == CATALOG["denied"]
    assert denied["MANHOLE_CLIENT_UID"] == uid
    assert denied["MANHOLE_CLIENT_USER"] in ("visitor", uid)  # names are looked up aside
    assert denied["MANHOLE_REASON"]
    assert shop.journal("MANHOLE_EVENT=start", f"MANHOLE_CLIENT_UID={uid}") == []


def test_the_owner_needs_no_privilege(manholed):
    manholed.run("systemd-run", "--unit=own", "--uid=visitor", "-E", f"PYTHONPATH={variable('agentdir')}",
                 "-E", "PYTHONMANHOLE=", "/usr/bin/python3", "-c", "import signal; signal.pause()")
    pid = manholed.pid("own.service")
    await_true(lambda: [t for t in manholed.targets() if t["pid"] == pid], "own.service is not listed")
    out = manholed.run("runuser", "-u", "visitor", "--", "manholectl", "exec", "own.service",
                       "import os; print(os.getuid())")
    assert out.stdout.strip() == manholed.run("id", "-u", "visitor").stdout.strip()
    manholed.run("systemctl", "stop", "own.service")


RULES = """
[Deny "nobody types into the worker"]
User=*
Unit=shop*
Executable=/nowhere/*
Mode=*
[Grant "team"]
Group=team
TargetUser=shop
Unit=sh?p
Executable=/usr/bin/python3*
Mode=observe
[Grant "all but root's"]
Group=team
Unit=*
Mode=observe control
"""


@pytest.fixture
def team(shop):
    """The machine, where member is in a group that rules name."""
    shop.run("groupadd", "team")
    shop.run("useradd", "--no-create-home", "--groups", "team", "member")
    shop.run("systemctl", "start", "doomed.service")
    config = shop.root("/etc/manholed.conf")
    config.write_text(RULES)
    shop.run("systemctl", "reload", "manholed")
    yield shop
    config.unlink()
    shop.run("systemctl", "reload", "manholed")
    shop.run("systemctl", "stop", "doomed.service")
    shop.run("userdel", "member")
    shop.run("groupdel", "team")


def test_a_group_is_granted_the_units_of_a_pattern(team):
    def as_user(user, *argv):
        return team.run("runuser", "-u", user, "--", "manholectl", *argv, check=False)

    def units(user):
        return {t["unit"] for t in json.loads(as_user(user, "list", "--json=short").stdout)}

    await_true(lambda: units("member") == {"shop.service"}, "the team does not see the shop alone")
    assert units("visitor") == set()
    pid, doomed = team.pid("shop.service"), team.pid("doomed.service")
    done = as_user("member", "status", pid, "--json=short")
    decisions = {d["mode"]: d for d in json.loads(done.stdout)["modes"]}
    assert '"team"' in decisions["observe"]["rule"] and '"all but root\'s"' in decisions["control"]["rule"]
    assert {mode for mode, d in decisions.items() if d["allowed"]} == {"observe", "control"}
    assert as_user("member", "exec", pid, "print(6 * 7)").stdout == "42\n"
    assert as_user("visitor", "exec", pid, "1").returncode == 4
    assert as_user("member", "exec", doomed, "1").returncode == 4


def test_stacks_of_a_unit_are_all_its_processes(team):
    """Of a service with a folder /tmp of its own, by who may only see it: no session is opened."""
    started = len(team.journal("MANHOLE_EVENT=start"))
    processes = {t["pid"] for t in team.targets() if t["unit"] == "shop.service"}
    out = team.run("runuser", "-u", "member", "--", "manholectl", "stacks", "shop.service", "--json=short").stdout
    answers = json.loads(out)
    assert {answer["target"]["pid"] for answer in answers} == processes and len(processes) == 2
    assert all("gunicorn" in answer["text"] for answer in answers)
    assert "2 processes" in team.ctl("stacks", "shop.service").stdout
    health = json.loads(team.ctl("health", team.pid("shop.service"), "--json=short").stdout)
    assert health["gil"] is True and health["threads"] > 0
    refused = team.run("runuser", "-u", "member", "--", "manholectl", "stacks", team.pid("doomed.service"), check=False)
    assert refused.returncode == 4
    assert len(team.journal("MANHOLE_EVENT=start")) == started
    denied = team.journal("MANHOLE_EVENT=denied", f"MANHOLE_TARGET_PID={team.pid('doomed.service')}")
    assert denied[-1]["MANHOLE_CLIENT_USER"] == "member"


def test_a_process_in_a_user_namespace_without_root_is_entered(manholed):
    manholed.run("systemd-run", "--unit=rootless", "--uid=visitor", "-E", f"PYTHONPATH={variable('agentdir')}",
                 "-E", "PYTHONMANHOLE=", "/usr/bin/unshare", "--user", "--map-root-user", "/usr/bin/python3", "-c",
                 "import signal; signal.pause()")
    pid = manholed.pid("rootless.service")
    await_true(lambda: [t for t in manholed.targets() if t["pid"] == pid], "rootless.service is not listed")
    for user in "root", "visitor":
        out = manholed.run("runuser", "-u", user, "--", "manholectl", "exec", pid, "import os; print(os.getuid())")
        assert out.stdout == "0\n"
    manholed.run("systemctl", "stop", "rootless.service")


def test_a_container_is_found_without_a_question(manholed):
    """Its cgroup tells of it; what it leaves behind is removed."""
    watch = manholed.root("/opt/watch")
    manholed.run("systemd-run", "--unit=watch", "-p", "StandardOutput=file:/opt/watch", "manholectl", "list", "--watch",
                 "--json=short")
    await_true(lambda: watch.exists() and '"list"' in watch.read_text(), "the watch does not begin")
    # The first process of a pid namespace is not ended by SIGTERM.
    manholed.run("systemd-run", "--unit=box", "-p", "KillSignal=SIGKILL", "-E", f"PYTHONPATH={variable('agentdir')}", "-E", "PYTHONMANHOLE=",
                 "/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
                 "mount -t tmpfs -o mode=1777 tmpfs /tmp && exec python3 -c 'import signal; signal.pause()'")

    def added():
        events = [json.loads(line) for line in watch.read_text().splitlines()]
        return [e["target"] for e in events if e["event"] == "added" and e["target"].get("nspid") == 1]

    target, = await_true(added, "the container is not found")
    assert target["unit"] == "box.service" and target["state"] == "live"
    out = manholed.ctl("exec", target["pid"], "import os; print(os.getpid())")
    assert out.stdout == "1\n"
    manholed.run("systemctl", "stop", "box.service", "watch.service")


def test_a_stale_socket_is_removed_and_recorded(manholed):
    manholed.run("systemctl", "start", "doomed.service")
    pid = manholed.pid("doomed.service")
    path = f"/tmp/manhole-{pid}"
    await_true(lambda: [t for t in manholed.targets() if t["pid"] == pid], "doomed.service is not listed")
    manholed.run("systemctl", "kill", "--signal=KILL", "doomed.service")
    inside = f"/proc/{manholed.leader}/root{path}"
    await_true(lambda: not os.path.lexists(inside), f"{path} is still there")
    stale, = await_true(lambda: manholed.journal("MANHOLE_EVENT=stale", f"MANHOLE_SOCKET={path}"), "no record")
    assert stale["MESSAGE_ID"] == CATALOG["stale"]
    assert stale["_SYSTEMD_UNIT"] == "manholed.service"


def test_cleaning_tmp_leaves_live_sockets(shop):
    pid = shop.pid("shop.service")
    private = private_socket(shop)
    fifo = f"/tmp/manhole-{2**22 - 1}"
    other = private.replace(f"manhole-{pid}", "other")
    shop.run("touch", "/tmp/other", other)
    shop.run("mkfifo", fifo)
    # Everything in /tmp is too old at once.
    shop.run("sh", "-c", "sed 's|^[qD] /tmp .*|q /tmp 1777 root root 0|' /usr/lib/tmpfiles.d/tmp.conf "
                         ">/etc/tmpfiles.d/tmp.conf")
    shop.run("systemd-tmpfiles", "--clean")
    left = shop.run("sh", "-c", f"ls -d /tmp/other {fifo} {other} {private}; true").stdout.split()
    assert left == [fifo, private]
    shop.run("rm", "/etc/tmpfiles.d/tmp.conf", fifo)


@pytest.mark.parametrize("unit, most", [("manholed.service", 1.5), ("manholed-priv.service", 1.9)])
def test_exposure_is_within_the_goal(manholed, unit, most):
    assert exposure(manholed, unit) <= most


def test_every_event_is_explained(shop):
    ids = set(shop.run("journalctl", "--list-catalog").stdout.split())
    assert set(CATALOG.values()) <= ids
    pid = shop.pid("shop.service")
    shop.ctl("exec", pid, "1")
    out = shop.run("journalctl", "-x", "-o", "short", "--no-pager", "MANHOLE_EVENT=start",
                   f"MANHOLE_TARGET_PID={pid}").stdout
    assert f"A console into gunicorn[{pid}] was opened by root" in out
    assert not re.search("@MANHOLE_[A-Z]+@", out)


def test_the_watchdog_is_fed(manholed):
    folder = "/run/systemd/system/manholed.service.d"
    manholed.run("mkdir", "-p", folder)
    manholed.run("sh", "-c", f"printf '[Service]\\nWatchdogSec=1s\\n' >{folder}/watchdog.conf")
    manholed.run("systemctl", "daemon-reload")
    manholed.run("systemctl", "restart", "manholed")
    first = int(manholed.show("manholed.service", "WatchdogTimestampMonotonic"))
    assert first > 0
    await_true(lambda: int(manholed.show("manholed.service", "WatchdogTimestampMonotonic")) > first + 1_000_000,
               "no keep-alive")
    assert manholed.show("manholed.service", "NRestarts") == "0"
    manholed.run("rm", "-r", folder)
    manholed.run("systemctl", "daemon-reload")
    manholed.run("systemctl", "restart", "manholed")


def test_reload_keeps_the_process(manholed):
    pid = manholed.pid("manholed.service")
    manholed.run("systemctl", "reload", "manholed")
    assert isinstance(manholed.targets(), list)
    assert manholed.pid("manholed.service") == pid


# Types numbered lines into a console and reads the answers, a few at a time, until it is told to end; says
# its session and then how many there were, or what was wrong.
TYPIST = """
import json, os, re, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect("/run/manholed/control")
call = {"method": "org.manholed.Broker.Attach", "parameters": {"target": sys.argv[1]}, "upgrade": True}
s.sendall(json.dumps(call).encode() + b"\\0")
data = b""
while b"\\0" not in data:
    data += s.recv(65536)
reply, data = data.split(b"\\0", 1)
print(json.loads(reply)["parameters"]["session"], flush=True)
ahead = threading.Semaphore(50)
typed, done = 0, False
def type():
    global typed, done
    while not os.path.exists(sys.argv[2]):
        ahead.acquire()
        s.sendall(b"print('line', %d)\\n" % typed)
        typed += 1
    done = True
thread = threading.Thread(target=type)
thread.start()
seen = 0
while not (done and seen == typed):
    more = s.recv(65536)
    if not more:
        sys.exit(f"lost after {seen} of {typed}")
    *lines, data = (data + more).split(b"\\n")
    for number in (int(n) for line in lines for n in re.findall(rb"^(?:>>> )*line (\\d+)$", line)):
        if number != seen:
            sys.exit(f"{number} instead of {seen}")
        seen += 1
        ahead.release()
print("right", seen, flush=True)
"""


class Typist:
    """One at work in the machine."""

    def __init__(self, machine):
        self.machine = machine
        machine.root("/opt/typist.py").write_text(TYPIST)
        machine.run("rm", "-f", "/opt/enough", "/opt/typed")
        machine.run("systemctl", "start", "doomed.service")
        pid = machine.pid("doomed.service")
        await_true(lambda: [t for t in machine.targets() if t["pid"] == pid], "doomed.service is not listed")
        machine.run("systemd-run", "--unit=typist", "--collect", "-p", "StandardOutput=file:/opt/typed",
                    "-p", "StandardError=file:/opt/typed", "/usr/bin/python3", "/opt/typist.py", pid, "/opt/enough")
        self.session = await_true(self.said, "the typist has no session")[0]

    def said(self):
        path = self.machine.root("/opt/typed")
        return path.exists() and path.read_text().splitlines()

    def records(self):
        return self.machine.journal("_SYSTEMD_UNIT=manholed.service", f"MANHOLE_SESSION={self.session}")

    def is_at_work(self):
        """More has been typed than when this was called."""
        def position():
            session, = [s for s in json.loads(self.machine.ctl("sessions", "--json=short").stdout)
                        if s["session"] == self.session]
            return session["input"]
        before = position()
        await_true(lambda: position() > before, "nothing is typed")

    def enough(self):
        """Every line was answered once, and the record lacks nothing; what happened but for input and output."""
        self.machine.run("touch", "/opt/enough")
        said = await_true(lambda: len(self.said()) > 1 and self.said(), "the typist does not end")
        assert said[1].startswith("right "), said
        records = await_true(lambda: (r := self.records())[-1]["MANHOLE_EVENT"] == "end" and r, "no end is recorded")
        assert [int(r["MANHOLE_SEQ"]) for r in records] == list(range(len(records)))
        for kind in "input", "output":
            position = 0
            for r in records:
                if r["MANHOLE_EVENT"] == kind:
                    assert int(r["MANHOLE_POS"]) == position
                    position += len(r["MANHOLE_DATA"].encode())
            assert position == int(records[-1][f"MANHOLE_{kind.upper()}_BYTES"])
        self.machine.ctl("replay", "--verify", self.session)
        self.machine.run("systemctl", "stop", "doomed.service")
        return [r["MANHOLE_EVENT"] for r in records if r["MANHOLE_EVENT"] not in ("input", "output")]


UNITS = "manholed.service", "manholed-priv.service"


def test_a_restart_loses_and_doubles_nothing(manholed):
    typist = Typist(manholed)
    for _ in range(5):
        typist.is_at_work()
        manholed.run("systemctl", "reset-failed", *UNITS)  # no limit of starts
        manholed.run("systemctl", "restart", "manholed")
    typist.is_at_work()
    assert typist.enough() == ["start", *["restart"] * 5, "end"]


def test_a_kill_loses_and_doubles_nothing(manholed):
    typist = Typist(manholed)
    for _ in range(3):
        typist.is_at_work()
        manholed.run("systemctl", "reset-failed", *UNITS)
        before = manholed.pid("manholed.service")
        manholed.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "manholed.service")
        await_true(lambda: manholed.pid("manholed.service") not in (0, before), "it is not started anew")
    typist.is_at_work()
    assert typist.enough() == ["start", *["restart"] * 3, "end"]


def test_an_expired_watchdog_loses_and_doubles_nothing(manholed):
    folder = "/run/systemd/system/manholed.service.d"
    manholed.run("mkdir", "-p", folder)
    manholed.run("sh", "-c", f"printf '[Service]\\nWatchdogSec=1s\\nTimeoutAbortSec=100ms\\n' >{folder}/watchdog.conf")
    manholed.run("systemctl", "daemon-reload")
    manholed.run("systemctl", "restart", "manholed")
    typist = Typist(manholed)
    before = manholed.pid("manholed.service")
    manholed.run("kill", "-STOP", before)
    await_true(lambda: manholed.pid("manholed.service") not in (0, before), "it is not started anew")
    typist.is_at_work()
    manholed.run("rm", "-r", folder)
    manholed.run("systemctl", "daemon-reload")
    manholed.run("systemctl", "restart", "manholed")
    assert typist.enough() == ["start", "restart", "restart", "end"]


def test_a_stop_ends_sessions_and_records_it(manholed):
    typist = Typist(manholed)
    typist.is_at_work()
    manholed.run("systemctl", "stop", "manholed.service")
    assert await_true(lambda: len(typist.said()) > 1 and typist.said(), "the typist goes on")[1].startswith("lost")
    end = typist.records()[-1]
    assert (end["MANHOLE_EVENT"], end["MANHOLE_REASON"]) == ("end", "the daemon is stopping")
    manholed.run("systemctl", "stop", "doomed.service")
    manholed.run("systemctl", "start", "manholed.service")


def test_restart_and_stop_are_clean(shop):
    shop.run("systemctl", "restart", "manholed")
    pid = shop.pid("shop.service")
    await_true(lambda: [t for t in shop.targets() if t["pid"] == pid], "not found again after the restart")
    shop.run("systemctl", "stop", "manholed.service")
    for unit in "manholed.service", "manholed-priv.service":
        assert shop.show(unit, "ActiveState") == "inactive"
        assert shop.show(unit, "Result") == "success"
    cores = shop.run("find", "/", "-xdev", "-maxdepth", "1", "-name", "core*").stdout
    assert cores == ""
    failed = json.loads(shop.run("systemctl", "list-units", "--failed", "-o", "json").stdout)
    assert [unit["unit"] for unit in failed if "manhole" in unit["unit"]] == []
