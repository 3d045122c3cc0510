# SPDX-License-Identifier: BSD-2-Clause
"""What an administrator grants and denies: rules of the configuration, against real processes."""
import pwd
import re

import pytest

from agentlib import SOURCE
from daemonlib import *  # noqa: F403

pytestmark = needs_root

# A group of nobody's, and a user and a group that every Debian has by name.
TEAM = 60201
DAEMON = pwd.getpwnam("daemon").pw_uid
MODES = ["observe", "watch", "control", "terminate", "inject"]


def rule(kind, name, *keys):
    return f'[{kind} "{name}"]\n' + "".join(f"{key}\n" for key in keys)


def bobs(*keys, kind="Grant", name="x"):
    """A rule for Bob."""
    return rule(kind, name, f"User={BOB}", *keys)


def configured(*rules):
    return Daemon(config="\n".join(rules))


def reload(daemon, *rules):
    said = daemon.said().count("Configuration reloaded.")
    daemon.config.write_text("\n".join(rules))
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.said().count("Configuration reloaded.") > said, "the reload")


@contextlib.contextmanager
def listening(daemon, uid=ALICE, **kwargs):
    with standin(daemon.scan, uid=uid, **kwargs) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        yield peer


def decisions(daemon, target, uid):
    """What Status says of each mode, as far as it is allowed; with one rule each."""
    error, reply = daemon.call(f"{BROKER}.Status", {"target": str(target)}, uid=uid)
    assert error is None, reply
    assert [d["mode"] for d in reply["modes"]] == MODES
    control, = [d for d in reply["modes"] if d["mode"] == "control"]
    assert (reply["allowed"], reply["rule"]) == (control["allowed"], control["rule"])
    return {d["mode"]: d["rule"] for d in reply["modes"] if d["allowed"]}


def member(daemon, uid, *groups):
    """A connection of a user who is in these groups besides."""
    os.setgroups(groups)
    try:
        return daemon.client(uid)
    finally:
        os.setgroups([])


def pids(daemon, client):
    error, reply = client.call(f"{BROKER}.List")
    assert error is None
    return {t["pid"] for t in reply["targets"] if os.path.dirname(t["socket"]) == str(daemon.scan)}


def test_a_grant_lets_in_and_says_which_rule_it_was():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=observe control")) as daemon, listening(daemon) as alices:
        assert set(daemon.listed(uid=BOB)) == {alices.pid}
        assert set(daemon.listed(uid=TEAM)) == set()
        with daemon.attach(alices.pid, uid=BOB) as console:
            assert alices.do("accept()") == "None"
            # Bob's own uid is not enough for the agent.
            assert "\\x00\\x00\\x00\\x00" in alices.do("client.getsockopt(socket.SOL_SOCKET, 17, 12)[4:8]")
        assert daemon.ended(console.session)[0]["MANHOLE_CLIENT_UID"] == str(BOB)
        by = f'granted by [Grant "x"], {daemon.config}:2'
        assert decisions(daemon, alices.pid, BOB) == {"observe": by, "control": by}


def test_who_may_observe_sees_and_does_not_touch():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=observe")) as daemon, listening(daemon) as alices:
        assert set(daemon.listed(uid=BOB)) == {alices.pid}
        assert set(decisions(daemon, alices.pid, BOB)) == {"observe"}
        assert daemon.refused(alices.pid, uid=BOB) == "NotAuthorized"
        assert daemon.wait_event(event="denied", client_uid=BOB)["MANHOLE_REASON"]


def test_who_may_control_alone_must_know_the_name():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=control")) as daemon, listening(daemon) as alices:
        assert daemon.listed(uid=BOB) == {}
        assert daemon.call(f"{BROKER}.Status", {"target": str(alices.pid)}, uid=BOB)[0] == f"{ERROR}.NotAuthorized"
        with daemon.attach(alices.pid, uid=BOB):
            assert alices.do("accept()") == "None"


