# SPDX-License-Identifier: BSD-2-Clause
"""What stacks say beside python-manhole's format: who has the GIL, source files that have
changed, variables, tasks of asyncio and greenlets, and how the request `tasks` has them."""
import pytest

from agentlib import *

VERSION = target_version()


def framed(host):
    client = Framed(host.path)
    client.hello()
    return client


def stacks(client, options=""):
    answer = client.ask(STACKS, options)
    assert answer["gil"]
    return answer["text"]


tells_of_gil = pytest.mark.skipif(VERSION < (3, 7), reason="3.6 keeps its account of the GIL apart")


def gil_by_thread(answer):
    return {thread["native_id"]: thread["gil"] for thread in answer["threads"]}


@tells_of_gil
def test_who_has_the_gil_is_told_without_it():
    with Host(HOSTS / "stuck.py", "start_sleepers(2); hold_gil()", ready="HOLDS") as host, framed(host) as client:
        answer = client.ask(STACKS)
        gil = gil_by_thread(answer)
        assert [tid for tid, word in gil.items() if word == "has"] == [host.pid]
        assert re.search(rf'^Thread {host.pid} ".*": sleeping in read.*, has the GIL$', answer["text"], re.M)
        waiter = host.wait_thread("Manhole stacks")
        assert gil_by_thread(client.ask(STACKS, "gil=no"))[waiter] == "waits"
        assert re.search(rf'^Thread {waiter} "Manhole stacks": .*, waits for the GIL$', answer["text"], re.M)
        # The sleepers wait for something else.
        assert list(gil.values()).count(None) >= 2


@tells_of_gil
def test_who_has_the_gil_is_told_without_stacks_too():
    env = environment(MANHOLE_DUMP_LIMIT="1M")
    with Host(HOSTS / "stuck.py", "hold_gil()", ready="HOLDS", env=env) as host, framed(host) as client:
        answer = client.ask(STACKS)
        assert "File:" not in answer["text"] and gil_by_thread(answer)[host.pid] == "has"


@tells_of_gil
def test_who_has_the_gil_is_told_with_it():
    code = (
        "def spin():\n    while True: pass\n"
        "for i in range(2): threading.Thread(target=spin, name=f'spin-{i}', daemon=True).start()\n"
        "os.write(1, b'GO\\n')"
    )
    with Host(HOSTS / "stuck.py", code, ready="GO") as host, framed(host) as client:
        # Between two threads nobody has it; and it may come too late to us.
        def told():
            answer = client.ask(STACKS)
            if not answer["gil"]:
                return False
            text = answer["text"]
            has = re.findall(r'^Thread \d+ "(.*)": .*, has the GIL$', text, re.M)
            waits = re.findall(r'^Thread \d+ "(.*)": sleeping in futex .*, waits for the GIL$', text, re.M)
            assert len(has) <= 1 and {name[:5] for name in has + waits} <= {"spin-"}
            return has and len(waits) == 1

        wait_for(told, "one has it, and the others wait")


def test_every_one_of_many_threads_is_shown():
    code = "start_sleepers(230, 'many'); os.write(1, b'GO\\n')"
    with Host(HOSTS / "stuck.py", code, ready="GO") as host, framed(host) as client:
        text = stacks(client)
        shown = re.findall(rf'^#+ ProcessID={host.pid}, ThreadID=\d+ #+\nThread (\d+) "many": sleeping in futex', text, re.M)
        assert len(set(shown)) == 230 and set(map(int, shown)) < set(host.threads())
        assert text.count("ThreadID=") == 231


@pytest.mark.parametrize("name", ["plain", "a) S (b", "back\\\\slash", "line\\nbreak", "fifteen bytes)("])
def test_kernels_name_of_a_thread_is_told_as_it_is(name):
    """As a C library may have set it."""
    code = f"c.prctl(15, {name!r}.encode(), 0, 0, 0); os.write(1, b'GO\\n')"
    with Host(HOSTS / "stuck.py", code, ready="GO") as host, framed(host) as client:
        host.wait_blocked()
        main = next(t for t in client.ask(STACKS)["threads"] if t["native_id"] == host.pid)
        assert (main["name"], main["state"], main["syscall"]) == (name, "S", "read")


REMARK = "  [source file changed after the process started]"

APPLICATION = """
import ctypes, os, sys
import manhole
manhole.install(verbose=False)
def wait():
    os.write(1, b'READY\\n')
    sys.stdin.readline()
    buffer = ctypes.create_string_buffer(1)
    sys.setswitchinterval(1000)
    ctypes.PyDLL(None).write(1, b'HOLDS\\n', 6)
    ctypes.PyDLL(None).read(0, buffer, 1)
    sys.setswitchinterval(0.005)
wait()
"""


