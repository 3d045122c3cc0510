# SPDX-License-Identifier: BSD-2-Clause
"""What the documents and the build say of the source is so."""
import os
import pathlib
import re

SOURCE = pathlib.Path(os.environ.get("MANHOLED_SRCDIR", pathlib.Path(__file__).parents[2]))
AGENT = SOURCE / "agent"
# What it says of a group of files that must not need the interpreter, not even to be set up.
NO_PYTHON = re.compile(r"No Python API(?! once)")


def agent_table():
    """Rows of docs/AGENT.md: the files of each, and what it says of them."""
    text = (SOURCE / "docs" / "AGENT.md").read_text()
    table = text.partition("| file | what |\n|---|---|\n")[2].partition("\n\n")[0]
    for row in table.splitlines():
        files, what = re.fullmatch(r"\| (.*?) \| (.*) \|", row).groups()
        yield re.findall(r"`([^`]+)`", files), what


def includes(name):
    """The agent's headers that a file of the agent includes, and whether Python's is among the rest."""
    text = "".join(path.read_text() for path in AGENT.glob(f"{name}.[ch]"))
    found = set(re.findall(r'^#include "agent/(\w+)\.h"', text, re.MULTILINE))
    return found - {name}, "#include <Python.h>" in text


def headers_behind(name):
    """All headers of the agent that a file sees."""
    seen, todo = set(), {name}
    while todo:
        header = todo.pop()
        seen.add(header)
        text = "".join(path.read_text() for path in AGENT.glob(f"{header}.{'[ch]' if header == name else 'h'}"))
        todo |= set(re.findall(r'^#include "agent/(\w+)\.h"', text, re.MULTILINE)) - seen
    return seen - {name}


def stems():
    return {path.stem for path in AGENT.glob("*.[ch]")}


def test_each_file_of_the_agent_is_in_its_table_once():
    named = [name for files, _ in agent_table() for name in files]
    assert len(named) == len(set(named))
    assert {name for name in named if not name.endswith(".py")} == stems()
    assert all((AGENT / "manhole" / name).exists() for name in named if name.endswith(".py"))


def test_each_file_of_the_agent_is_built_or_shipped():
    listed = set(re.findall(r"agent/\w+\.[ch]\b", (AGENT / "Makemodule.am").read_text()))
    assert listed == {f"agent/{path.name}" for path in AGENT.glob("*.[ch]")}


def test_includes_of_the_agent_point_one_way():
    left = {name: includes(name)[0] for name in stems()}
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def test_files_of_the_agent_that_do_without_python_see_nothing_of_it():
    native = {name for files, what in agent_table() if NO_PYTHON.search(what) for name in files}
    assert {"io", "connection", "session", "turn"} <= native
    for name in native:
        behind = {name} | headers_behind(name)
        with_python = {h for h in behind if "#include <Python.h>" in (AGENT / f"{h}.h").read_text()}
        assert with_python == set() and not includes(name)[1], f"{name} sees Python by {sorted(with_python)}"


def test_each_test_is_run():
    makefiles = "".join(path.read_text() for path in (SOURCE / "tests").glob("*.am"))
    tests = [
        *(SOURCE / "tests").glob("*/test_*.py"),
        *(SOURCE / "tests" / "unit").glob("test-*.c"),
    ]
    assert tests
    assert [p.name for p in tests if str(p.relative_to(SOURCE)) not in makefiles] == []
