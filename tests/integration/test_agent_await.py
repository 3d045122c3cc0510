# SPDX-License-Identifier: BSD-2-Clause
"""`await` at the prompt, and in an `exec`: in the loop of the application."""
import json

import pytest

from agentlib import *

pytestmark = pytest.mark.skipif(target_version() < (3, 8), reason="before 3.8 await is for functions alone")

# Its loop ticks until its standard input ends.
APPLICATION = """
import asyncio, os, sys, threading, manhole
ticks = [0]
async def double(n):
    await asyncio.sleep(0.01)
    return 2 * n
async def forever():
    asyncio.get_running_loop().call_soon(os.write, 1, b"WAITING\\n")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        os.write(1, b"CANCELLED\\n")
        raise
async def stubborn():
    asyncio.get_running_loop().call_soon(os.write, 1, b"WAITING\\n")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            os.write(1, b"NO\\n")
async def count(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
class Guard:
    async def __aenter__(self):
        return "inside"
    async def __aexit__(self, *unused):
        os.write(1, b"LEFT\\n")
async def tick():
    while True:
        ticks[0] += 1
        await asyncio.sleep(0.01)
async def main():
    global loop_thread
    loop_thread = threading.get_ident()
    ticker = asyncio.ensure_future(tick())
    os.write(1, b"READY\\n")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ticker.cancel()
manhole.install(verbose=False, locals=globals(), daemon_connection=True)
asyncio.run(main())
os.write(1, b"BYE\\n")
"""


@pytest.fixture
def host():
    with Host("-c", APPLICATION) as host:
        yield host


@pytest.fixture
def console(host):
    with Plain(host.path) as console:
        yield console.start()


def run_lines(console, *lines):
    """Types a statement of several lines, and the empty one that ends it; what is printed."""
    for line in lines:
        assert console.run(line, b"... ") == ""
    return console.run("")


def loop_goes_on(console):
    """And has not come to its end, where it only waits for its last threads."""
    return console.run("import asyncio; n = ticks[0]; await asyncio.sleep(0.1); ticks[0] > n") == "True\n"


def test_await_shows_its_result_and_sets_the_underscore(host, console):
    assert console.run("await double(21)") == "42\n"
    assert console.run("_ + 1") == "43\n"
    assert console.run("x = await double(4); x + await double(1)") == "10\n"
    assert console.run("x") == "8\n"
    assert console.run("import builtins; hasattr(builtins, '_')") == "False\n"
    assert host.finish() == 0


def test_it_runs_in_the_thread_of_the_loop_which_goes_on(console):
    assert console.run("import threading, asyncio") == ""
    assert console.run("await double(1); threading.get_ident() == loop_thread") == "2\nTrue\n"
    assert console.run("before = ticks[0]; await asyncio.sleep(0.2); ticks[0] - before > 2") == "True\n"


def test_statements_of_several_lines(host, console):
    assert run_lines(console, "async for i in count(3):", "    i") == "0\n1\n2\n"
    assert run_lines(console, "async with Guard() as name:", "    print(name)") == "inside\n"
    host.wait_out("^LEFT$")
    assert run_lines(console, "if True:", "    await double(3)") == "6\n"
    assert console.run("[i async for i in count(4) if await double(i) > 2]") == "[2, 3]\n"


def test_what_it_prints_goes_to_the_client_only(host, console):
    assert console.run("print('for me', await double(1))") == "for me 2\n"
    assert console.run("x = sys.stderr.write('error '); await double(1)") == "error 2\n"
    assert [line for line in host.out if "for me" in line] == []


def test_an_exception_is_shown_and_harms_nothing(host, console):
    text = console.run("await double(None)")
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'File "<console>", line 1, in <module>' in text
    assert text.splitlines()[-1].startswith("TypeError: ")
    assert console.run("await double(1)") == "2\n"
    assert host.finish() == 0
    assert host.err == []


def test_a_syntax_error_is_one(console):
    assert console.run("await = 1").splitlines()[-1].startswith("SyntaxError: ")
    assert console.run("def f(): await double(1)", b">>> ").splitlines()[-1].startswith("SyntaxError: ")
    assert console.run("1 +* 2").splitlines()[-1].startswith("SyntaxError: ")


@pytest.mark.parametrize("leave", ["exit()", "raise SystemExit"])
def test_exit_in_a_coroutine_ends_the_session_only(host, console, leave):
    console.send(f"await double(1); {leave}\n")
    assert console.wait_closed() == b"2\n"
    with Plain(host.path) as other:
        assert loop_goes_on(other.start())


