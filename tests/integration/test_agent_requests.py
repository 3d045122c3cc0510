# SPDX-License-Identifier: BSD-2-Clause
"""Questions that a framed client asks beside its console: docs/CONSOLE-PROTOCOL.md, "Requests"."""
import json
import os
from random import Random
import socket
import struct

import pytest

from agentlib import *


@pytest.fixture
def host():
    with plain_host("verbose=False") as host:
        yield host


@pytest.fixture
def stuck():
    """A client of a process whose GIL is held."""
    with Host(HOSTS / "stuck.py", "hold_gil()", ready="HOLDS") as host, Framed(host.path) as client:
        client.hello()
        yield client


def open_console(client, options="stacks=no\nbanner=no"):
    number = client.request(OPEN, options)
    client.until(PROMPT, number)
    return number


def run(client, number, line):
    client.send(INPUT, number, line + "\n")
    return client.until(PROMPT, number).get(OUTPUT, b"").decode()


# ---------------------------------------------------------------------------------------- history


def history(client, payload=""):
    return client.ask(HISTORY, payload)["entries"]


def test_history_is_kept_across_sessions_as_it_was_typed(host, client):
    assert history(client) == []
    with Plain(host.path) as console:
        console.start()
        console.run("x = 1")
        console.run("1 +* 2")
        console.run("if x:", b"... ")
        console.run("    'a \N{SNOWMAN}'", b"... ")
        console.run("")
        console.run("")
        console.run("x")
        console.run("x")
        console.send("exit()\n")
        console.wait_closed()
    expected = ["x = 1", "1 +* 2", "if x:\n    'a \N{SNOWMAN}'", "x", "exit()"]
    assert history(client) == expected
    number = open_console(client)
    run(client, number, "y = 2")
    assert history(client) == expected + ["y = 2"]
    assert history(client, "max=2") == ["exit()", "y = 2"]
    assert history(client, "unknown=1\nmax=1\n") == ["y = 2"]
    assert history(client, "max=0") == []
    assert history(client, "max=-1") == history(client, "max=many") == expected + ["y = 2"]


def test_history_knows_nothing_of_exec_and_input(host, client):
    client.exec("secret = 1")
    number = open_console(client)
    client.send(INPUT, number, "p = input()\n")
    client.until(PROMPT, number)
    client.send(INPUT, number, "pass word\n")
    client.until(PROMPT, number)
    client.send(INPUT, number, "half a line")
    client.send(INTERRUPT, number)
    client.until(PROMPT, number)
    assert history(client) == ["p = input()"]


def test_history_is_bounded_and_fits_in_a_frame(host, client):
    number = open_console(client)
    for i in range(1010):
        client.send(INPUT, number, f"n = {i}\n")
        client.until(PROMPT, number)
    entries = history(client)
    assert entries[0] == "n = 10" and entries[-1] == "n = 1009" and len(entries) == 1000
    run(client, number, "'" + "\x01" * (100 << 10) + "'; None")
    run(client, number, "n = 'last'")
    assert len(history(client)) > 900 and history(client)[-1] == "n = 'last'"
    run(client, number, "'" + "x" * (200 << 10) + "'; None")
    assert history(client)[-1] == "n = 'last'"
    run(client, number, "'" + "y" * (127 << 10) + "'; None")
    assert len(history(client)) < 100 and history(client)[-1].startswith("'yyy")


def test_history_does_not_wait_for_the_gil(stuck):
    assert history(stuck) == []


def test_a_child_begins_without_history():
    with plain_host("reinstall_delay=0, verbose=False") as host:
        with Plain(host.path) as console:
            console.start().run("x = 1")
        host.do("pid = os.fork()\nif not pid:\n    import time\n    while True: time.sleep(1)")
        host.do("write_raw('CHILD %d' % pid)")
        child = int(host.wait_out("^CHILD").split()[1])
        path = f"/tmp/manhole-{child}"
        try:
            wait_for(lambda: is_listening(path), "the child's socket listens")
            with Framed(path) as client, Framed(host.path) as parent:
                client.hello(), parent.hello()
                assert history(client) == []
                assert history(parent) == ["x = 1"]
        finally:
            os.kill(child, 9)
            os.unlink(path)


