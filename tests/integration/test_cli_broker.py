# SPDX-License-Identifier: BSD-2-Clause
"""manholectl and a daemon that says what a test wants: what is printed of targets and sessions, and what
it makes of a daemon that misbehaves."""
import json

import pytest

from clilib import (DONE, FAILED, NO_TARGET, REFUSED, SESSION, application, daemon, fake_daemon, one_line, run,
                    target, terminal)

TARGETS = [
    target(4321, user=None, uid=1000, unit="app.service", command="python3 app.py\nfoo\x1b[31m",
           python=None, state="stale", sessions=12),
    target(7, command="", comm="worker\u202e"),
]


def listing(targets):
    def script(peer):
        assert peer.call() == {"method": "org.manholed.Broker.List", "parameters": {}}
        peer.reply({"targets": targets})
    return script


def test_list_prints_a_table():
    with fake_daemon(listing(TARGETS)) as fake:
        result = run(control=fake.control)
    assert result.returncode == DONE
    assert result.stdout == r"""
 PID USER UNIT        COMMAND                     PYTHON STATE SESSIONS
   7 root -           [worker\xe2\x80\xae]        3.11   live         0
4321 1000 app.service python3 app.py\nfoo\x1b[31m -      stale       12

2 targets listed.
""".lstrip("\n")


def test_list_fits_the_columns_there_are():
    with fake_daemon(listing([target(7, command="x" * 200)])) as fake:
        result = run("list", control=fake.control, env={"COLUMNS": "60"})
    heading, row = result.stdout.splitlines()[:2]
    assert len(heading) == len(row) == 60
    assert "x\u2026 3.11" in row


def test_list_without_legend_is_rows_only():
    with fake_daemon(listing(TARGETS)) as fake:
        result = run("list", "--no-legend", control=fake.control)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["7", "4321"]


def test_an_empty_list_says_so():
    with fake_daemon(listing([])) as fake:
        assert run(control=fake.control).stdout == "No targets.\n"
        assert run("--no-legend", control=fake.control).stdout == ""
        assert run("-j", control=fake.control).stdout == "[]\n"


@pytest.mark.parametrize("mode", ["--json=short", "-j", "--json=pretty"])
def test_list_as_json(mode):
    with fake_daemon(listing(TARGETS)) as fake:
        result = run("list", mode, control=fake.control)
    assert json.loads(result.stdout) == [TARGETS[1], TARGETS[0]]
    assert (result.stdout.count("\n") == 1) == (mode != "--json=pretty")


def test_json_on_a_terminal_has_nothing_a_terminal_obeys():
    with fake_daemon(listing([target(7, command="\x9b2J\x1b]0;x\x07")])) as fake, \
            terminal("list", "-j", control=fake.control) as t:
        assert t.wait() == DONE
        text = t.rest()
    assert json.loads(text)[0]["command"] == "\x9b2J\x1b]0;x\x07"
    assert "\x9b" not in text and "\x1b" not in text and "\x07" not in text


def test_a_long_list_goes_through_the_pager():
    with fake_daemon(listing([target(i) for i in range(1, 51)])) as fake:
        with terminal("list", control=fake.control, env={"PAGER": "sed s/^/paged:/"}) as t:
            assert t.wait() == DONE
            lines = t.rest().splitlines()
        assert len(lines) == 53 and all(line.startswith("paged:") for line in lines)
        with terminal("list", "--no-pager", control=fake.control, env={"PAGER": "sed s/^/paged:/"}) as t:
            assert t.wait() == DONE
            assert "paged:" not in t.rest()
        with terminal("list", control=fake.control, env={"PAGER": "true"}) as t:
            assert t.wait() == DONE


def test_status_prints_keys_and_values():
    status = {"target": target(7, unit="app.service"), "executable": "/usr/bin/python3.11", "allowed": False, "rule": "default", "modes": [
                  {"mode": "observe", "allowed": True, "rule": "granted \x1b"},
                  {"mode": "watch", "allowed": False, "rule": "default"},
                  {"mode": "control", "allowed": False, "rule": "default"}],
              "diagnosis": "stopped\x1b[2J: send SIGCONT", "recording": "journal"}

    def script(peer):
        assert peer.call() == {"method": "org.manholed.Broker.Status", "parameters": {"target": "app"}}
        peer.reply(status)

    with fake_daemon(script) as fake:
        result = run("status", "app", control=fake.control)
        assert json.loads(run("status", "app", "-j", control=fake.control).stdout) == status
    assert result.returncode == DONE
    assert result.stdout == """python3(7)
       State: live
        User: root (uid 0)
        Unit: app.service
     Command: python3 app.py
  Executable: /usr/bin/python3.11
      Python: 3.11
       Agent: native
      Socket: /tmp/manhole-7
    Sessions: 0
      Access: observe allowed (granted \\x1b)
              watch, control refused (default)
   Recording: journal
   Diagnosis: stopped\\x1b[2J: send SIGCONT
"""


