# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon asks a target's agent itself: stacks, tasks, health. Who may, what becomes of an answer
that is late, wrong or too long, and that nothing is left behind."""
import contextlib
import json
import os
import signal
import time

import pytest

from agentlib import ANSWER, END, HEALTH, HOSTS, OUTPUT, STACKS, TASKS
from daemonlib import *  # noqa: F403

QUESTIONS = ["Stacks", "Tasks", "Health"]
TARGET_KEYS = {"pid", "uid", "user", "unit", "comm", "command", "python", "agent", "state", "sessions", "socket"}

# Finds itself among the threads of a process by its name.
WAITING = """
import threading
def wait_here(event, secret):
    event.wait()
threading.Thread(target=wait_here, args=(threading.Event(), "drowssap"), daemon=True, name="waiting").start()
"""


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


def ask(daemon, method, target, uid=US, **parameters):
    return daemon.call(f"{BROKER}.{method}", {"target": str(target), **parameters}, uid=uid)


def asked(daemon, method, target, **parameters):
    """The answer; fails if there is none."""
    error, reply = ask(daemon, method, target, **parameters)
    assert error is None, (error, reply)
    assert set(reply["target"]) == TARGET_KEYS
    return reply


def refused(daemon, method, target, **parameters):
    """(the error's name, the reason)"""
    error, reply = ask(daemon, method, target, **parameters)
    assert error and set(reply) == {"reason"} and reply["reason"], reply
    return error.removeprefix(f"{ERROR}."), reply["reason"]


def live(daemon, target):
    daemon.wait_state(target.pid, "live")
    return target


def waiting(daemon, **kwargs):
    return Process(AGENT_CODE.replace("print(", WAITING + "print("), daemon.scan, **kwargs)


@pytest.fixture
def agent(daemon):
    with waiting(daemon) as target:
        yield live(daemon, target)


# What has our agent, but answers as the test says: it accepts nothing by itself.
FAKE_CODE = "import manhole\n" + STANDIN_CODE


@pytest.fixture
def fake(daemon):
    with Process(FAKE_CODE, daemon.scan) as target:
        assert target.do("listen()") == "None"
        live(daemon, target)
        assert daemon.listed()[target.pid]["agent"] == "native"
        yield target


class Asked:
    """A call under way, whose other side is the test's own."""

    def __init__(self, daemon, fake, method="Stacks", uid=US, greet=True, **parameters):
        self.fake = fake
        self.client = daemon.client(uid)
        self.client.send(f"{BROKER}.{method}", {"target": str(fake.pid), **parameters})
        assert fake.do("accept()") == "None"
        if greet:
            assert fake.do("hello()") == "None"

    def request(self):
        length, kind, number = eval(self.fake.do("__import__('struct').unpack('<III', receive(12))"))
        return kind, number, eval(self.fake.do(f"receive({length})"))

    def answer(self, payload, kind=ANSWER, number=1):
        payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        assert self.fake.do(f"frame({kind}, {number}, {payload!r})") == "None"

    def refusal(self):
        error, reply = self.client.reply()
        assert error, reply
        return error.removeprefix(f"{ERROR}.")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.client.close()


THREAD = {"native_id": 1, "id": None, "name": "x", "state": "S", "syscall": None, "wchan": None, "gil": None}
ANSWERS = {
    "Stacks": {"gil": True, "text": "text", "threads": [THREAD]},
    "Tasks": {"tasks": [], "greenlets": [], "text": ""},
    "Health": {"gil": False, "version": "1", "pid": 1, "uptime": 0.5, "threads": 1, "rss": 1, "descriptors": 1,
               "descriptors_max": None, "connections": 1, "consoles": 0, "dropped": 0, "python": None},
}
REQUESTS = {"Stacks": (STACKS, b""), "Tasks": (TASKS, b""), "Health": (HEALTH, b"")}


# -------------------------------------------------------------------- answers


def test_stacks_are_every_thread_s(daemon, agent):
    reply = asked(daemon, "Stacks", agent.pid)
    assert set(reply) == {"target", "gil", "text", "threads"}
    assert reply["gil"] is True and reply["target"]["pid"] == agent.pid
    assert "in wait_here" in reply["text"] and "drowssap" not in reply["text"]
    assert all(set(thread) == set(THREAD) for thread in reply["threads"])
    assert agent.pid in {thread["native_id"] for thread in reply["threads"]}


def test_stacks_with_locals(daemon, agent):
    assert "secret = 'drowssap'" in asked(daemon, "Stacks", agent.pid, locals=True)["text"]
    assert "drowssap" not in asked(daemon, "Stacks", agent.pid, locals=False)["text"]


def test_health_is_in_numbers(daemon, agent):
    reply = asked(daemon, "Health", agent.pid)
    assert set(reply) == {"target", *ANSWERS["Health"]}
    assert reply["pid"] == agent.pid and reply["gil"] is True and reply["uptime"] >= 0
    assert set(reply["python"]) == {"version", "gil_wait_ms", "gc", "loop"}


TASKS_CODE = """
import asyncio, os, sys, manhole
async def sleep_long():
    await asyncio.sleep(3600)
async def main():
    task = asyncio.ensure_future(sleep_long())
    asyncio.get_running_loop().call_later(0, lambda: print("READY", flush=True))
    asyncio.get_running_loop().add_reader(0, lambda: os._exit(0))
    await task
manhole.install(socket_path=f"{sys.argv[1]}/manhole-{os.getpid()}", verbose=False)
asyncio.run(main())
"""


def test_tasks_are_a_tree(daemon):
    with Process(TASKS_CODE, daemon.scan) as target:
        reply = asked(daemon, "Tasks", live(daemon, target).pid)
        assert set(reply) == {"target", "tasks", "greenlets", "text"}
        by_function = {task["stack"][0]["function"]: task for task in reply["tasks"]}
        assert by_function["main"]["waits_for"] == [by_function["sleep_long"]["id"]]
        assert asked(daemon, "Health", target.pid)["python"]["loop"]["tasks"] == 2


def stuck(daemon):
    """The host, with its socket in the daemon's folder."""
    code = (HOSTS / "stuck.py").read_text()
    at = "socket_path=f'{sys.argv[2]}/manhole-{os.getpid()}'"
    return Process(code.replace("verbose=False", f"verbose=False, {at}"), "hold_gil()", daemon.scan)


def test_while_the_gil_is_held(daemon):
    with stuck(daemon) as target:
        assert target.line() == "HOLDS"
        live(daemon, target)
        reply = asked(daemon, "Stacks", target.pid, locals=True)
        assert reply["gil"] is False and "in hold_gil" in reply["text"]
        assert {t["native_id"]: t["gil"] for t in reply["threads"]}[target.pid] == "has"
        assert refused(daemon, "Tasks", target.pid)[0] == "TimedOut"
        reply = asked(daemon, "Health", target.pid)
        assert reply["gil"] is False and reply["python"] is None and reply["pid"] == target.pid


def test_a_question_is_no_session(daemon, agent):
    for method in QUESTIONS:
        asked(daemon, method, agent.pid)
    assert daemon.listed()[agent.pid]["sessions"] == 0
    assert not daemon.events()
    assert not list(daemon.record.glob("*.cast"))


@pytest.mark.parametrize("method", QUESTIONS)
def test_the_agent_is_asked_one_question(daemon, fake, method):
    with Asked(daemon, fake, method) as call:
        kind, payload = REQUESTS[method]
        assert call.request() == (kind, 1, payload)
        call.answer(ANSWERS[method])
        error, reply = call.client.reply()
        assert error is None and reply.pop("target")["pid"] == fake.pid
        assert reply == ANSWERS[method]
        assert eval(fake.do("receive(1)")) == b""  # and that was all


def test_locals_are_asked_for(daemon, fake):
    with Asked(daemon, fake, locals=True) as call:
        assert call.request() == (STACKS, 1, b"locals=yes\n")


def test_one_connection_asks_one_question_after_the_other(daemon, agent):
    with daemon.client() as client:
        calls = [client.encode(f"{BROKER}.{method}", {"target": str(agent.pid)}) for method in QUESTIONS * 3]
        client.send_raw(b"".join(calls))
        for method in QUESTIONS * 3:
            error, reply = client.reply()
            assert error is None and set(ANSWERS[method]) <= set(reply)


# --------------------------------------------------------------------- who may


@needs_root
def test_only_who_may_observe_may_ask(daemon, fake):
    for method in QUESTIONS:
        assert refused(daemon, method, fake.pid, uid=BOB)[0] == "NotAuthorized"
    denied = daemon.events(event="denied")
    assert len(denied) == 3
    assert {(r["MANHOLE_CLIENT_UID"], r["MANHOLE_TARGET_PID"]) for r in denied} == {(str(BOB), str(fake.pid))}
    assert "BlockingIOError" in fake.do("server.setblocking(False) or accept()")


@needs_root
def test_who_may_observe_may_ask_but_for_variables():
    rules = f'[Grant "watchers"]\nUser={BOB}\nTargetUser=root\nMode=observe'
    with Daemon(config=rules) as daemon, \
            waiting(daemon) as target:
        live(daemon, target)
        for method in QUESTIONS:
            asked(daemon, method, target.pid, uid=BOB)
        assert refused(daemon, "Stacks", target.pid, uid=BOB, locals=True)[0] == "NotAuthorized"
        assert daemon.refused(target.pid, uid=BOB) == "NotAuthorized"


@needs_root
def test_who_may_control_is_shown_variables(daemon):
    with waiting(daemon, uid=ALICE) as target:
        live(daemon, target)
        assert "drowssap" in asked(daemon, "Stacks", target.pid, uid=ALICE, locals=True)["text"]
        assert "drowssap" in asked(daemon, "Stacks", target.pid, locals=True)["text"]


@needs_root
def test_a_squatter_is_not_asked(daemon):
    """Our agent's code, but another process's name."""
    with sleeper() as victim, Process(FAKE_CODE, daemon.scan, victim.pid, uid=ALICE) as squatter:
        assert squatter.do("listen()") == "None"
        wait_for(lambda: victim.pid in daemon.listed(), "the socket")
        assert refused(daemon, "Stacks", victim.pid)[0] == "TargetUntrusted"
        assert "BlockingIOError" in squatter.do("server.setblocking(False) or accept()")
    assert daemon.events(event="denied", target_pid=victim.pid)


@needs_root
def test_who_takes_a_target_s_place_gets_no_question(daemon):
    """The same user's other process listens: only the connection shows it."""
    with Process(FAKE_CODE, daemon.scan) as target, Process(FAKE_CODE, daemon.scan, target.pid) as other:
        assert other.do("listen()") == "None"
        live(daemon, target)
        assert refused(daemon, "Stacks", target.pid)[0] == "TargetUntrusted"
        assert other.do("accept()") == "None" and eval(other.do("receive(1)")) == b""
        assert refused(daemon, "Stacks", target.pid)[0] == "TargetUntrusted"
    assert len(daemon.events(event="denied")) == 2


def test_the_pure_python_package_is_not_disturbed(daemon):
    """Whoever connects to it opens a console."""
    with standin(daemon.scan) as target:
        assert target.do("listen()") == "None"
        live(daemon, target)
        for method in QUESTIONS:
            error, reason = refused(daemon, method, target.pid)
            assert error == "Unsupported" and "console" in reason
        assert "BlockingIOError" in target.do("server.setblocking(False) or accept()")


def test_who_speaks_text_is_not_asked(daemon, fake):
    with Asked(daemon, fake, greet=False) as call:
        assert fake.do("client.sendall(b'>>> ')") == "None"
        assert call.refusal() == "Unsupported"
        assert "ConnectionResetError" in fake.do("receive(1)")  # unread, and no byte was sent


# -------------------------------------------------------- answers that are none

NONSENSE = [
    b"", b"x", b"[]", b"1", b"null", b"{}", b'{"gil":true', b'{"gil":true,"text":"x"}', b"\xff",
    b'{"gil":1,"text":"x","threads":[]}', b'{"gil":true,"text":null,"threads":[]}',
    b'{"gil":true,"text":"x","threads":{}}', b'{"gil":true,"text":"x","threads":[1]}',
    b'{"gil":true,"text":"x","threads":[{"native_id":"1"}]}', b'{"gil":true,"text":"x","threads":[{}]}',
    b'{"gil":true,"text":"x","threads":[],"truncated":"no"}', b'{"gil":true,"gil":true,"text":"x","threads":[]}',
    b'{"gil":true,"text":"\\u0000","threads":[]}', b'{"error":1}', b'{"error":null,"message":"x"}',
    b"[" * 100000, b'{"a":' * 20000,
    b'{"gil":true,"text":"x","threads":[],"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
]


@pytest.mark.parametrize("payload", NONSENSE, ids=range(len(NONSENSE)))
def test_an_answer_that_is_none(daemon, fake, payload):
    with Asked(daemon, fake) as call:
        call.answer(payload)
        assert call.refusal() == "TargetGone"


@pytest.mark.parametrize("kind, number", [(OUTPUT, 1), (ANSWER, 2), (ANSWER, 0), (END, 1), (192, 0), (7777, 1), (STACKS, 1)])
def test_a_frame_that_is_no_answer(daemon, fake, kind, number):
    with Asked(daemon, fake) as call:
        call.answer(ANSWERS["Stacks"], kind, number)
        assert call.refusal() == "TargetGone"


def test_a_greeting_that_is_none(daemon, fake):
    with Asked(daemon, fake, greet=False) as call:
        assert fake.do(f"frame({OUTPUT}, 0, b'x' * 256)") == "None"
        assert call.refusal() == "TargetGone"


@pytest.mark.parametrize("header", ["b'\\xff' * 12", "pack('<III', (1 << 20) + 1, 128, 1)"])
def test_a_frame_too_long(daemon, fake, header):
    with Asked(daemon, fake) as call:
        assert fake.do(f"client.sendall({header})") == "None"
        assert call.refusal() == "TargetGone"


def test_an_end_instead_of_an_answer(daemon, fake):
    for greet in (False, True):
        with Asked(daemon, fake, greet=greet) as call:
            assert fake.do("client.close()") == "None"
            assert call.refusal() == "TargetGone"
    with Asked(daemon, fake) as call:
        assert fake.do("client.sendall(pack('<III', 100, 128, 1) + b'{'); client.close()") == "None"
        assert call.refusal() == "TargetGone"


def test_an_answer_in_pieces(daemon, fake):
    whole = json.dumps({**ANSWERS["Stacks"], "text": "x" * 200}).encode()
    with Asked(daemon, fake, greet=False) as call:
        hello, rest = b"{}".ljust(256), b"\x01\x00\x00\x00" + whole
        data = b"\x00\x01\x00\x00\x80\x00\x00\x00" + bytes(4) + hello + \
            len(whole).to_bytes(4, "little") + b"\x80\x00\x00\x00" + rest
        assert fake.do(f"[client.send(bytes([b])) for b in {data!r}] and None") == "None"
        error, reply = call.client.reply()
        assert error is None and reply["text"] == "x" * 200


def test_only_what_the_interface_has_comes_through(daemon, fake):
    with Asked(daemon, fake) as call:
        call.answer({**ANSWERS["Stacks"], "more": {"deep": [1]}, "target": {"pid": 1},
                     "threads": [{**THREAD, "colour": "red"}], "truncated": True})
        error, reply = call.client.reply()
        assert error is None and reply.pop("target")["pid"] == fake.pid
        assert reply == {**ANSWERS["Stacks"], "truncated": True}


def test_foreign_text_is_data(daemon, fake):
    text = "\x1b]0;title\x07\x9b2J\u202e\U0001f600\n\r"
    with Asked(daemon, fake) as call:
        call.answer({**ANSWERS["Stacks"], "text": text})
        assert call.client.reply()[1]["text"] == text


def test_a_megabyte_comes_through(daemon, fake):
    with Asked(daemon, fake) as call:
        text = "x" * ((1 << 20) - 50)
        assert fake.do(f"__import__('threading').Thread(target=frame, args=({ANSWER}, 1, "
                       "b'{\"gil\":true,\"threads\":[],\"text\":\"' + b'x' * ((1 << 20) - 50) + b'\"}')).start()") == "None"
        error, reply = call.client.reply()
        assert error is None and reply["text"] == text


@pytest.mark.parametrize("said, error", [
    ({"error": "busy-interpreter", "message": "m"}, "TimedOut"), ({"error": "timed-out"}, "TimedOut"),
    ({"error": "unsupported"}, "Unsupported"), ({"error": "failed", "message": "it is\n\x1b[31mred"}, "TargetGone"),
    ({"error": "x" * 5000, "message": None}, "TargetGone"),
])
def test_what_the_agent_says_instead(daemon, fake, said, error):
    with Asked(daemon, fake, "Tasks") as call:
        call.answer(said)
        name, reply = call.client.reply()
        assert name == f"{ERROR}.{error}"
        assert reply["reason"] and "\x1b" not in reply["reason"] and len(reply["reason"]) < 600


# ------------------------------------------------------------------- too late


@pytest.mark.parametrize("greet", [False, True])
def test_who_does_not_answer_is_not_waited_for(daemon, fake, greet):
    with Asked(daemon, fake, greet=greet) as call:
        begun = time.monotonic()
        assert call.refusal() == "TimedOut"
        assert time.monotonic() - begun < 2.5
        assert eval(fake.do(f"len(receive({12 if greet else 1}))")) == (12 if greet else 0)
        assert eval(fake.do("receive(1)")) == b""


def test_who_dribbles_is_not_waited_for(daemon, fake):
    """The time is the whole answer's, not each byte's."""
    assert fake.do("import threading") == "None"
    assert fake.do("stop = threading.Event()") == "None"
    with Asked(daemon, fake) as call:
        assert fake.do("client.send(pack('<III', 1000, 128, 1))") == "12"
        assert fake.do("threading.Thread(target=lambda: [client.send(b'x') for _ in iter(lambda: stop.wait(0.1), True)],"
                       " daemon=True).start()") == "None"
        assert call.refusal() == "TimedOut"
    assert fake.do("stop.set()") == "None"


def test_a_stopped_process_is_told_apart(daemon, agent):
    os.kill(agent.pid, signal.SIGSTOP)
    daemon.wait_state(agent.pid, "stopped")
    begun = time.monotonic()
    error, reason = refused(daemon, "Stacks", agent.pid)
    assert error == "TargetGone" and "stopped" in reason
    assert time.monotonic() - begun < 1
    os.kill(agent.pid, signal.SIGCONT)
    asked(daemon, "Stacks", agent.pid)


def test_who_dies_meanwhile_is_gone(daemon, fake):
    with Asked(daemon, fake) as call:
        fake.kill()
        assert call.refusal() == "TargetGone"


def test_who_has_asked_and_gone_is_forgotten(daemon, fake):
    with Asked(daemon, fake) as call:
        call.request()
    assert eval(fake.do("receive(1)")) == b""
    for _ in range(20):  # at any moment
        with daemon.client() as client:
            client.send(f"{BROKER}.Stacks", {"target": str(fake.pid)})
    with Asked(daemon, fake, greet=False):
        pass


def test_without_a_reply_it_is_asked_all_the_same(daemon, fake):
    with daemon.client() as client:
        client.send(f"{BROKER}.Stacks", {"target": str(fake.pid)}, oneway=True)
        assert fake.do("accept()") == "None" and fake.do("hello()") == "None"
        assert fake.do(f"frame({ANSWER}, 1, b'{{}}')") == "None"
        assert client.call(f"{SERVICE}.GetInfo")[0] is None


# ------------------------------------------------------------------- too many


def test_one_user_s_questions_to_a_target_are_bounded(daemon, fake):
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(Asked(daemon, fake)) for _ in range(8)]
        assert refused(daemon, "Stacks", fake.pid)[0] == "TooManySessions"
        calls[-1].answer(ANSWERS["Stacks"])
        assert calls[-1].client.reply()[0] is None
        stack.enter_context(Asked(daemon, fake))