# ----------------------------------------------------------------------------------------- health


def test_health_tells_of_process_and_interpreter(host, client):
    health = client.ask(HEALTH)
    assert health["gil"] is True
    assert health["pid"] == host.pid
    assert 0 <= health["uptime"] < TIMEOUT
    assert 3 <= health["threads"] <= 4  # the main one, the I/O thread, the one that answers
    assert 1 << 20 < health["rss"] < 1 << 30
    host.do("import resource; n = len(os.listdir('/proc/self/fd')) - 1")
    host.do("print('LIMIT', n, resource.getrlimit(resource.RLIMIT_NOFILE)[0])")
    n, limit = host.wait_out("^LIMIT").split()[1:]
    assert (health["descriptors"], health["descriptors_max"]) == (int(n), int(limit))
    assert (health["connections"], health["consoles"], health["dropped"]) == (1, 0, 0)
    python = health["python"]
    assert python["version"].startswith(".".join(map(str, target_version())))
    assert 0 <= python["gil_wait_ms"] < 300
    assert python["gc"]["enabled"] is True and len(python["gc"]["counts"]) == 3
    assert python["loop"] is None


def test_health_follows_what_happens(host, client):
    host.do("import gc; gc.disable(); files = [open('/dev/null') for _ in range(10)]")
    before = client.ask(HEALTH)
    with Framed(host.path) as other:
        other.hello()
        open_console(other)
        now = client.ask(HEALTH)
        assert now["descriptors"] > before["descriptors"]
        assert (now["connections"], now["consoles"]) == (2, 1)
        assert now["python"]["gc"]["enabled"] is False
    wait_for(lambda: client.ask(HEALTH)["connections"] == 1, "the connection is gone")
    wait_for(lambda: client.ask(HEALTH)["consoles"] == 0, "the console is gone")


def test_health_counts_what_was_dropped():
    with Host(HOSTS / "noisy.py") as noisy, Framed(noisy.path) as client, Framed(noisy.path) as other:
        client.hello(), other.hello()
        open_console(client)
        noisy.wait_more_out(25000)
        assert wait_for(lambda: other.ask(HEALTH)["dropped"], "something is dropped") > 0


@pytest.mark.skipif(target_version() < (3, 8), reason="before 3.8 await is for functions alone")
def test_health_measures_the_loop():
    code = (
        "import asyncio, manhole, os, sys\n"
        "async def main():\n"
        "    other = asyncio.ensure_future(asyncio.Event().wait()); os.write(1, b'READY\\n')\n"
        "    await asyncio.Event().wait()\n"
        "manhole.install(verbose=False); asyncio.run(main())\n"
    )
    with Host("-c", code) as host, Framed(host.path) as client, Framed(host.path) as other:
        client.hello(), other.hello()
        loop = client.ask(HEALTH)["python"]["loop"]
        assert loop["tasks"] == 2
        assert 0 < loop["lag_ms"] < 100
        code = "import asyncio, threading; await asyncio.sleep(0); late = threading.Event().wait(1)"
        number = client.request(EXEC, code)
        wait_for(lambda: other.ask(HEALTH)["python"]["loop"]["lag_ms"] is None, "the loop is late")
        client.exec_end(number)


def test_health_is_answered_while_the_gil_is_held(stuck):
    health = stuck.ask(HEALTH)
    assert (health["gil"], health["python"], health["connections"]) == (False, None, 1)
    assert health["threads"] > 1


# --------------------------------------------------------------------------------------- complete

