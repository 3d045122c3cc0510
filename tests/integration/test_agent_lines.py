# SPDX-License-Identifier: BSD-2-Clause
"""What is typed means what it means to the interpreter's own prompt: code.InteractiveConsole is asked too."""
import json
import random
import re
import subprocess

from agentlib import *

# What was said about each line, and whether more of it is wanted.
REFERENCE = """
import code, contextlib, io, json, sys
console = code.InteractiveConsole({"f": print, "x": [3], "is_": 1})
for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        more = console.push(line)
    print(json.dumps([said.getvalue(), bool(more)]))
"""

LINES = """\
1+1
 1
	1
x = 1

# a comment
  # another
1 # a comment
if x: f(1)

if 0: f(1)
else: f(2)

for i in range(2): f(i)

def g(a, b=2): return a + b

g(1)
g(1)(2)
x is 1
x is 1; (
x is not 'a'; break
'\\d'
'\\d'; (
f('\\d', *
1if x else 2
0x1for x in (1, 2)
1(2)
'a'(2)
'a' (
None[1]
x[0](
[1, 2]['a']
(1, 2) [3]; continue
...(1)
assert (x, 'always')
assert (x, 'always'); return
return 1
break
f(*x)
f(**x)
*x
lambda: (yield)
f'{1!r:>5}'
f'{x is 1}'
f'{1 (2)}'
f'{'
'''
a
'''
"unterminated
(1,
2)
[
x = 1; f(x)
x.nothing
1/0
@property
def h(self): pass

class C: pass

C.__name__
with open('/dev/null') as n: f(1)

try: 1/0
except ZeroDivisionError: f('caught')

while False: pass

from __future__ import nothing
from __future__ import annotations
def k(a: undefined): pass

k.__annotations__
from __future__ import barry_as_FLUFL
1 <> 2
1 != 2
from __future__ import division
# -*- coding: nonsense -*-
'# -*- coding: nonsense -*-'
f('a' 'b')
x := 1
(y := 5)
print 1
exec 'a'
a = b = c
f(x for x in x)
f(x for x in x, 1)
del x
x
x: int = 5
x
global x
nonlocal x
import sys as s
\N{SNOWMAN} = 1
é = 1
é
"\N{SNOWMAN}"
a \\
+ 1
if 1:
  f(1)
  if 2:
    f(2)

  f(3)

""".split("\n")

WORDS = ["1", "2.5", "x", "f", "is", "not", "in", "if", "else", "for", "(", ")", "[", "]", ",", "+", "=", "==",
         ":", "'a'", "'\\d'", "None", "...", "lambda", "*", ".", "assert", "break", ";", "#", "0x1", "\\", "def g():",
         "pass", "yield", "await", "return", "import sys", "{", "}", "f''", "b'a'", "-", " ", " ", " "]


def random_lines(n):
    chance = random.Random(3)
    return ["".join(chance.choice(WORDS) for _ in range(chance.randint(1, 6))) for _ in range(n)]


def said_of(text):
    """Without the frames and the source, which newer prompts show, and the addresses of objects."""
    return [line for line in re.sub(r"0x[0-9a-f]{6,}", "0x", text).splitlines()
            if not line.startswith(("Traceback", "  File \"/", "  File \"<frozen", "    "))]


def test_lines_mean_what_they_mean_at_the_interpreters_prompt():
    lines = [line for some in ([line, "", ""] for line in random_lines(400)) for line in some]
    lines = LINES + ["", ""] + lines
    env = environment(PYTHONWARNINGS="default", PYTHON_COLORS="0")
    known = subprocess.run([PYTHON, "-c", REFERENCE], input=json.dumps(lines), env=env, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    with plain_host("locals={'f': print, 'x': [3], 'is_': 1}", env=env) as host, Plain(host.path).start() as client:
        for line, of_it in zip(lines, known):
            said, more = json.loads(of_it)
            client.send(line + "\n")
            while not (end := re.search(rb"(>>> |\.\.\. )$", client.buffer)):
                assert client.receive()
            got, client.buffer = client.buffer[: end.start()].decode(), b""
            assert (said_of(got), end.group() == b"... ") == (said_of(said), more), repr(line)