@needs_root
def test_questions_to_a_target_are_bounded(daemon, fake):
    rules = "\n".join(f'[Grant "{i}"]\nUser={BOB + i}\nTargetUser=root\nMode=observe' for i in range(5))
    daemon.config.write_text(f"[Manholed]\n{rules}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "Configuration reloaded" in daemon.said(), "the reload")
    with contextlib.ExitStack() as stack:
        for i in range(32):
            stack.enter_context(Asked(daemon, fake, uid=BOB + i // 8))
        assert refused(daemon, "Stacks", fake.pid, uid=BOB + 4)[0] == "TooManySessions"
        assert refused(daemon, "Stacks", fake.pid)[0] == "TooManySessions"


@needs_root
def test_answers_that_wait_count_against_their_user(daemon):
    """Each may announce a megabyte and send no more."""
    def announce(target):
        call = stack.enter_context(Asked(daemon, target, uid=ALICE))
        assert target.do(f"client.sendall(pack('<III', 1 << 20, {ANSWER}, 1))") == "None"
        return call

    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Process(FAKE_CODE, daemon.scan, uid=ALICE)) for _ in range(5)]
        for target in targets:
            assert target.do("listen()") == "None"
            live(daemon, target)
        calls = [announce(target) for target in targets for _ in range(7)]
        assert [call.refusal() for call in calls].count("TargetGone") == 3


@needs_root
def test_others_are_served_while_answers_are_read(daemon):
    """Answers of a megabyte, each many small objects, from one user's targets: nobody else waits for long."""
    thread = json.dumps(THREAD).encode()
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Process(FAKE_CODE, daemon.scan, uid=ALICE)) for _ in range(4)]
        quiet = stack.enter_context(application(daemon.scan, uid=BOB))
        for target in targets:
            assert target.do("listen()") == "None"
            live(daemon, target)
            assert target.do(f"payload = b'{{\"gil\":true,\"text\":\"\",\"threads\":[' + b','.join([{thread!r}] * 10000) + b']}}'") == "None"
        live(daemon, quiet)
        calls = [stack.enter_context(Asked(daemon, target, uid=ALICE)) for target in targets for _ in range(7)]
        for target in targets:
            assert target.do("threading = __import__('threading')") == "None"
            assert target.do("[threading.Thread(target=lambda c=c: c.sendall(pack('<III', len(payload), 128, 1) + payload))"
                             ".start() for c in clients] and None") == "None"
        begun = time.monotonic()
        asked(daemon, "Stacks", quiet.pid, uid=BOB)
        waited = time.monotonic() - begun
        assert all(call.client.reply() is not None for call in calls)
        print(f"waited {waited:.3f} s while {len(calls)} answers of {10000 * len(thread)} bytes came")
        assert waited < 5


def test_a_hundred_targets_at_once(daemon):
    """Each takes 0.3 s: its GIL is held. To start them takes 3 s."""
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(stuck(daemon)) for _ in range(100)]
        wait_for(lambda: len([t for t in daemon.listed().values() if t["state"] == "live"]) == 100, "the targets")
        begun = time.monotonic()
        clients = [stack.enter_context(daemon.client()) for _ in targets]
        for client, target in zip(clients, targets):
            client.send(f"{BROKER}.Stacks", {"target": str(target.pid)})
        replies = [client.reply() for client in clients]
        took = time.monotonic() - begun
        assert [reply["target"]["pid"] for error, reply in replies if not error] == [t.pid for t in targets]
        assert all(reply["gil"] is False and "in hold_gil" in reply["text"] for _, reply in replies)
        print(f"{len(targets)} targets in {took:.3f} s")
        assert took < 5  # one after the other it would be 30
