# SPDX-License-Identifier: BSD-2-Clause
"""manholectl and a daemon that says what a test wants: what is printed, and what it makes of a
daemon that misbehaves."""
import json
import signal
import subprocess
import threading

import pytest

from clilib import (ANSWER, DONE, DROPPED, END, EXEC, FAILED, INPUT, INTERRUPT, MANHOLECTL, NO_TARGET, NOTICE, OPEN,
                    OUTPUT, PATIENCE, PROMPT, REFUSED, STDERR, TIMED_OUT, TYPED, application, daemon, environment, fake_daemon, frame,
                    hello, kill, one_line, run, target, terminal)

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


SESSION = {"session": "c0ffee", "uid": 1000, "user": "alice\x1b[2J", "client": 8, "pid": 4321, "comm": "shop",
           "unit": "shop.service", "state": "attached", "since": "2024-05-06T07:08:09Z", "idle": 61.7,
           "input": 10, "output": 2000}


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


def console(*script, **attach):
    """A daemon that serves a console: expects OPEN, then sends what `script` has."""
    def serve(peer):
        peer.attach(**attach)
        peer.send(hello())
        assert peer.frame() == (OPEN, 1, b"")
        for piece in script:
            peer.send(piece)
        while peer.frame():
            pass
    return serve


def test_attach_sends_the_reason_and_survives_a_hello_in_the_same_packet():
    seen = {}

    def script(peer):
        seen.update(peer.attach(with_reply=hello() + frame(OUTPUT, b"early\n")))
        assert peer.frame()[0] == OPEN
        peer.send(frame(PROMPT, b">>> "))
        assert peer.frame() == (INPUT, 1, b"1+1\n")
        peer.send(frame(OUTPUT, b"2\n") + frame(PROMPT, b">>> "))
        assert peer.frame() == (INPUT, 1, b"")
        peer.send(frame(END, {"reason": "eof"}))

    with fake_daemon(script) as fake:
        result = run("attach", "app", "--reason=why \xe9", control=fake.control, input="1+1\n")
    assert seen == {"target": "app", "framed": True, "linger": True, "reason": "why \xe9"}
    assert result.returncode == DONE
    assert result.stdout == "early\n>>> 2\n>>> "
    assert result.stderr.splitlines() == [
        "python3(0) of root, Python 3.11", "Session feed, recorded: file:/records.",
        "manholectl: end of input; process 0 goes on"]


@pytest.mark.parametrize("frames, message", [
    ([frame(END, {"reason": "stopping"})], "process 0 is ending, and its console with it"),
    ([frame(END, {"reason": "tired\x1b"})], r"the console was ended: tired\x1b"),
    ([frame(END, b"not json")], "the console was ended: no reason given"),
    ([frame(ANSWER, {"error": "busy"})], "no console: busy"),
    ([frame(ANSWER, {"error": "x", "message": "no thread"})], "no console: no thread"),
    ([frame(99, b"")], "the console is lost: it does not speak the console protocol"),
    ([b"\xff" * 12], "the console is lost: it does not speak the console protocol"),
    ([b"\x01"], "the console is lost: the connection is gone; it may wait for: manholectl attach --resume feed"),
], ids=["stopping", "unknown", "nonsense", "busy", "message", "type", "length", "cut"])
def test_a_console_that_ends_badly_says_why(frames, message):
    def script(peer):
        peer.attach()
        peer.send(hello())
        peer.frame()
        for piece in frames:
            peer.send(piece)

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == FAILED
        assert t.rest().endswith(f"manholectl: {message}\r\n")
        assert t.modes() == t.found


def test_a_session_without_a_record_says_so():
    with fake_daemon(console(frame(END, {"reason": "exit"}), recording="none")) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.returncode == DONE
    assert "Session feed, not recorded.\n" in result.stderr


def test_dropped_output_is_shown_where_it_is_missing():
    pieces = [frame(OUTPUT, b"a\n"), frame(DROPPED, {"bytes": 4711}), frame(OUTPUT, b"b\n"),
              frame(END, {"reason": "exit"})]
    with fake_daemon(console(*pieces)) as fake, terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == DONE
        assert "a\r\n[4711 bytes of output were dropped here]\r\nb\r\n" in t.rest()