def test_a_name_that_several_targets_bear_is_ambiguous_to_who_may_not_see_them():
    """Else a console would open in whichever comes first."""
    with configured(bobs("TargetUser=*", "Mode=control")) as daemon:
        with listening(daemon) as alices, listening(daemon, uid=TEAM) as other:
            error, reply = daemon.call(f"{BROKER}.Attach", {"target": "python3"}, uid=BOB, upgrade=True)
            assert error == f"{ERROR}.AmbiguousTarget"
            assert {alices.pid, other.pid} <= set(reply["pids"])


def test_what_may_not_be_seen_makes_no_name_ambiguous():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=observe control")) as daemon:
        with listening(daemon) as alices, listening(daemon, uid=TEAM):
            assert daemon.refused("python3") == "AmbiguousTarget"
            with daemon.attach("python3", uid=BOB) as console:
                assert alices.do("accept()") == "None"
                assert console.answer["target"]["pid"] == alices.pid


def test_every_group_counts_as_it_was_when_the_client_connected():
    config = rule("Grant", "team", f"Group={TEAM}", f"TargetUser={ALICE}", "Mode=observe")
    with configured(config) as daemon, listening(daemon) as alices:
        many = range(70001, 70301)  # more than fit at once
        for groups in (TEAM,), (*many, TEAM), (TEAM, *many), (TEAM,) * 500:
            with member(daemon, BOB, *groups) as client:
                assert pids(daemon, client) == {alices.pid}
                assert pids(daemon, client) == {alices.pid}
        with member(daemon, TEAM) as client:  # its uid is no group, but its gid is the same number
            assert pids(daemon, client) == {alices.pid}
        for groups in (), many:
            with member(daemon, BOB, *groups) as client:
                assert pids(daemon, client) == set()


def test_names_are_those_of_the_name_service(daemon):
    with listening(daemon) as alices:
        reload(daemon, rule("Grant", "x", "User=nobody-at-all daemon", f"TargetUser={ALICE}", "Mode=observe"),
               rule("Grant", "y", "Group=no-group-at-all adm", f"TargetUser={ALICE} nor-this", "Mode=observe"),
               rule("Grant", "z", f"User={BOB}", "TargetUser=daemon", "Mode=observe"))
        for name in "nobody-at-all", "no-group-at-all", "nor-this":
            assert f"'{name}'" in daemon.said()
        assert set(daemon.listed(uid=DAEMON)) == {alices.pid}
        with member(daemon, BOB, 4) as client:  # adm, as base-passwd has it
            assert pids(daemon, client) == {alices.pid}
        assert set(daemon.listed(uid=BOB)) == set()
        with listening(daemon, uid=DAEMON) as daemons:
            assert set(daemon.listed(uid=BOB)) == {daemons.pid}


def test_others_sessions_are_shown_watched_and_ended_by_their_modes():
    def sessions(uid):
        error, reply = daemon.call(f"{BROKER}.Sessions", uid=uid)
        assert error is None
        return [s["session"] for s in reply["sessions"]]

    with configured() as daemon, listening(daemon) as alices:
        # An own session is its user's, though the target is not, even when the target's file has gone.
        reload(daemon, rule("Grant", "guest", f"User={TEAM}", f"TargetUser={ALICE}", "Mode=control"),
               bobs(f"TargetUser={ALICE}", "Mode=watch"))
        console = daemon.attach(alices.pid, uid=TEAM)
        assert alices.do("accept()") == "None"
        for gone in False, True:
            if gone:
                assert alices.do("os.unlink(path)") == "None"
                wait_for(lambda: not daemon.listed(), "the target's end")
            assert [len(sessions(uid)) for uid in (TEAM, BOB, ALICE, US, DAEMON)] == [1, 1, 1, 1, 0]
            named = {"session": console.session}
            assert daemon.call(f"{BROKER}.Terminate", named, uid=BOB)[0] == f"{ERROR}.NotAuthorized"
            assert daemon.call(f"{BROKER}.Mirror", named, uid=BOB, upgrade=True)[0] is None
            assert daemon.call(f"{BROKER}.Mirror", named, uid=DAEMON, upgrade=True)[0] == f"{ERROR}.NotAuthorized"
        reload(daemon, bobs(f"TargetUser={ALICE}", "Mode=terminate"))
        assert sessions(BOB) == [] and sessions(TEAM) == [console.session]
        assert daemon.call(f"{BROKER}.Mirror", named, uid=BOB, upgrade=True)[0] == f"{ERROR}.NotAuthorized"
        assert daemon.call(f"{BROKER}.Terminate", named, uid=BOB)[0] is None
        assert BOB in [int(e["MANHOLE_CLIENT_UID"]) for e in daemon.events(event="denied")]
        console.close()
        daemon.ended(console.session)