def test_status_says_once_what_one_rule_decides():
    modes = [{"mode": mode, "allowed": True, "rule": "root may do everything"} for mode in ("observe", "control")]
    with fake_daemon(lambda peer: (peer.call(), peer.reply({"target": target(7), "modes": modes}))) as fake:
        lines = run("status", "7", control=fake.control).stdout.splitlines()
    assert [line for line in lines if "everything" in line] == ["      Access: allowed (root may do everything)"]


@pytest.mark.parametrize("verb", [["status", "x"], ["attach", "x"], ["exec", "x", "1"], ["terminate", "x"],
                                  ["watch", "x"], ["attach", "--resume=x"]])
@pytest.mark.parametrize("error, status", [
    ("org.manholed.NoSuchTarget", NO_TARGET),
    ("org.manholed.NoSuchSession", NO_TARGET),
    ("org.manholed.AmbiguousTarget", NO_TARGET),
    ("org.manholed.NotAuthorized", REFUSED),
    ("org.manholed.TargetUntrusted", REFUSED),
    ("org.manholed.TargetGone", FAILED),
    ("org.manholed.TooManySessions", FAILED),
    ("org.manholed.RecorderUnavailable", FAILED),
])
def test_each_error_has_its_exit_code(verb, error, status):
    def script(peer):
        peer.call()
        peer.error(error, reason="because\x1b[2J\nof this")

    with fake_daemon(script) as fake:
        result = run(*verb, control=fake.control)
    assert result.returncode == status
    assert result.stdout == ""
    assert one_line(result.stderr) == "because\\x1b[2J\\nof this"


def test_sessions_prints_a_table():
    def script(peer):
        assert peer.call() == {"method": "org.manholed.Broker.Sessions", "parameters": {}}
        peer.reply({"sessions": [SESSION]})

    with fake_daemon(script) as fake:
        result = run("sessions", control=fake.control)
        assert json.loads(run("sessions", "-j", control=fake.control).stdout) == [SESSION]
        rows = run("sessions", "--no-legend", control=fake.control).stdout.splitlines()
    assert result.returncode == DONE
    assert [row.split()[0] for row in rows] == ["c0ffee"]
    assert result.stdout == r"""
SESSION USER          PID COMMAND UNIT         STATE    SINCE                IDLE
c0ffee  alice\x1b[2J 4321 shop    shop.service attached 2024-05-06T07:08:09Z  62s

1 session listed.
""".lstrip("\n")


@pytest.mark.parametrize("answer", [{"sessions": []}, {}, {"sessions": 7}])
def test_no_sessions_say_so(answer):
    def script(peer):
        peer.call()
        peer.reply(answer)

    with fake_daemon(script) as fake:
        assert run("sessions", control=fake.control).stdout == "No sessions.\n"
        assert run("sessions", "-j", control=fake.control).stdout == "[]\n"


BROKER_STATUS = {"version": "0.1.0", "pid": 7, "since": "2024-05-06T07:08:09Z", "recording": "journal",
                 "records": {"volatile": True, "since": "2024-05-01T00:00:00Z", "bytes": 5},
                 "folders": ["/tmp", "/srv\x1b[2J"], "rules": 2, "targets": 3, "sessions": 1,
                 "problems": ["records have been waiting", "and more\n"]}


def test_status_without_a_target_is_the_brokers():
    def script(peer):
        assert peer.call() == {"method": "org.manholed.Broker.BrokerStatus", "parameters": {}}
        peer.reply(BROKER_STATUS)

    with fake_daemon(script) as fake:
        result = run("status", control=fake.control)
        assert json.loads(run("status", "-j", control=fake.control).stdout) == BROKER_STATUS
    assert result.returncode == DONE
    assert result.stdout == rf"""
manholed 0.1.0 (7)
     Control: {fake.control}
       Since: 2024-05-06T07:08:09Z
   Recording: journal
     Records: since 2024-05-01T00:00:00Z, in memory only
  Looks into: /tmp
              /srv\x1b[2J
       Rules: 2
     Targets: 3
    Sessions: 1
     Problem: records have been waiting
              and more\n
""".lstrip("\n")