def notice(kind, text):
    return frame(NOTICE, {"kind": kind, "text": text}, id=0)


def test_what_manholed_says_stands_in_brackets():
    pieces = [frame(OUTPUT, b"a\n"), notice("joined", "alice\x1b[2J is here"), notice("news", "x"), frame(NOTICE, b"{"),
              frame(OUTPUT, b"b\n"), frame(END, {"reason": "exit"})]
    with fake_daemon(console(*pieces)) as fake:
        with terminal("attach", "x", control=fake.control) as t:
            assert t.wait() == DONE
            assert "a\r\n[alice\\x1b[2J is here]\r\n[x]\r\nb\r\n" in t.rest()
        result = run("attach", "x", control=fake.control)
    assert result.stdout == "a\nb\n"
    assert "[alice\\x1b[2J is here]\n[x]\n" in result.stderr


def test_a_session_that_manholed_ends_says_why():
    with fake_daemon(console(notice("end", "terminated by root"))) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.returncode == FAILED
    assert result.stderr.endswith("manholectl: the session was ended: terminated by root\n")


def test_code_does_not_hear_who_comes_but_why_it_is_ended():
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == EXEC
        peer.send(notice("joined", "alice") + notice("end", "terminated by root"))

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "the session was ended: terminated by root"


def resumed(*pieces, missed=0, **more):
    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Resume" and call["upgrade"] is True
        assert call["parameters"] == {"session": "c0ffee"}
        peer.reply({"session": SESSION, "framed": True, "request": 9, "recording": "journal", "others": [],
                    "missed": missed, **more})
        for piece in pieces:
            peer.send(piece)
        assert peer.frame() == (INPUT, 9, b"1+1\n")
        peer.send(frame(OUTPUT, b"2\n", id=9) + frame(END, {"reason": "exit"}, id=9))
    return script


@pytest.mark.parametrize("words", [["--resume=c0ffee"], ["shop", "--resume", "c0ffee"]])
def test_a_session_is_taken_up_again_without_another_open(words):
    pieces = [frame(OUTPUT, b"before\n", id=9), frame(PROMPT, b">>> ", id=9)]
    with fake_daemon(resumed(*pieces, missed=5)) as fake:
        result = run("attach", *words, control=fake.control, input="1+1\n")
    assert result.returncode == DONE
    assert result.stdout == "before\n>>> 2\n"
    assert result.stderr.splitlines() == [
        "Session c0ffee, in shop(4321), goes on.", "[5 bytes of output meanwhile were too many to be shown here]",
        "manholectl: exit() ended the console; process 4321 goes on"]


def test_a_session_is_taken_up_again_on_a_terminal():
    pieces = [frame(OUTPUT, b"before\n", id=9), frame(PROMPT, b">>> ", id=9)]
    with fake_daemon(resumed(*pieces)) as fake, terminal("attach", "--resume=c0ffee", control=fake.control) as t:
        t.expect_exact("before")
        t.editing()
        t.line("1+1")
        assert t.wait() == DONE


def watched(*pieces):
    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Mirror" and call["upgrade"] is True
        assert call["parameters"] == {"session": "c0ffee", "framed": True}
        peer.reply({"session": SESSION, "framed": True})
        for piece in pieces:
            peer.send(piece)
    return script


def test_watch_shows_what_is_shown_and_typed():
    pieces = [frame(PROMPT, b">>> "), frame(TYPED, b"1+1\x1b[2J\n"), frame(OUTPUT, b"2\n"), frame(STDERR, b"x\n"),
              frame(DROPPED, {"bytes": 5}), notice("end", "eof\x1b[2J")]
    with fake_daemon(watched(*pieces)) as fake:
        result = run("watch", "c0ffee", control=fake.control)
        with terminal("watch", "c0ffee", control=fake.control) as t:
            assert t.wait() == DONE
            assert ">>> \x1b[1m1+1\\x1b[2J\r\n\x1b[0m2\r\nx\r\n" in t.rest()
    assert result.returncode == DONE
    assert result.stdout == ">>> 1+1\x1b[2J\n2\nx\n"
    assert result.stderr.splitlines() == [
        r"Session c0ffee of alice\x1b[2J in shop(4321) since 2024-05-06T07:08:09Z. Nothing you type gets there.",
        "[5 bytes are left out here]", r"manholectl: the session has ended: eof\x1b[2J"]


