# SPDX-License-Identifier: BSD-2-Clause
"""What stacks say beside python-manhole's format: who has the GIL, many threads, source files that have
changed."""
import pytest

from agentlib import *

VERSION = target_version()


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
        text = client.stacks()
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
        assert "in <module>\n  wait()\n" in client.stacks() and REMARK not in client.stacks()
        # Neither is a change: it is the same file.
        path.chmod(0o755)
        os.link(path, tmp_path / "link")
        assert REMARK not in client.stacks()
        change(path)
        if change is replace:
            born = subprocess.run(["stat", "-c", "%W", path], capture_output=True, text=True, check=True)
            if int(born.stdout) == 0:
                pytest.skip("the file system does not say when a file came into being")
        text = client.stacks()
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