@pytest.mark.parametrize("target", ["TargetUser=*", "Executable=/*/*/* /*/*/*/* /*/*/*/*/*/*/*/*"])
def test_a_wildcard_never_includes_roots_targets(target):
    with configured(bobs(target, "Mode=*")) as daemon:
        with listening(daemon) as alices, listening(daemon, uid=US) as roots:
            assert set(daemon.listed(uid=BOB)) == {alices.pid}
            assert daemon.refused(roots.pid, uid=BOB) == "NotAuthorized"
            # One of mixed uids counts as root's.
            with listening(daemon, uid=US) as mixed:
                assert mixed.do(f"os.setresuid({ALICE}, {ALICE}, 0)") == "None"
                assert daemon.refused(mixed.pid, uid=BOB) == "NotAuthorized"
            reload(daemon, bobs("TargetUser=root", "Mode=*"))
            assert set(daemon.listed(uid=BOB)) == {roots.pid}


def test_an_executable_is_the_file_that_runs():
    executable = os.path.realpath(PYTHON)
    with configured(bobs(f"Executable={executable}", "Mode=observe")) as daemon, listening(daemon) as alices:
        by = f'granted by [Grant "x"], {daemon.config}:2'
        assert decisions(daemon, alices.pid, BOB) == {"observe": by}
        _, reply = daemon.call(f"{BROKER}.Status", {"target": str(alices.pid)})
        assert reply["executable"] == executable
        # What a process calls itself is not it.
        assert alices.do("open('/proc/self/comm', 'w').write('other')") == "5"
        reload(daemon, bobs("Executable=/usr/bin/other /other", "Mode=observe"))
        assert daemon.listed(uid=BOB) == {}
        reload(daemon, rule("Deny", "x", "User=*", f"Executable={os.path.dirname(executable)}/*", "Mode=observe"))
        assert daemon.listed(uid=ALICE) == {} and set(daemon.listed()) == {alices.pid}


def test_a_denial_comes_before_a_users_own_right_but_not_before_roots():
    config = rule("Deny", "no consoles", f"User={ALICE} root", "TargetUser=*", "Mode=control")
    with configured(config) as daemon, listening(daemon) as alices:
        assert set(daemon.listed(uid=ALICE)) == {alices.pid}
        assert daemon.refused(alices.pid, uid=ALICE) == "NotAuthorized"
        assert "no consoles" in daemon.wait_event(event="denied")["MANHOLE_REASON"]
        assert set(decisions(daemon, alices.pid, ALICE)) == set(MODES) - {"control"}
        with daemon.attach(alices.pid):
            assert alices.do("accept()") == "None"
        assert set(decisions(daemon, alices.pid, US)) == set(MODES)


def test_the_first_rule_that_matches_decides():
    deny = bobs(f"TargetUser={ALICE}", "Mode=control", kind="Deny", name="deny")
    grant = bobs("TargetUser=*", "Mode=observe control", name="grant")
    with configured(deny, grant) as daemon, listening(daemon) as alices:
        assert set(decisions(daemon, alices.pid, BOB)) == {"observe"}
        reload(daemon, grant, deny)
        assert set(decisions(daemon, alices.pid, BOB)) == {"observe", "control"}


