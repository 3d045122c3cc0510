# SPDX-License-Identifier: BSD-2-Clause
"""Tasks of asyncio and greenlets: in stacks, and as the request `tasks` has them."""
import os

import pytest

from agentlib import *

VERSION = target_version()


def tasks_host(n_extra=0):
    if VERSION < (3, 8):
        pytest.skip("tasks have names since 3.8")
    return Host(HOSTS / "tasks.py", n_extra)


@pytest.fixture(scope="module")
def tasks():
    """Name: (task, names of those it waits for)."""
    with tasks_host() as host, framed(host) as client:
        answer = client.ask(TASKS)
    names = {task["id"]: task["name"] for task in answer["tasks"]}
    assert len(names) == len(answer["tasks"]) and "truncated" not in answer
    for task in answer["tasks"]:
        for other in answer["tasks"]:
            assert (other["id"] in task["waits_for"]) == (task["id"] in other["awaited_by"])
    by_name = {t["name"]: (t, {names[i] for i in t["waits_for"]}) for t in answer["tasks"]}
    return by_name, answer["text"]


@pytest.mark.parametrize(
    "waiter, awaited",
    [
        ("gather", {"gathered-1", "gathered-2"}),
        ("wait", {"waited-1", "waited-2"}),
        ("wait_for", {"shielded"}),
        ("Task-1", {'quote" and\nnewline'}),
        ("finish", set()),
        pytest.param("group", {"grouped-1", "grouped-2"}, marks=pytest.mark.skipif(
            VERSION < (3, 11), reason="TaskGroup is there since 3.11")),
    ],
)
def test_tasks_say_whom_they_wait_for(tasks, waiter, awaited):
    by_name, text = tasks
    assert by_name[waiter][0]["state"] == "waiting" and by_name[waiter][1] == awaited


def test_stack_of_a_task_leads_through_what_it_awaits(tasks):
    by_name, text = tasks

    def functions(name):
        return [frame["function"] for frame in by_name[name][0]["stack"]]

    assert functions("gathered-1") == ["sleep_long", "sleep"]
    # An asynchronous generator, and an object with an __await__ of its own.
    assert functions("gathered-2") == ["iterate", "agenerate", "sleep_long", "sleep"]
    assert functions("waited-1") == ["await_object", "sleep_long", "sleep"]
    frame = by_name["waited-1"][0]["stack"][0]
    assert frame["file"] == str(HOSTS / "tasks.py")
    assert (HOSTS / "tasks.py").read_text().splitlines()[frame["line"] - 1] == "    await Awaitable()"


def test_tree_of_tasks_is_indented_under_who_waits(tasks):
    by_name, text = tasks
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith('"gather": waiting in gather ('))
    children = {line.split('"')[1] for line in lines[at + 1 : at + 3]}
    assert children == {"gathered-1", "gathered-2"}
    assert all(line.startswith('  "') for line in lines[at + 1 : at + 3])
    assert len(lines) == len(by_name)


def test_tasks_know_their_loops_thread():
    with tasks_host() as host, framed(host) as client:
        main = next(t for t in client.ask(STACKS)["threads"] if t["native_id"] == host.pid)
        assert {task["thread"] for task in client.ask(TASKS)["tasks"]} == {main["id"]}


def test_tasks_follow_the_threads_in_a_dump():
    with tasks_host() as host, framed(host) as client:
        text = client.stacks()
    threads, _, rest = text.partition("\n######### Task=")
    assert "ThreadID=" in threads and "ThreadID=" not in rest
    assert rest.endswith("\n" + "#" * 45 + "\n\n\n")
    block = next(b for b in text.split("\n\n") if b.startswith('######### Task="gather" #########'))
    lines = block.splitlines()
    assert re.fullmatch(r'Task "gather": waiting, waits for "gathered-\d", "gathered-\d"', lines[1])
    assert re.fullmatch(r'File: ".*tasks\.py", line \d+, in gather', lines[2])
    assert lines[3].startswith("  await asyncio.gather(")
    # What is not for printing is escaped.
    assert "######### Task='quote\" and\\nnewline' #########" in text


def test_thousands_of_tasks_are_cut_and_counted():
    with tasks_host(10_500) as host, framed(host) as client:
        answer = client.ask(TASKS)
        assert answer["truncated"] and 10_500 < answer["n_all"] < 10_600
        text = client.stacks()
        assert text.count("######### Task=") == 200
        assert f"({answer['n_all'] - 200} asyncio tasks more.)\n" in text


def test_asyncio_is_not_imported_for_it():
    with plain_host() as host, framed(host) as client:
        assert client.ask(TASKS) == {"tasks": [], "greenlets": [], "text": ""}
        assert "Task=" not in client.stacks()
        host.do("import sys; os.write(1, b'LOADED %d\\n' % ('asyncio' in sys.modules))")
        assert host.wait_out("^LOADED") == "LOADED 0"