def test_keyboardinterrupt_in_a_coroutine_does_not_reach_the_loop(host, console):
    assert console.run("await double(1); raise KeyboardInterrupt").splitlines()[-1] == "KeyboardInterrupt"
    assert loop_goes_on(console)


def test_interrupt_cancels_it(host, console):
    console.send("await forever()\n")
    host.wait_out("^WAITING$")
    console.send(b"\x03")
    assert console.until(b">>> ").splitlines()[-2] == b"KeyboardInterrupt"
    host.wait_out("^CANCELLED$")
    assert console.run("await double(1)") == "2\n"


def test_interrupt_stops_code_that_blocks_the_loop(host, console):
    run_lines(console, "def spin():", "    print('spins')", "    while True: pass")
    console.send("await double(0); spin()\n")
    console.until(b"spins\n")
    console.send(b"\x03")
    assert console.until(b">>> ").splitlines()[-2] == b"KeyboardInterrupt"
    assert console.run("await double(1)") == "2\n"


def test_a_second_interrupt_leaves_what_does_not_end(host, console):
    console.send("await stubborn()\n")
    host.wait_out("^WAITING$")
    console.send(b"\x03")
    host.wait_out("^NO$")
    console.send(b"\x03")
    assert b"KeyboardInterrupt: " in console.until(b">>> ")
    assert console.run("await double(1)") == "2\n"


def test_disconnect_cancels_it(host, console):
    console.send("await forever()\n")
    host.wait_out("^WAITING$")
    console.close()
    host.wait_out("^CANCELLED$")


def test_a_coroutine_cannot_read(console):
    assert console.run("await double(1); input()").splitlines()[-1].startswith("RuntimeError: ")


def test_a_client_that_does_not_read_does_not_hold_up_the_loop(host, client):
    """Nobody reads what a coroutine prints: the loop ticks on, and the count of what was lost is told."""
    number = client.request(OPEN, "stacks=no\nbanner=no")
    client.until(PROMPT, number)
    client.send(INPUT, number, "await double(1); print('x' * 4_000_000)\n")
    with Framed(host.path) as other:
        other.hello()
        other.exec("import time; before = ticks[0]\nwhile ticks[0] < before + 20: time.sleep(0.01)")
    dropped = received = 0
    while (frame := client.frame())[0] != PROMPT:
        if frame[0] == DROPPED:
            dropped += json.loads(frame[2])["bytes"]
        elif frame[0] == OUTPUT:
            received += frame[2].count(b"x")
    assert dropped > 0 and dropped + received >= 4_000_000


def test_exec_awaits(client):
    end, out, err = client.exec("a = await double(2)\nprint('printed')\nasync for i in count(2): a += i\na")
    assert (end["result"], out, err, end["status"]) == ("5", "printed\n", "", 0)
    assert client.exec("await double(5)")[0]["result"] == "10"
    end, out, err = client.exec("await double(None)")
    assert (end["status"], end["exception"]["type"]) == (1, "TypeError")
    assert client.exec("await double(1)\nraise SystemExit(7)")[0]["status"] == 7


def test_the_task_is_known_by_its_client_and_its_frames(host, client):
    number = client.request(EXEC, "await forever()")
    host.wait_out("^WAITING$")
    with Framed(host.path) as other:
        other.hello()
        tasks = {task["name"]: task for task in other.ask(TASKS)["tasks"]}
    functions = [frame["function"] for frame in tasks[f"Manhole < PID:{os.getpid()}"]["stack"]]
    assert functions[:2] == ["<module>", "forever"]
    client.send(INTERRUPT, number)
    client.exec_end(number)


def test_exec_is_interrupted(host, client):
    number = client.request(EXEC, "await forever()")
    host.wait_out("^WAITING$")
    client.send(INTERRUPT, number)
    assert client.exec_end(number)[0]["exception"]["type"] == "KeyboardInterrupt"
    host.wait_out("^CANCELLED$")