def test_watch_of_a_session_that_is_lost_fails():
    with fake_daemon(watched(frame(OUTPUT, b"a\n"))) as fake:
        result = run("watch", "c0ffee", control=fake.control)
    assert result.returncode == FAILED
    assert result.stdout == "a\n"
    assert result.stderr.endswith("manholectl: the session is lost: the connection is gone\n")


def test_attach_says_who_else_is_there():
    others = [{"session": "beef", "state": "lingering", "uid": 1000, "user": "alice\x1b[2J", "since": "2024-05-06T07:08:09Z"},
              {"session": "cafe", "uid": 1001, "user": None, "since": "2024-05-06T07:08:10Z"}]
    with fake_daemon(console(frame(END, {"reason": "exit"}), others=others)) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.stderr.splitlines()[2:4] == [
        r"Also here: alice\x1b[2J since 2024-05-06T07:08:09Z, session beef, lingering.",
        "Also here: 1001 since 2024-05-06T07:08:10Z, session cafe."]


def test_output_cannot_command_the_terminal_but_may_colour():
    text = b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[8mhidden\rover\x08\xc2\x9b1m\xe2\x80\xae\xff \xc3\xa9\n"
    # Cut anywhere, a sequence is still one.
    pieces = [frame(OUTPUT, text[i:i + 1]) for i in range(len(text))]
    with fake_daemon(console(*pieces, frame(END, {"reason": "exit"}))) as fake, \
            terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == DONE
        shown = t.rest()
    assert ("\\x1b[2J\\x1b]0;title\\x07\x1b[31mred\\x1b[8mhidden\\rover\\x08\\xc2\\x9b1m\\xe2\\x80\\xae\\xff "
            "\xe9\r\n\x1b[0m") in shown


def test_output_stays_as_it_is_where_there_is_no_terminal():
    with fake_daemon(console(frame(OUTPUT, b"\x1b[2J\r"), frame(END, {"reason": "exit"}))) as fake:
        assert run("attach", "x", control=fake.control).stdout == "\x1b[2J\n"  # \r: universal newlines


def test_output_while_a_line_is_edited_is_printed_above_it():
    typed = threading.Event()

    def script(peer):
        peer.attach()
        peer.send(hello())
        peer.frame()
        peer.send(frame(PROMPT, b">>> "))
        assert typed.wait(PATIENCE)
        peer.send(frame(OUTPUT, b"one\ntwo\npart"))
        assert peer.frame() == (INPUT, 1, b"half a line\n")
        peer.send(frame(END, {"reason": "exit"}))

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact(">>> ")
        t.editing()
        t.send("half")
        t.expect_exact("half")
        typed.set()
        # The line goes, the output comes, and the line is there again behind what is unfinished.
        t.expect("\x1b\\[K\r*one\r\ntwo\r\n")
        t.expect_exact("part>>> half")
        t.line(" a line")
        assert t.wait() == DONE


def test_much_output_above_a_line_ends_where_it_ends():
    lines = b"".join(b"line %d\n" % i for i in range(200))

    def script(peer):
        peer.attach(framed=False)
        peer.send(lines + b"prompt> ")
        assert peer.sock.recv(100) == b"x\n"

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("line 199\r\nprompt> ")
        t.editing()
        t.send("x")
        t.expect_exact("x")
        assert t.pexpect.before == ""
        t.line("")
        assert t.wait() == DONE


def test_a_very_long_unfinished_line_gets_a_line_of_its_own():
    def script(peer):
        peer.attach(framed=False)
        peer.send(b"x" * 600)
        peer.sock.recv(100)

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("x" * 600 + "\r\n")


def test_unfinished_output_stands_in_front_of_the_prompt():
    with fake_daemon(console(frame(OUTPUT, b"no end"), frame(PROMPT, b">>> "))) as fake, \
            terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("no end>>> ")


def test_a_prompt_of_several_lines_and_colours():
    prompt = frame(PROMPT, b"first\nsecond \x1b[32mgreen\x1b[2J> ")
    with fake_daemon(console(prompt)) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("first\r\n")
        t.expect_exact("second \x1b[32mgreen\\x1b[2J> ")


def execution(*frames, code=b"1"):
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame() == (EXEC, 1, code)
        for piece in frames:
            peer.send(piece)
        while peer.frame():
            pass
    return script


def done(result=None, status=0, exception=None):
    return frame(END, {"reason": "done", "result": result, "status": status, "exception": exception})


TRACEBACK = {"type": "ValueError", "message": "no", "traceback": "Traceback: \nValueError: no\n"}


@pytest.mark.parametrize("end, status, out, err", [
    (done(), DONE, "o\n", "e\n"),
    (done(result="[1]"), DONE, "o\n[1]\n", "e\n"),
    (done(result="None"), DONE, "o\n", "e\n"),
    (done(status=1, exception=TRACEBACK), FAILED, "o\n", "e\nTraceback: \nValueError: no\n"),
    (done(status=3), FAILED, "o\n", "e\n"),
    (done(status="text"), FAILED, "o\n", "e\n"),
    (done(status=None), DONE, "o\n", "e\n"),
    (frame(END, {"reason": "stopping"}), FAILED, "o\n",
     "e\nmanholectl: the code did not run to its end: stopping\n"),
    (frame(ANSWER, {"error": "unsupported"}), FAILED, "o\n",
     "e\nmanholectl: the code was not run: unsupported\n"),
    (b"\x01", None, "o\n", None),
], ids=["nothing", "value", "none", "exception", "status", "text", "null", "stopping", "error", "gone"])
def test_exec_prints_and_exits(end, status, out, err):
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame() == (EXEC, 1, b"1")
        peer.send(frame(OUTPUT, b"o\n") + frame(STDERR, b"e\n") + end)
        if status is not None:
            while peer.frame():
                pass

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.stdout == out
    if status is None:
        assert result.returncode == FAILED
        assert result.stderr == "e\nmanholectl: the session is lost: the connection is gone\n"
    else:
        assert (result.returncode, result.stderr) == (status, err)


def test_exec_sends_the_reason():
    seen = {}

    def script(peer):
        seen.update(peer.attach())

    with fake_daemon(script) as fake:
        run("exec", "x", "1", "--reason=ticket", control=fake.control)
    assert seen == {"target": "x", "framed": True, "reason": "ticket"}


def test_exec_as_json():
    pieces = [frame(OUTPUT, b"a\xff"), frame(STDERR, b"b"), frame(OUTPUT, b"c"),
              done(result="5", status=1, exception=TRACEBACK)]
    with fake_daemon(execution(*pieces)) as fake:
        result = run("exec", "x", "1", "-j", control=fake.control)
    assert result.returncode == FAILED
    assert result.stderr == ""
    assert json.loads(result.stdout) == {"result": "5", "status": 1, "exception": TRACEBACK,
                                         "output": "a\ufffdc", "error": "b"}


@pytest.mark.parametrize("stops", [True, False])
def test_exec_interrupts_when_its_time_is_over(stops):
    def script(peer):
        peer.attach()
        peer.send(hello() + frame(OUTPUT, b"begun\n"))
        assert peer.frame()[0] == EXEC
        assert peer.frame() == (INTERRUPT, 1, b"")
        if stops:
            peer.send(done(status=1, exception=TRACEBACK))
        while peer.frame():
            pass

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert result.stdout == "begun\n"
    assert result.stderr.endswith("manholectl: timed out: the code was interrupted" +
                                  ("\n" if stops else " and still runs\n"))


def test_exec_that_times_out_still_reports():
    with fake_daemon(execution(frame(OUTPUT, b"begun"))) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", "-j", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert json.loads(result.stdout) == {"result": None, "status": None, "exception": None,
                                         "output": "begun", "error": ""}