CLASSES = """
import os
from random import Random
import socket
import struct
class Plain:
    shared = os
    def __init__(self): self.field = os; self.own = self
    def method(self): pass
class Slots:
    __slots__ = ("cell",)
    def __init__(self): self.cell = os
ran = []
class Property:
    @property
    def lively(self): ran.append(1); return os
class Getattr:
    def __getattr__(self, name): ran.append(2); return os
    def __dir__(self): ran.append(3); return []
class Getattribute:
    def __getattribute__(self, name): ran.append(4); return os
class Meta(type):
    def __getattr__(cls, name): ran.append(5); return os
class OfMeta(metaclass=Meta): pass
class Liar:
    @property
    def __class__(self): ran.append(6); return dict
    @property
    def __dict__(self): ran.append(7); return {"lie": 1}
class Descriptor:
    def __get__(self, instance, owner): ran.append(8); return os
class Described:
    attribute = Descriptor()
class Key(str):
    def __hash__(self): return str.__hash__(self)
    def __eq__(self, other): ran.append(9); return False
plain, slots, prop, get, every, liar, described = (
    Plain(), Slots(), Property(), Getattr(), Getattribute(), Liar(), Described())
"""


def complete(client, text):
    answer = client.ask(COMPLETE, text)
    return answer["start"], answer["matches"]


def test_complete_names_and_attributes(client):
    assert complete(client, "os.getp")[0] == 3
    assert "getpid" in complete(client, "os.getp")[1]
    assert complete(client, "os.path.joi") == (8, ["join"])
    assert complete(client, "x = print(os.path.joi") == (18, ["join"])
    assert complete(client, "impor") == (0, ["import"])
    assert complete(client, "prin") == (0, ["print"])
    assert complete(client, "dump_sta") == (0, ["dump_stacktraces"])
    assert complete(client, "'\N{SNOWMAN}'; os.path.joi") == (15, ["join"])
    assert complete(client, "if True:\n    os.path.joi") == (21, ["join"])
    assert complete(client, "import os.pat")[1] == ["path"]
    assert "getpid" in complete(client, "from os import path, getp")[1]
    assert "os" in complete(client, "from o")[1]
    for text in ("nothing.", "os.nothing.", "f().a", "1.", "'a'.up", "os..", ".", "os.path.join.x y.", "a[0].b"):
        assert complete(client, text)[1] == [], text
    everything = complete(client, "")[1]
    assert "os" in everything and "if" in everything and not [name for name in everything if name[0] == "_"]
    assert complete(client, "__builtin") == (0, ["__builtins__"])


def test_complete_knows_the_names_of_the_console_that_is_open(client):
    number = open_console(client)
    run(client, number, "a_name_of_mine = os")
    assert complete(client, "a_name") == (0, ["a_name_of_mine"])
    assert complete(client, "a_name_of_mine.path.joi") == (20, ["join"])
    client.send(INPUT, number, "")
    client.until(END, number)
    assert complete(client, "a_name") == (0, [])


def test_complete_runs_no_code_of_the_application(client):
    number = open_console(client)
    run(client, number, f"exec({CLASSES!r})")
    assert complete(client, "plain.own.own.fie") == (14, ["field"])
    assert complete(client, "plain.field.path.joi")[1] == ["join"]
    assert complete(client, "plain.shared.path.joi")[1] == ["join"]
    assert complete(client, "Plain.shared.path.joi")[1] == ["join"]
    assert complete(client, "plain.meth")[1] == ["method"]
    assert complete(client, "slots.cell.path.joi")[1] == ["join"]
    assert complete(client, "prop.live")[1] == ["lively"]
    for text in ("prop.lively.", "get.x.", "get.", "every.", "every.x.", "OfMeta.x.", "liar.", "liar.__class__.",
                 "liar.__dict__.", "described.attribute."):
        complete(client, text)
    run(client, number, "plain.__dict__[Key('path')] = 1; globals()[Key('path')] = 1")
    complete(client, "plain.pat"), complete(client, "pat")
    for text in ("prop.lively.p", "get.x.p", "OfMeta.x.p", "described.attribute.p", "liar.l"):
        assert complete(client, text)[1] == [], text
    assert run(client, number, "ran") == "[]\n"