@pytest.mark.skipif(not target_has("uvloop"), reason="the application's interpreter has no uvloop")
@pytest.mark.parametrize("run", ["loop.run_until_complete(main())", "asyncio.run(main())"])
def test_uvloop(run):
    code = (
        "import asyncio, uvloop, os, manhole\n"
        "async def main(): os.write(1, b'READY\\n'); await asyncio.Event().wait()\n"
        "manhole.install(verbose=False, daemon_connection=True); uvloop.install()\n"
        f"loop = asyncio.new_event_loop() if 'loop' in {run!r} else None; {run}\n"
    )
    with Host("-c", code) as host, Plain(host.path) as console:
        console.start()
        assert console.run("import asyncio; await asyncio.sleep(0); type(asyncio.get_running_loop()).__module__") == "'uvloop'\n"
        console.send("await asyncio.sleep(0); print('go'); await asyncio.Event().wait()\n")
        console.until(b"go\n")
        console.send(b"\x03")
        assert console.until(b">>> ").splitlines()[-2] == b"KeyboardInterrupt"


def test_a_loop_that_ends_ends_what_waits(host, client):
    number = client.request(EXEC, "await forever()")
    host.wait_out("^WAITING$")
    host.process.stdin.close()
    host.wait_out("^CANCELLED$")
    host.wait_out("^BYE$")
    assert host.wait() == 0


def test_a_loop_that_is_stopped_is_left_at_the_interrupt():
    with plain_host("verbose=False") as host, Framed(host.path) as client:
        client.hello()
        host.do(
            "import asyncio, threading\n"
            "started, stopped = threading.Event(), threading.Event()\n"
            "loop = asyncio.new_event_loop(); loop.call_soon(started.set)\n"
            "def work():\n"
            "    loop.run_forever(); stopped.set()\n"
            "threading.Thread(target=work).start(); started.wait()"
        )
        code = (
            "import asyncio\n"
            "await asyncio.sleep(0); print('in'); asyncio.get_running_loop().stop(); x = await asyncio.sleep(99)"
        )
        number = client.request(EXEC, code)
        assert client.frame()[0] == OUTPUT
        host.do("stopped.wait()")
        client.send(INTERRUPT, number)
        assert client.exec_end(number)[0]["exception"]["type"] == "KeyboardInterrupt"


def test_a_console_that_holds_up_the_loop_itself_says_so():
    code = (
        "import asyncio, manhole, os\n"
        "handle = manhole.install(verbose=False, oneshot_on='USR1')\n"
        "async def main(): os.write(1, b'READY\\n'); handle.handle_oneshot(None, None)\n"
        "asyncio.run(main()); os.write(1, b'BYE\\n')"
    )
    with Host("-c", code) as host:
        wait_for(lambda: is_listening(host.path), "the socket listens")
        with Plain(host.path).start() as console:
            assert console.run("import asyncio; await asyncio.sleep(0)").splitlines()[-1].startswith("RuntimeError: ")
            assert console.run("1 + 1") == "2\n"
        host.wait_out("^BYE$")


@pytest.mark.parametrize("code", ["pass", "import asyncio", "import asyncio; loop = asyncio.new_event_loop()"])
def test_without_a_running_loop_it_is_a_syntax_error(code):
    with plain_host("verbose=False") as host, Plain(host.path) as console:
        host.do(code)
        console.start()
        assert console.run("await f()").splitlines()[-1].startswith("SyntaxError: ")
        with Framed(host.path) as client:
            client.hello()
            assert client.exec("await f()")[0]["exception"]["type"] == "SyntaxError"
            loaded = client.exec("import sys; 'asyncio' in sys.modules")[0]["result"]
        assert loaded == str("asyncio" in code)


@pytest.mark.parametrize(
    "run",
    [
        "asyncio.run(main())",
        "loop.run_until_complete(main())",
        "loop.create_task(main()); loop.run_forever()",
        "Sub().run_forever()",
    ],
)
def test_a_loop_in_another_thread_is_found(run):
    with plain_host("verbose=False") as host:
        host.do(
            "import asyncio, threading\n"
            "started = threading.Event()\n"
            "class Sub(asyncio.SelectorEventLoop):\n"
            "    def run_forever(self):\n"
            "        self.call_soon(started.set); super().run_forever()\n"
            "async def main():\n"
            "    started.set(); await asyncio.Event().wait()\n"
            "def work():\n"
            "    loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)\n"
            f"    {run}\n"
            "threading.Thread(target=work, daemon=True).start(); started.wait()\n"
        )
        with Plain(host.path) as console:
            console.start()
            assert console.run("import asyncio; await asyncio.sleep(0, 'slept')") == "'slept'\n"