def test_a_reload_decides_over_new_calls_and_lets_sessions_be():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=observe control")) as daemon, listening(daemon) as alices:
        client = daemon.client(BOB)
        assert pids(daemon, client) == {alices.pid}
        console = daemon.attach(alices.pid, uid=BOB)
        assert alices.do("accept()") == "None"
        reload(daemon, "[Manholed]")
        assert pids(daemon, client) == set()
        assert daemon.refused(alices.pid, uid=BOB) == "NotAuthorized"
        console.send(b"still\n")
        assert alices.do("receive(6)") == "b'still\\n'"
        # A group that no rule named when the connection was made.
        with member(daemon, BOB, TEAM) as other:
            assert pids(daemon, other) == set()
            reload(daemon, rule("Grant", "team", f"Group={TEAM}", f"TargetUser={ALICE}", "Mode=observe"))
            assert pids(daemon, other) == {alices.pid}
        console.close()
        client.close()
        daemon.ended(console.session)


def test_a_bad_rule_leaves_the_old_ones_in_force():
    with configured(bobs(f"TargetUser={ALICE}", "Mode=observe")) as daemon, listening(daemon) as alices:
        daemon.config.write_text('[Grant "x"]\nMode=observe\n')
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{daemon.config}:1: " in daemon.said(), "the error")
        assert set(daemon.listed(uid=BOB)) == {alices.pid}


@pytest.fixture
def silence():
    """A daemon whose name service does not answer until it is told to: its passwd is a FIFO."""
    if subprocess.run(["unshare", "-m", "true"]).returncode != 0:
        pytest.skip("no mount namespace")
    fifo = place().folder(0o755) / "passwd"
    os.mkfifo(fifo)
    hush = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'

    def speak():
        with contextlib.suppress(OSError):  # nobody asks just now
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))

    with Daemon(prefix=("unshare", "-m", "sh", "-c", hush, "sh", fifo)) as daemon:
        yield daemon, speak


def test_a_name_service_that_does_not_answer_holds_up_nobody(silence):
    daemon, speak = silence
    with listening(daemon) as alices:
        # Bob is asked for in vain; then the rules are those of the last reload.
        for user in BOB, BOB, TEAM:
            daemon.config.write_text(rule("Grant", "x", f"User=somebody {user}", f"TargetUser={ALICE}", "Mode=observe"))
            daemon.process.send_signal(signal.SIGHUP)
            assert daemon.serves(uid=BOB)
            assert daemon.listed(uid=BOB) == daemon.listed(uid=TEAM) == {}
        with daemon.attach(alices.pid):
            assert alices.do("accept()") == "None"
        wait_for(lambda: speak() or daemon.listed(uid=TEAM), "the last rule")
        assert daemon.listed(uid=BOB) == {}
        assert daemon.said().count("Configuration reloaded.") == 1


# --------------------------------------------------------------- --check-config