def rewrite(path):
    path.write_text("# Another line.\n" + path.read_text())


def replace(path):
    """As an upgrade does that keeps the times of its files."""
    new = path.with_suffix(".new")
    new.write_text("# Another line.\n" + path.read_text())
    os.utime(new, (1_000_000_000, 1_000_000_000))
    new.rename(path)


@pytest.mark.parametrize("change", [rewrite, replace])
def test_source_that_has_changed_is_not_shown(tmp_path, change):
    path = tmp_path / "application.py"
    path.write_text(APPLICATION)
    with Host(path) as host, framed(host) as client:
        assert "in <module>\n  wait()\n" in stacks(client) and REMARK not in stacks(client)
        # Neither is a change: it is the same file.
        path.chmod(0o755)
        os.link(path, tmp_path / "link")
        assert REMARK not in stacks(client)
        change(path)
        if change is replace:
            born = subprocess.run(["stat", "-c", "%W", path], capture_output=True, text=True, check=True)
            if int(born.stdout) == 0:
                pytest.skip("the file system does not say when a file came into being")
        text = stacks(client)
        assert f"in <module>\n{REMARK}\n" in text and f"in wait\n{REMARK}\n" in text
        assert "  wait()" not in text
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        host.wait_out("^HOLDS$")
        answer = client.ask(STACKS)
        assert not answer["gil"] and f"in <module>\n{REMARK}\n" in answer["text"]


def test_source_that_changed_before_a_fork_is_not_shown_in_the_child(tmp_path):
    path = tmp_path / "application.py"
    path.write_text(
        "import os, sys, time, manhole\nmanhole.install(verbose=False, reinstall_delay=0)\n"
        "os.write(1, b'READY\\n')\nsys.stdin.readline()\n"
        "if os.fork() == 0:\n    os.write(1, b'PID %d\\n' % os.getpid())\nsys.stdin.readline()\n"
    )
    with Host(path) as host:
        rewrite(path)
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        pid = int(host.wait_out("^PID").split()[1])
        child = f"/tmp/manhole-{pid}"
        try:
            wait_for(lambda: is_listening(child), "the child listens")
            with Plain(child) as client:
                assert REMARK.encode() in client.until(BANNER_END)
        finally:
            os.kill(pid, 9)
            wait_for(lambda: not is_listening(child), "the child is gone")
            os.unlink(child)


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
        text = stacks(client)
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
        text = stacks(client)
        assert text.count("######### Task=") == 200
        assert f"({answer['n_all'] - 200} asyncio tasks more.)\n" in text


def test_asyncio_is_not_imported_for_it():
    with plain_host() as host, framed(host) as client:
        assert client.ask(TASKS) == {"tasks": [], "greenlets": [], "text": ""}
        assert "Task=" not in stacks(client)
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
        text = stacks(client)
        for g in answer["greenlets"]:
            block = text.partition(f"\n######### Greenlet={g['id']} #########\n")[2].partition("\n\n")[0]
            lines = block.splitlines()
            assert lines[0] == f"Greenlet {g['id']}: {g['type']}"
            assert [re.sub(r"^File: .*, in ", "", line) for line in lines[1:3]] == ["outer", "inner"]


@needs_greenlet
def test_greenlets_are_left_out_of_a_dump_where_looking_takes_long():
    with plain_host() as host, framed(host) as client:
        host.do(GREENLETS + "many = [[] for _ in range(2_000_000)]")
        text = stacks(client)
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


LOCALS = """
import collections, threading
class Trap:
    def abort(self, *args):
        os.abort()
    __repr__ = __str__ = __getattribute__ = __len__ = __iter__ = __hash__ = __eq__ = __bool__ = abort
class Meta(type):
    __repr__ = __getattribute__ = lambda *args: os.abort()
class Hostile(metaclass=Meta):
    pass
class Text(str):
    __repr__ = __len__ = __str__ = lambda *args: os.abort()
def nest(n):
    return [nest(n - 1)] if n else []
def show():
    number, small, real, nothing, truth = 10 ** 100_000, -7, 0.5, None, True
    text, data = 'a\\n' * 1_000_000, bytearray(b'\\0' * 1000)
    pair, one, empty, many = (1, 'x'), (1,), set(), list(range(1000))
    table, ordered = {'k': [1]}, collections.OrderedDict(a=1)
    deep = nest(500)
    itself = []; itself.append(itself)
    trap, in_list, derived = Trap(), [object.__new__(Trap)], Text('secret')
    hostile, cls, plain = type.__call__(Hostile), Hostile, int
    big = {i: 'v' * 1000 for i in range(1000)}
    os.write(1, b'SHOWN\\n')
    threading.Event().wait()
thread = threading.Thread(target=show, daemon=True)
thread.start()
"""


