# SPDX-License-Identifier: BSD-2-Clause
"""Variables in stacks."""
import pytest

from agentlib import *


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
        text = client.stacks("locals=yes")
        assert "\n    " not in client.stacks("locals=no")
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
        text = client.stacks("locals=yes")
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