def test_a_daemon_that_does_not_answer_runs_into_the_time_out():
    def script(peer):
        peer.call()
        peer.call()

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", "--timeout=0.1", control=fake.control)
    assert result.returncode == TIMED_OUT
    assert one_line(result.stderr) == "manholed does not answer"


def test_ctrl_c_interrupts_an_exec_and_a_second_one_leaves():
    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == EXEC
        peer.send(frame(STDERR, b"running\n"))
        assert peer.frame() == (INTERRUPT, 1, b"")
        peer.send(frame(STDERR, b"stubborn\n"))
        while peer.frame():
            pass

    with fake_daemon(script) as fake, \
            subprocess.Popen([MANHOLECTL, "exec", "x", "1"], stderr=subprocess.PIPE, text=True,
                             env=environment(MANHOLED_CONTROL=str(fake.control))) as process:
        assert process.stderr.readline() == "running\n"
        kill(process, signal.SIGINT)
        assert process.stderr.readline() == "stubborn\n"
        kill(process, signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT


def test_exec_reads_code_from_a_file_and_from_stdin(tmp_path):
    (tmp_path / "code.py").write_bytes(b"a\nb")
    with fake_daemon(execution(done(), code=b"a\nb")) as fake:
        assert run("exec", "-f", tmp_path / "code.py", "x", control=fake.control).returncode == DONE
        assert run("exec", "x", f"--file={tmp_path}/code.py", control=fake.control).returncode == DONE
        assert run("exec", "x", "-", control=fake.control, input="a\nb").returncode == DONE
        assert run("exec", "x", "-f", "-", control=fake.control, input="a\nb").returncode == DONE
        assert run("exec", "x", "--", "a\nb", control=fake.control).returncode == DONE


def test_code_that_cannot_be_read_or_sent(tmp_path):
    result = run("exec", "x", "-f", tmp_path / "none")
    assert result.returncode == FAILED
    assert one_line(result.stderr) == f"cannot open {tmp_path}/none: No such file or directory"
    result = run("exec", "x", "-f", tmp_path)
    assert one_line(result.stderr) == f"cannot read {tmp_path}: Is a directory"
    result = run("exec", "x", "-", input="#" * ((1 << 20) + 1))
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "the code is longer than 1048576 bytes"


def test_exec_needs_the_agent():
    def script(peer):
        peer.attach(pid=7, framed=False)

    with fake_daemon(script) as fake:
        result = run("exec", "x", "1", control=fake.control)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "process 7 has the pure-Python manhole: exec needs manholed's agent"


def test_input_and_output_larger_than_any_buffer_pass():
    text = "".join(f"line {i}\n" for i in range(200_000))

    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == OPEN
        while True:
            kind, _, payload = peer.frame()
            assert kind == INPUT
            if not payload:
                break
            peer.send(frame(OUTPUT, payload))
        peer.send(frame(END, {"reason": "eof"}))

    with fake_daemon(script) as fake:
        result = run("attach", "x", control=fake.control, input=text)
    assert result.returncode == DONE
    assert result.stdout == text


def test_a_full_disk_ends_a_console():
    with fake_daemon(console(frame(OUTPUT, b"x" * 10))) as fake, open("/dev/full", "w") as full:
        result = subprocess.run([MANHOLECTL, "attach", "x"], stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                                env=environment(MANHOLED_CONTROL=str(fake.control)))
    assert result.returncode == FAILED
    assert result.stderr.splitlines()[-1] == \
        "manholectl: cannot write to standard output: No space left on device"


def test_list_goes_on_when_it_is_to_watch():
    answers = [{"event": "list", "targets": [target(7), target(3)]}, {"event": "added", "target": target(5)},
               {"event": "overflow"}, {"event": "list", "targets": []}, {"event": "removed", "target": target(5)}]

    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Watch" and call["more"] is True
        for answer in answers:
            peer.send(json.dumps({"parameters": answer, "continues": True}).encode() + b"\0")

    with fake_daemon(script) as fake:
        done = run("list", "--watch", control=fake.control)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:2] == ["EVENT", "PID"] and done.returncode == FAILED  # manholed went away
    assert [row[:2] for row in rows[1:] if row[0] != "Something"] == [
        ["listed", "3"], ["listed", "7"], ["added", "5"], ["removed", "5"]]
    with fake_daemon(script) as fake:
        done = run("list", "--watch", "--json=short", control=fake.control)
    assert [json.loads(line) for line in done.stdout.splitlines()] == answers