@pytest.mark.skipif(VERSION < (3, 7), reason="3.6 keeps its tasks elsewhere, where they are not looked for")
def test_tasks_run_no_code_of_the_application():
    code = """
import asyncio
armed = False
def trap(self, *args):
    if armed:
        os.abort()
class Mine(asyncio.Task):
    def __getattribute__(self, name):
        return trap(self) or super().__getattribute__(name)
    def get_name(self):
        return trap(self) or super().get_name()
    def __hash__(self):
        return trap(self) or super().__hash__()
    __repr__ = __eq__ = trap
class Odd:
    __getattr__ = __repr__ = trap
    def __await__(self):
        return self
    def __iter__(self):
        return self
    def __next__(self):
        return None
async def sleep():
    await Odd()
loop = asyncio.new_event_loop()
mine, usual = Mine(sleep(), loop=loop), asyncio.Task(sleep(), loop=loop)
loop.call_soon(loop.stop)
loop.run_forever()
armed = True
"""
    with plain_host() as host, framed(host) as client:
        host.do(code)
        tasks = client.ask(TASKS)["tasks"]
        assert len(tasks) == 2
        assert {frame["function"] for task in tasks for frame in task["stack"]} == {"sleep"}


needs_greenlet = pytest.mark.skipif(not target_has("greenlet"), reason="the interpreter has no greenlet")


GREENLETS = """
import greenlet
def inner(): greenlet.getcurrent().parent.switch()
def outer(): inner()
class Odd(greenlet.greenlet):
    gr_frame = property(lambda self: os.abort())
    __repr__ = __bool__ = __hash__ = __eq__ = lambda *args: os.abort()
kept = [greenlet.greenlet(outer), Odd(outer)]
for g in kept: g.switch()
kept += [greenlet.greenlet(outer)]
"""


@needs_greenlet
def test_greenlets_are_shown_where_they_wait():
    with plain_host() as host, framed(host) as client:
        host.do(GREENLETS)
        answer = client.ask(TASKS)
        # One that has not begun has no stack.
        assert [[frame["function"] for frame in g["stack"]] for g in answer["greenlets"]] == [
            ["outer", "inner"], ["outer", "inner"]]
        assert {g["type"].rpartition(".")[2] for g in answer["greenlets"]} == {"greenlet", "Odd"}
        assert answer["text"].count(": in inner (") == 2
        text = client.stacks()
        for g in answer["greenlets"]:
            block = text.partition(f"\n######### Greenlet={g['id']} #########\n")[2].partition("\n\n")[0]
            lines = block.splitlines()
            assert lines[0] == f"Greenlet {g['id']}: {g['type']}"
            assert [re.sub(r"^File: .*, in ", "", line) for line in lines[1:3]] == ["outer", "inner"]


@needs_greenlet
@pytest.mark.skipif(os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"), reason="malloc() counts no blocks")
def test_greenlets_are_left_out_of_a_dump_where_looking_takes_long():
    with plain_host() as host, framed(host) as client:
        host.do(GREENLETS + "many = [[] for _ in range(2_000_000)]")
        text = client.stacks()
        assert "######### Greenlet=" not in text and "(Greenlets are not looked for" in text
        assert len(client.ask(TASKS)["greenlets"]) == 2


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_of_a_library_are_shown(library):
    if not target_has(library):
        pytest.skip(f"the interpreter has no {library}")
    with Host(HOSTS / "green_loop.py", library, "before") as host, framed(host) as client:
        def shown():
            return [g for g in client.ask(TASKS)["greenlets"] if g["stack"][0]["file"].endswith("green_loop.py")]

        # While the hub runs, the application's own greenlet waits in it.
        greenlet = wait_for(shown, "the main greenlet waits")[0]
        assert greenlet["stack"][-1]["function"] == "switch" or library in greenlet["stack"][-1]["file"]
        host.wait_more_out(5)


def test_greenlet_is_not_imported_for_it():
    with plain_host() as host, framed(host) as client:
        assert client.ask(TASKS)["greenlets"] == []
        host.do("import sys; os.write(1, b'LOADED %d\\n' % ('greenlet' in sys.modules))")
        assert host.wait_out("^LOADED") == "LOADED 0"


def test_asking_leaves_nothing():
    def blocks(client):
        return int(client.exec("import gc, sys; gc.collect(); sys.getallocatedblocks()")[0]["result"])

    def ask(n):
        for _ in range(n):
            client.ask(STACKS, "locals=yes")
            client.ask(TASKS)

    def growth(client):
        before = blocks(client)
        ask(200)
        return blocks(client) - before

    with tasks_host(20) as host, framed(host) as client:
        # What is kept once comes with the first of them. One for each question would be 400, each time.
        assert min(growth(client) for _ in range(4)) < 200


def test_question_is_answered_while_the_gil_is_held():
    with Host(HOSTS / "stuck.py", "hold_gil()", ready="HOLDS") as host, framed(host) as client:
        begun = time.monotonic()
        assert client.ask(TASKS)["error"] == "busy-interpreter"
        assert 0.29 < time.monotonic() - begun < 1.5
        # The thread that waits for the GIL serves the next question too.
        assert client.ask(TASKS)["error"] == "busy-interpreter"
        assert host.thread_names().count("Manhole asks") == 1
        first, second = client.request(TASKS), client.request(TASKS)
        answers = dict(client.frame()[1:] for _ in range(2))
        assert json.loads(answers[second]) == {"error": "busy"}
        assert json.loads(answers[first])["error"] == "busy-interpreter"
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        host.wait_out("^READ ")
        wait_for(lambda: "Manhole asks" not in host.thread_names(), "the thread that waited ends")
        assert client.ask(TASKS)["tasks"] == []