def check(text):
    path = place().folder(0o755) / "manholed.conf"
    path.write_text(text)
    done = subprocess.run([place().path / "daemon" / "manholed", "--check-config", f"--config={path}"],
                          capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout.replace(str(path), "FILE"), done.stderr.replace(str(path), "FILE")


def test_rules_are_printed_as_they_were_understood():
    status, out, err = check(
        '[Deny "pay"]\nUser=root *\nUnit=pay*.service "odd one"\nMode=control watch\n\n'
        '[Grant "dev"]\nUser=daemon 12\nGroup=daemon no-such\x1bgroup\nTargetUser=* root\nExecutable=/usr/bin/*\nMode=*\n')
    assert status == 0
    assert out.splitlines()[1:-1] == [
        '1. [Deny "pay"], FILE:1',
        "    User         * root(0)",
        "    Unit         pay*.service odd one",
        "    Mode         watch control",
        '2. [Grant "dev"], FILE:6',
        "    User         daemon(1) 12",
        "    Group        daemon(1) no-such\\x1bgroup(unknown)",
        "    TargetUser   * root(0)",
        "    Executable   /usr/bin/*",
        "    Mode         observe watch control terminate inject",
    ]
    warning, = err.splitlines()
    assert "FILE:6" in warning and "no-such\\x1bgroup" in warning


def test_a_rule_that_never_decides_is_told():
    status, _, err = check('[Deny "a"]\nUser=*\nTargetUser=*\nMode=*\n[Grant "b"]\nGroup=0\nUnit=x\nMode=observe\n')
    assert status == 0
    line, = err.splitlines()
    assert "FILE:5" in line and '[Grant "b"]' in line and '[Deny "a"]' in line


def explain(question, *rules):
    path = place().folder(0o755) / "manholed.conf"
    path.write_text("".join(rules))
    done = subprocess.run([place().path / "daemon" / "manholed", f"--explain={question}", f"--config={path}"],
                          capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout.replace(str(path), "FILE"), done.stderr


def test_what_rules_would_decide_is_explained_before_they_are_in_force():
    with sleeper(ALICE) as alices:
        rules = (rule("Deny", "a", f"User={BOB}", f"Executable={os.path.realpath(PYTHON)}", "Mode=control"),
                 rule("Grant", "b", f"User={BOB}", "Group=daemon", "TargetUser=*", "Mode=observe control"))
        nothing = "the target belongs to another user, and no rule grants this"
        for user, control in (BOB, 'refused: denied by [Deny "a"], FILE:1'), ("daemon", 'allowed: granted by [Grant "b"], FILE:5'):
            status, out, err = explain(f"{user}:{alices.pid}", *rules)
            assert (status, err) == (0, "")
            assert f"process {alices.pid} of uid {ALICE}, " in out and os.path.realpath(PYTHON) in out
            assert [line.split(None, 1) for line in out.splitlines()[1:]] == [
                ["observe", 'allowed: granted by [Grant "b"], FILE:5'], ["watch", f"refused: {nothing}"],
                ["control", control], ["terminate", f"refused: {nothing}"], ["inject", f"refused: {nothing}"]]
    assert explain(f"{BOB}:{alices.pid}")[0] == 1  # it has ended
    assert explain(f"nobody-at-all:{os.getpid()}")[0] == 1
    assert explain("root:1", "[Nonsense]\n")[0] == 1
    for question in "root", "root:", ":1", "root:x", "root:0", "x" * 300 + ":1":
        status, out, err = explain(question)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_the_manual_has_every_mode():
    policy = (SOURCE / "daemon" / "manholed.8").read_text().split(".SH POLICY")[1].split(".SH")[0]
    assert re.findall(r"^(\w+)\tT{$", policy, re.MULTILINE)[1:] == MODES


GOOD = {"User": "0", "TargetUser": "0", "Mode": "observe"}


@pytest.mark.parametrize("keys, line", [
    ({"User": None}, 1), ({"TargetUser": None}, 1), ({"Mode": None}, 1), ({"Mode": ""}, 1), ({"User": ""}, 1),
    ({"User": "4294967295"}, 2), ({"User": "99999999999"}, 2), ({"User": "12x"}, 2), ({"User": "a*"}, 2),
    ({"User": '"a'}, 2), ({"User": '"a"b'}, 2), ({"User": '""'}, 2), ({"Mode": "observe all"}, 4), ({"Mode": "Observe"}, 4),
    ({"Unit": "a/b"}, 5), ({"Executable": "python3"}, 5), ({"Executable": "*"}, 5), ({"Group": "*"}, 5), ({"Users": "a"}, 5),
    ({"Record": "none"}, 5),
])
def test_a_rule_that_says_too_little_or_nonsense_is_named(keys, line):
    keys = {**GOOD, **keys}
    status, out, err = check('[Grant "x"]\n' + "".join(f"{k}={v}\n" if v is not None else "#\n" for k, v in keys.items()))
    assert (status, out) == (1, "")
    assert f"FILE:{line}: " in err


@pytest.mark.parametrize("text, line", [
    ("[Grant]\n", 1), ('[Grant ""]\n', 1), ('[grant "x"]\n', 1), (f'[Grant "{65 * "x"}"]\n', 1), ('[Deny "\x07"]\n', 1),
    (rule("Grant", "x", *(f"{k}={v}" for k, v in GOOD.items())) * 2, 5), ('[Manholed "x"]\n', 1),
    ('[Grant "x"]\n[Manholed]\n', 1),
])
def test_a_section_that_is_no_rule_is_named(text, line):
    status, _, err = check(text)
    assert status == 1 and f"FILE:{line}: " in err
