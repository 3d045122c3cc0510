# SPDX-License-Identifier: BSD-2-Clause
"""Exec: code that runs by one call, in a session of its own that is recorded as others are."""
import json

import pytest

from agentlib import ANSWER, DROPPED, END, EXEC, INPUT, OUTPUT, PROMPT, STDERR
from daemonlib import *  # noqa: F403
from sessionlib import NOTICE, Watcher, sessions, terminate


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


@pytest.fixture
def agent(daemon):
    with application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        yield target


@pytest.fixture
def fake(daemon):
    """Has our agent, and answers as the test says."""
    with Process("import manhole\n" + STANDIN_CODE, daemon.scan) as target:
        assert target.do("listen()") == "None"
        daemon.wait_state(target.pid, "live")
        yield target


class Run:
    """An Exec under way. What it has answered so far: text by stream, dropped bytes, and the end or the error."""

    def __init__(self, daemon, target, code="", uid=US, **parameters):
        self.client = daemon.client(uid)
        self.client.send(f"{BROKER}.Exec", {"target": str(target.pid), "code": code, **parameters}, more=True)
        self.pieces = {"stdout": [], "stderr": []}
        self.dropped, self.end, self.error, self.reason = 0, None, None, None

    def message(self):
        while b"\0" not in self.client.buffer:
            data = self.client.socket.recv(65536)
            assert data, "closed"
            self.client.buffer += data
        text, _, self.client.buffer = self.client.buffer.partition(b"\0")
        return json.loads(text)

    def begin(self):
        first = self.message()
        assert first["continues"] and set(first["parameters"]) == {"session", "recording"}, first
        self.session = first["parameters"]["session"]
        return self

    def step(self):
        """Takes one answer; False when it was the last."""
        message = self.message()
        if "error" in message:
            self.error, self.reason = message["error"].rpartition(".")[2], message["parameters"].get("reason")
        elif not message.get("continues"):
            assert set(message["parameters"]) == {"end"}
            self.end = message["parameters"]["end"]
        elif "stream" in message["parameters"]:
            assert set(message["parameters"]) == {"stream", "text"}
            self.pieces[message["parameters"]["stream"]].append(message["parameters"]["text"])
        else:
            self.dropped += message["parameters"]["dropped"]
        return bool(message.get("continues"))

    @property
    def shown(self):
        return {stream: "".join(pieces) for stream, pieces in self.pieces.items()}

    def until(self, text):
        while text not in self.shown["stdout"]:
            assert self.step(), (text, self.shown, self.error, self.reason)

    def finish(self):
        while self.step():
            pass
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.client.close()


def ran(daemon, target, code, **parameters):
    with Run(daemon, target, code, **parameters) as run:
        return run.begin().finish()


def refused(daemon, target, code="1", **parameters):
    with Run(daemon, target, code, **parameters) as run:
        assert not run.step()
        return run.error


# ---------------------------------------------------------------------- it runs


def test_what_it_prints_and_how_it_ends(daemon, agent):
    run = ran(daemon, agent, "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7", reason="to see")
    assert run.shown == {"stdout": "out\n", "stderr": "err\n"}
    assert run.end == {"reason": "done", "status": 0, "result": "42", "exception": None}
    end, cast = daemon.ended(run.session)
    assert cast.input == b"import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7"
    assert b"out\n" in cast.output and b"err\n" in cast.output and b"42" in cast.output
    start, = daemon.events(event="start", session=run.session)
    assert start["MANHOLE_REASON"] == "to see" and start["MANHOLE_TARGET_PID"] == str(agent.pid)


@pytest.mark.parametrize("code, status, result, kind", [
    ("", 0, None, None), ("x = 1", 0, None, None), ("None", 0, None, None), ("1/0", 1, None, "ZeroDivisionError"),
    ("raise SystemExit(7)", 7, None, None), ("'é\\0'", 0, "'é\\x00'", None), ("syntax error", 1, None, "SyntaxError"),
])
def test_how_it_ends(daemon, agent, code, status, result, kind):
    end = ran(daemon, agent, code).end
    assert (end["reason"], end["status"], end["result"]) == ("done", status, result)
    assert (end["exception"] and end["exception"]["type"]) == kind
    if kind:
        assert kind in end["exception"]["traceback"]


def test_each_has_a_namespace_of_its_own(daemon, agent):
    assert ran(daemon, agent, "x = 1").end["status"] == 0
    assert ran(daemon, agent, "x").end["exception"]["type"] == "NameError"