def test_complete_is_bounded(client):
    number = open_console(client)
    run(client, number, "globals().update({f'name_{i:03}': 1 for i in range(500)})")
    answer = client.ask(COMPLETE, "name_")
    assert answer["truncated"] is True
    assert answer["matches"] == [f"name_{i:03}" for i in range(200)]
    run(client, number, "globals()['x' * 1000] = globals()['not a name'] = globals()[5] = 1")
    assert complete(client, "xx")[1] == complete(client, "not")[1][1:] == []
    assert client.ask(COMPLETE, "z" * 1_000_000)["matches"] == []
    assert client.ask(COMPLETE, b"\xff\xfe")["error"] == "failed"


def test_complete_while_code_runs(client):
    number = open_console(client)
    client.send(INPUT, number, "while True: pass\n\n")
    assert "getpid" in client_complete_beside(client, "os.getp")["matches"]
    client.send(INTERRUPT, number)
    client.until(PROMPT, number)


def test_complete_does_not_wait_long_for_the_gil(stuck):
    assert stuck.ask(COMPLETE, "os.getp")["error"] == "busy-interpreter"


def client_complete_beside(client, text):
    """As ask(), while the console says something too."""
    number = client.request(COMPLETE, text)
    while (frame := client.frame())[:2] != (ANSWER, number):
        pass
    return json.loads(frame[2])


# ------------------------------------------------------------------------------------- random bytes


def random_frames(random, n):
    """Whole requests, some of them senseless, in an order that no client would choose."""
    payloads = [b"", b"1 + 1\n", b"stacks=no\nbanner=no", b"x" * 5000, b"\xff\x00\n", b"max=3", b"os.pa", b"exit()\n"]
    frames = b""
    for _ in range(n):
        payload = random.choice(payloads)
        frames += struct.pack("<III", len(payload), random.randrange(HELLO, HEALTH + 1), random.randrange(1, 4)) + payload
    return frames


def broken(random, frames):
    """With something in them that is no frame."""
    at = random.randrange(len(frames))
    kind = random.randrange(4)
    if kind == 0:
        return frames[:at]
    if kind == 1:
        return frames[:at] + bytes([random.randrange(256)]) + frames[at + 1 :]
    header = (random.choice([0, 5, 1 << 20, 1 << 31]), random.choice([0, 11, 128, 1 << 30]), random.randrange(2))
    return frames + struct.pack("<III", *header) + random.randbytes(40)


@pytest.mark.parametrize("seed", range(4))
def test_random_frames_harm_nobody(host, client, seed):
    random = Random(seed)
    number = open_console(client)
    run(client, number, "mine = 42")
    for _ in range(50):
        with Framed(host.path) as other:
            other.hello()
            frames = random_frames(random, random.randrange(1, 30))
            if random.randrange(2):
                frames = broken(random, frames)
            try:
                while frames:
                    n = random.choice([1, 11, 13, 1000, len(frames)])
                    other.socket.sendall(frames[:n])
                    frames = frames[n:]
                if random.randrange(2):
                    other.socket.shutdown(socket.SHUT_WR)
                    other.socket.settimeout(0.05)
                    other.wait_closed()
            except OSError:
                pass  # it was sent away, or its code waits for input that does not come
    assert run(client, number, "mine") == "42\n"
    host.do("pass")
    assert client.ask(HEALTH)["connections"] >= 1
    assert host.process.poll() is None


def test_requests_are_answered_in_between_each_other(client):
    """Each under its own id, while a console and its output go on."""
    number = open_console(client)
    client.send(INPUT, number, "for i in range(3000): print(i)\n\n")
    wanted = {client.request(HELLO), client.request(HISTORY), client.request(COMPLETE, "os.getp")}
    printed = b""
    prompts = 0
    while wanted or prompts < 2:
        kind, to, payload = client.frame()
        if kind == ANSWER:
            wanted.remove(to)
            assert "error" not in json.loads(payload)
        else:
            assert to == number
            printed += payload if kind == OUTPUT else b""
            prompts += kind == PROMPT
    assert printed == b"".join(b"%d\n" % i for i in range(3000))