METRICS = [
    {"name": "m_open", "kind": "gauge", "help": "Sessions\nnow.", "samples": [
        {"labels": {"state": "attached"}, "value": 2}, {"labels": {"state": "lin\"\x1b[2Jger\\"}, "value": 0}]},
    {"name": "m", "kind": "counter", "help": "So far.", "samples": [{"labels": {}, "value": 9007199254740991}]},
    {"name": "m_lag_seconds", "kind": "gauge", "help": "Lag.", "samples": [{"labels": {}, "value": 0.25}]},
]


def test_metrics_are_openmetrics():
    def script(peer):
        assert peer.call() == {"method": "org.manholed.Broker.Metrics", "parameters": {}}
        peer.reply({"metrics": METRICS})

    with fake_daemon(script) as fake:
        result = run("metrics", control=fake.control)
        assert json.loads(run("metrics", "-j", control=fake.control).stdout) == METRICS
    assert result.returncode == DONE
    assert result.stdout == r"""
# TYPE m_open gauge
# HELP m_open Sessions\\nnow.
m_open{state="attached"} 2
m_open{state="lin\"\\x1b[2Jger\\"} 0
# TYPE m counter
# HELP m So far.
m_total 9007199254740991
# TYPE m_lag_seconds gauge
# HELP m_lag_seconds Lag.
m_lag_seconds 0.25
# EOF
""".lstrip("\n")


def test_the_brokers_own_metrics_are_read_by_prometheus(tmp_path):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="python3-prometheus-client is missing")
    with daemon(tmp_path) as manholed, application(control=manholed.control) as app:
        assert run("exec", app.pid, "print('seven')", control=manholed.control).stdout == "seven\n"
        families = {f.name: f for f in parser.text_string_to_metric_families(run("metrics", control=manholed.control).stdout)}
    assert {f.type for f in families.values()} == {"gauge", "counter"}
    assert all(f.documentation and f.samples for f in families.values())
    assert [s.value for s in families["manholed_sessions"].samples if s.name == "manholed_sessions_total"] == [1]


def test_terminate_sends_the_id_and_the_reason():
    calls = []

    def script(peer):
        calls.append(peer.call())
        peer.reply({})

    with fake_daemon(script) as fake:
        for more in ([], ["--reason=lunch"]):
            result = run("terminate", "c0ffee", *more, control=fake.control)
            assert (result.returncode, result.stdout, result.stderr) == (DONE, "", "")
    assert [call["method"] for call in calls] == ["org.manholed.Broker.Terminate"] * 2
    assert [call["parameters"] for call in calls] == [{"session": "c0ffee"},
                                                      {"session": "c0ffee", "reason": "lunch"}]


def test_an_error_nobody_knows_is_shown():
    def script(peer):
        peer.call()
        peer.error("org.varlink.service.MethodNotFound", method="List")

    with fake_daemon(script) as fake:
        result = run("list", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr).startswith("manholed answers org.varlink.service.MethodNotFound")


@pytest.mark.parametrize("answer, message", [
    (b"", "manholed ended the connection without an answer"),
    (b'{"parameters":', "manholed ended the connection without an answer"),
    (b"hello?\0", "the answer is not manholed's: not a Varlink message"),
    (b"[]\0", "the answer is not manholed's: not a Varlink message"),
    (b'{"error":1}\0', "the answer is not manholed's: not a Varlink reply"),
    (b'{"parameters":[]}\0', "the answer is not manholed's: not a Varlink reply"),
    (b" " * (17 << 20), "the answer is not manholed's: too long"),
], ids=["nothing", "half", "text", "array", "number", "parameters", "endless"])
def test_an_answer_that_is_none(answer, message):
    def script(peer):
        peer.call()
        peer.send(answer)

    with fake_daemon(script) as fake:
        result = run("list", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == message


def test_a_list_of_nothing_sensible_does_no_harm():
    with fake_daemon(listing([None, 7, {}, {"pid": "x", "command": 5, "unit": []}])) as fake:
        assert run("list", control=fake.control).returncode == DONE
    with fake_daemon(listing("what")) as fake:
        assert run("list", control=fake.control).returncode == DONE