def test_there_is_no_input(daemon, agent):
    assert ran(daemon, agent, "input('? ')").end["exception"]["type"] == "EOFError"


def test_several_calls_on_one_connection(daemon, agent):
    with Run(daemon, agent, "1") as run:
        assert run.begin().finish().end["result"] == "1"
        run.client.send(f"{BROKER}.Exec", {"target": str(agent.pid), "code": "2"}, more=True)
        assert run.begin().finish().end["result"] == "2"
        assert run.client.call(f"{SERVICE}.GetInfo")[0] is None


# ------------------------------------------------------------------------ text


def frames(fake, *pieces):
    assert fake.do("accept()") == "None" and fake.do("hello()") == "None"
    for kind, number, payload in pieces:
        payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        assert fake.do(f"frame({kind}, {number}, {payload!r})") == "None"


DONE = {"reason": "done", "status": 0, "result": None, "exception": None}


def test_the_code_is_the_one_request(daemon, fake):
    with Run(daemon, fake, "code é") as run:
        frames(fake)
        run.begin()
        wanted = len("code é".encode()).to_bytes(4, "little") + bytes([EXEC, 0, 0, 0, 1, 0, 0, 0]) + "code é".encode()
        assert eval(fake.do(f"receive({len(wanted)})")) == wanted
        frames_ = fake.do(f"frame({PROMPT}, 1, b'? ')")
        assert frames_ == "None" and eval(fake.do("receive(12)")) == bytes(4) + bytes([INPUT, 0, 0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize("pieces, text", [
    ([b"\xc3", b"\xa9"], "é"), ([b"\xf0\x9f", b"\x98", b"\x80x"], "\U0001f600x"), ([b"\xff"], "\ufffd"),
    ([b"a\xc3"], "a\ufffd"), ([b"\xc3", b"("], "\ufffd("), ([b"\0\x1b"], "\0\x1b"), ([b""], ""),
    ([b"\xed\xa0\x80"], "\ufffd\ufffd\ufffd"), ([b"\xe2\x82", b"", b"\xac"], "€"),
])
def test_text_is_text(daemon, fake, pieces, text):
    with Run(daemon, fake) as run:
        frames(fake, *[(OUTPUT, 1, piece) for piece in pieces], (END, 1, DONE))
        run.begin().finish()
        assert run.shown == {"stdout": text, "stderr": ""} and run.end == DONE


def test_the_streams_do_not_mix(daemon, fake):
    with Run(daemon, fake) as run:
        frames(fake, (OUTPUT, 1, b"\xc3"), (STDERR, 1, b"\xe2\x82"), (OUTPUT, 1, b"\xa9"), (STDERR, 1, b"\xac"),
               (DROPPED, 1, {"bytes": 17}), (END, 1, {**DONE, "more": 1}))
        run.begin().finish()
        assert run.shown == {"stdout": "é", "stderr": "€"} and run.dropped == 17 and run.end == DONE


@pytest.mark.parametrize("pieces, error", [
    ([(END, 1, b"nonsense")], "TargetGone"), ([(END, 1, {})], "TargetGone"), ([(END, 1, {**DONE, "status": "x"})], "TargetGone"),
    ([(END, 1, {"error": "x"})], "TargetGone"), ([(ANSWER, 1, {"error": "busy"})], "TargetGone"), ([(ANSWER, 1, b"")], "TargetGone"),
    ([(NOTICE, 0, {"kind": "end", "text": "forged"})], "SessionEnded"), ([(7777, 1, b"")], "SessionEnded"),
])
def test_what_is_no_end(daemon, fake, pieces, error):
    with Run(daemon, fake) as run:
        frames(fake, *pieces)
        run.begin().finish()
        assert run.error == error and run.reason != "forged"


# ---------------------------------------------------------------------- who may


def test_it_must_be_called_with_more(daemon, agent):
    parameters = {"target": str(agent.pid), "code": "1"}
    assert daemon.call(f"{BROKER}.Exec", parameters) == (f"{SERVICE}.ExpectedMore", {})
    assert daemon.call(f"{BROKER}.Exec", {"target": str(agent.pid)}, more=True) == \
        (f"{SERVICE}.InvalidParameter", {"parameter": "code"})


@needs_root
def test_who_may_only_observe_runs_nothing(fake):
    rules = f'[Grant "watchers"]\nUser={BOB}\nTargetUser=root\nMode=observe'
    with Daemon(config=rules) as daemon, Process("import manhole\n" + STANDIN_CODE, daemon.scan) as fake:
        assert fake.do("listen()") == "None"
        daemon.wait_state(fake.pid, "live")
        for uid in ALICE, BOB:
            assert refused(daemon, fake, uid=uid) == "NotAuthorized"
        assert "BlockingIOError" in fake.do("server.setblocking(False) or accept()")
        assert len(daemon.events(event="denied")) == 2 and not daemon.events(event="start")


def test_a_reason_where_one_is_needed():
    with Daemon(config="RequireReason=yes") as daemon, application(daemon.scan) as agent:
        daemon.wait_state(agent.pid, "live")
        assert refused(daemon, agent) == "NotAuthorized"
        assert ran(daemon, agent, "1", reason="because").end["result"] == "1"
        assert refused(daemon, agent, reason="x" * 1001) == "InvalidParameter"


def test_the_pure_python_package_is_not_disturbed(daemon):
    with standin(daemon.scan) as target:
        assert target.do("listen()") == "None"
        daemon.wait_state(target.pid, "live")
        assert refused(daemon, target) == "Unsupported"
        assert "BlockingIOError" in target.do("server.setblocking(False) or accept()")


def test_who_speaks_text_runs_nothing(daemon, fake):
    with Run(daemon, fake) as run:
        assert fake.do("accept()") == "None" and fake.do("client.sendall(b'>>> ')") == "None"
        assert not run.step() and run.error == "Unsupported"


def test_sessions_are_counted(daemon):
    with Daemon(config="SessionsPerUser=1") as daemon, application(daemon.scan) as agent:
        daemon.wait_state(agent.pid, "live")
        with Run(daemon, agent, "print('begun')\nimport threading; threading.Event().wait()") as run:
            run.begin().until("begun\n")
            assert refused(daemon, agent) == "TooManySessions"
        wait_for(lambda: not sessions(daemon), "the session's end")
        assert ran(daemon, agent, "1").end["result"] == "1"


# ----------------------------------------------------------------- it is a session

WAIT = "print('begun')\nwhile True: pass"


def test_it_is_shown_watched_and_ended_as_a_session(daemon, agent):
    with Run(daemon, agent, WAIT) as run:
        run.begin().until("begun\n")
        assert sessions(daemon)[run.session]["pid"] == agent.pid
        with Watcher(daemon, run.session):
            assert sessions(daemon)[run.session]["watchers"] == 1
        assert terminate(daemon, run.session, reason="enough") is None
        run.finish()
        assert run.error == "SessionEnded" and "enough" in run.reason
    daemon.ended(run.session)
    assert ran(daemon, agent, "1").end["result"] == "1"


def test_who_goes_ends_it(daemon, agent):
    with Run(daemon, agent, WAIT) as run:
        run.begin().until("begun\n")
    daemon.ended(run.session)
    wait_for(lambda: not sessions(daemon), "the session's end")
    for _ in range(10):  # at any moment
        with Run(daemon, agent, "1"):
            pass
    wait_for(lambda: not sessions(daemon), "the sessions' end")


def test_a_target_that_dies(daemon, agent):
    with Run(daemon, agent, WAIT) as run:
        run.begin().until("begun\n")
        agent.kill()
        assert run.finish().error == "SessionEnded"
    daemon.ended(run.session)


def test_a_daemon_that_stops_says_so(daemon, agent):
    with Daemon() as other, application(other.scan) as target:
        other.wait_state(target.pid, "live")
        with Run(other, target, WAIT) as run:
            run.begin().until("begun\n")
            assert other.stop() == 0
            other.ended(run.session)


def test_who_does_not_read_costs_no_memory(daemon, agent):
    """Output that nobody reads: the code waits, and goes on when somebody does."""
    ran(daemon, agent, "print('x' * 1000000)")
    before = daemon.resident()
    with Run(daemon, agent, "print('begun')\nfor i in range(8000): print('x' * 999)\nprint('end')") as run:
        run.begin().until("begun\n")
        # That no more comes than the queues on the way hold can only be seen for a while.
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert sessions(daemon)[run.session]["output"] < 4_000_000
        assert sessions(daemon)[run.session]["output"] > 100_000
        assert daemon.resident() - before < 4 << 20
        run.finish()
        assert len(run.shown["stdout"]) == 6 + 8_000_000 + 4 and run.end["status"] == 0
    daemon.ended(run.session)