@pytest.fixture(scope="module")
def variables():
    """Name: value, as a dump has them of LOCALS' show()."""
    with plain_host() as host, framed(host) as client:
        host.do(LOCALS)
        host.wait_out("^SHOWN$")
        text = stacks(client, "locals=yes")
        assert "\n    " not in stacks(client, "locals=no")
    block = text.partition(" in show\n")[2].partition("File: ")[0]
    return dict(re.findall(r"^    (\w+) = (.*)$", block, re.M)), text


@pytest.mark.parametrize(
    "name, value",
    [
        ("number", r"<int of 332193 bits>"),
        ("small", "-7"),
        ("real", r"0\.5"),
        ("nothing", "None"),
        ("truth", "True"),
        ("text", r"'(a\\n){50}'\.\.\. \(2000000\)"),
        ("data", r"bytearray\(b'(\\x00){70,100}(\.\.\.|'\)\.\.\. \(1000\))"),
        ("pair", r"\(1, 'x'\)"),
        ("one", r"\(1,\)"),
        ("empty", r"set\(\)"),
        ("many", r"\[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. \(1000\)\]"),
        ("table", r"\{'k': \[1\]\}"),
        ("ordered", r"<collections\.OrderedDict object at 0x[0-9a-f]+ with 1 items>"),
        ("deep", r"\[\[\[\.\.\.\]\]\]"),
        ("itself", r"\[\[\[\.\.\.\]\]\]"),
        ("trap", r"<Trap object at 0x[0-9a-f]+>"),
        ("in_list", r"\[<Trap object at 0x[0-9a-f]+>\]"),
        ("derived", r"<Text object at 0x[0-9a-f]+>"),
        ("hostile", r"<Hostile object at 0x[0-9a-f]+>"),
        ("cls", r"<class 'Hostile'>"),
        ("plain", r"<class 'int'>"),
        ("big", r"\{0: 'v{100}'\.\.\. \(1000\), 1: .{150,190}\.\.\..*"),
    ],
)
def test_locals_are_bounded_and_run_no_code(variables, name, value):
    values, text = variables
    # Classes made in a string say no module, or the name of one.
    assert re.fullmatch(value, re.sub(r"(<|')(builtins|__main__)\.", r"\1", values[name]))
    assert len(values[name]) < 400


def test_locals_of_a_module_are_its_data():
    code = "WIDTH = 80\n__hidden = 1\nos.write(1, b'GO\\n')"
    with Host(HOSTS / "stuck.py", code, ready="GO") as host, framed(host) as client:
        text = stacks(client, "locals=yes")
    assert "\n    WIDTH = 80\n" in text
    assert "\n    os = " not in text and "\n    dead_lock = " not in text and "__hidden" not in text


def test_locals_are_shown_by_the_function_too():
    with plain_host() as host, Plain(host.path) as client:
        client.start()
        client.run("def f(secret): dump_stacktraces(locals=True)\n", prompt=b"... ")
        client.until(b">>> ")
        assert "\n    secret = 42\n" in client.run("f(42)")
        client.run("def f(secret): dump_stacktraces()\n", prompt=b"... ")
        client.until(b">>> ")
        assert "secret" not in client.run("f(42)")
        assert "TypeError" in client.run("dump_stacktraces(local=True)")


def test_locals_of_a_large_process_end_somewhere():
    code = (
        "def rest():\n    n = ['v' * 100] * 10\n    threading.Event().wait()\n"
        "def go(n):\n    text = 'x' * 100\n    return go(n - 1) if n else rest()\n"
        "for i in range(30): threading.Thread(target=go, args=(100,), daemon=True).start()\n"
        "os.write(1, b'GO\\n')"
    )
    with Host(HOSTS / "stuck.py", code, ready="GO") as host, framed(host) as client:
        def waiting():
            text = client.ask(STACKS)["text"]
            return text.count(" in rest\n") == 30

        wait_for(waiting, "all threads wait")
        answer = client.ask(STACKS, "locals=yes")
        assert answer["gil"] and 1500 < answer["text"].count("    text = 'xxx") < 3030
        assert sum(len(line) for line in answer["text"].splitlines() if line.startswith("    ")) < 300_000
