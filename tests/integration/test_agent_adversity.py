# SPDX-License-Identifier: BSD-2-Clause
"""Stacks and a console where nothing else works any more."""
import json
import os
import pathlib
import subprocess

import pytest

from agentlib import *

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and chroot need root")


def target_value(expression):
    code = f"import json, os, sys; print(json.dumps({expression}))"
    return json.loads(subprocess.run([PYTHON, "-c", code], capture_output=True, check=True).stdout)


def unshared_host(*arguments, **kwargs):
    """An application in a mount namespace of its own; the same process."""
    return Host("-m", "--propagation", "private", PYTHON, HOSTS / "plain.py", *arguments,
                python="unshare", **kwargs)


def libc(call):
    return f"import ctypes; assert ctypes.CDLL(None).{call} == 0"


def check_console(host):
    with Plain(host.path) as client:
        text = client.until(BANNER_END)
        assert b"plain.py\", line" in text and b"in <module>" in text
        client.until(b">>> ")
        assert client.run("1 + 1") == "2\n"
        client.run("for i in range(3):", prompt=b"... ")
        client.run("    x = i", prompt=b"... ")
        assert client.run("") == ""
        assert client.run("x") == "2\n"
        assert client.run("def f(): return 1 / 0", prompt=b"... ") == ""
        client.run("")
        text = client.run("f()")
        assert "Traceback (most recent call last):" in text
        assert 'File "<console>", line 1, in f' in text
        assert text.endswith("ZeroDivisionError: division by zero\n")
        assert "SyntaxError" in client.run("1 +* 2")
        assert client.run("print('still', 'there')") == "still there\n"


def check_framed(host):
    with Framed(host.path) as client:
        client.hello()
        assert "plain.py\", line" in client.ask(STACKS)["text"]
        end, out, _ = client.exec("print('out')\n6 * 7")
        assert (end["result"], end["status"], out) == ("42", 0, "out\n")
        end, _, _ = client.exec("def f(): return 1 / 0\nf()")
        assert end["status"] == 1
        assert end["exception"]["type"] == "ZeroDivisionError"
        assert "line 1, in f" in end["exception"]["traceback"]


@needs_root
def test_standard_library_that_is_gone():
    """Nothing of it is there before the first session, but what the application has imported."""
    with unshared_host() as host:
        host.do(libc(f"mount(b'none', {os.fsencode(target_value('os.path.dirname(os.__file__)'))}, b'tmpfs', 0, None)"))
        host.do("sys.path_importer_cache.clear(); write_raw(str(os.listdir(os.path.dirname(os.__file__))))")
        host.wait_out(r"^\[\]$")
        check_console(host)
        check_framed(host)


LINES = (
    "if 1:", "(1,", "(", "x = [1,", "'''abc", "'abc", "x = \\", "# nothing", "", " ", "1 +", "1 1", ")", "f(]",
    "def f(", "class A:", "@f", "for", "for i in 1", "try:", "while 1: pass", "if 1: 2", "x = {", "f'{", "lambda",
    "else:", "1; 2", "import os,", "from os import (", "with 1:", "async def f():", "return", " 1", "'é", "'é' + (",
)


def prompts(host):
    """Which prompt follows each line."""
    found = []
    with Plain(host.path).start() as client:
        for line in LINES:
            client.send(line + "\n")
            while not client.buffer.endswith((b">>> ", b"... ")):
                client.receive()
            found.append((line, client.buffer[-4:]))
            client.buffer = b""
            client.send(b"\x03")
            client.until(b"KeyboardInterrupt\n>>> ")
    return found


@needs_root
def test_lines_go_on_where_they_would_with_the_standard_library(tmp_path):
    with plain_host() as host:
        expected = prompts(host)
    with plain_host() as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        assert prompts(host) == expected


@needs_root
def test_process_that_has_changed_its_root(tmp_path):
    with plain_host() as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        check_console(host)
        check_framed(host)
        with Plain(host.path).start() as client:
            client.send("while True: pass\n")
        host.wait_err("Cleaned up")
        assert host.finish() == 0


@needs_root
def test_process_that_changed_its_root_ends_while_a_console_runs(tmp_path):
    with plain_host("daemon_connection=True") as host:
        host.do(f"os.chroot({str(tmp_path)!r}); os.chdir('/')")
        with Plain(host.path).start() as client:
            client.send("print('RUNS')\nimport time\nwhile True: time.sleep(0)\n\n")
            client.until(b"RUNS\n")
            client.until(b"... ")
            assert host.finish() == 0


def test_process_without_a_descriptor_has_a_console():
    with plain_host() as host:
        host.do("import resource; n = max(map(int, os.listdir('/proc/self/fd'))) + 1")
        host.do("resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))")
        host.do(
            "hold = []\ntry:\n while True: hold.append(os.dup(0))\n"
            "except OSError as e: write_raw(e.strerror)"
        )
        host.wait_out("^Too many open files$")
        check_framed(host)
        # One after the other, and the next one as soon as the one before is gone.
        for _ in range(3):
            check_console(host)
            wait_for(lambda: "Manhole < PID" not in str(host.thread_names()), "the session ends")
        # It does not help itself to what the application frees.
        with Plain(host.path).start() as client:
            client.run("import __main__; os.close(__main__.hold.pop())")
            assert client.run("fd = os.dup(0); fd > 2") == "True\n"


def limit_memory(host, n_free):
    host.do("import resource")
    host.do("size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()")
    host.do(f"resource.setrlimit(resource.RLIMIT_AS, (size + {n_free}, -1))")


@pytest.mark.parametrize("n_free", [0, 1 << 16, 1 << 20, 5 << 20, 9 << 20, 11 << 20, 20 << 20])
def test_process_at_its_limit_of_memory_has_a_console_or_refuses(n_free):
    with plain_host() as host:
        limit_memory(host, n_free)
        for _ in range(3):
            with Plain(host.path) as client:
                try:
                    client.send("print(6 * 7)\n")
                    client.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # refused
                answer = client.wait_closed()
            # Without memory for what it would say, nothing comes but the end.
            assert answer == b"" or b"42\n" in answer or b"emory" in answer
            assert host.process.poll() is None
            with Framed(host.path) as client:
                hello = client.frame()
                if hello is not None:
                    number = client.request(EXEC, "6 * 7")
                    kind, _, payload = client.frame()
                    answer = json.loads(payload)
                    assert kind in (ANSWER, END)
                    assert answer.get("result") == "42" or answer.get("error") == "resources" or answer["status"] == 1
        host.do("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))")
        check_console(host)
        assert host.finish() == 0


@pytest.fixture
def cgroup(tmp_path):
    """The folder of a memory cgroup, and the names of its limit and its usage."""
    for parent, limit, usage in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ):
        folder = pathlib.Path(parent, f"manhole-test-{os.getpid()}")
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / limit).exists():
                yield folder, limit, usage
                return
        finally:
            # Its last process may not be gone yet.
            wait_for(lambda: not (folder / "cgroup.procs").exists() or not (folder / "cgroup.procs").read_text(),
                     "the cgroup is empty")
            folder.rmdir()
    pytest.skip("no memory cgroup can be made here")


@pytest.mark.skipif(os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"), reason="a sanitizer's own memory counts")
def test_cgroup_that_is_nearly_full_has_room_for_a_console(cgroup):
    folder, limit, usage = cgroup
    with plain_host() as host:
        (folder / "cgroup.procs").write_text(str(host.pid))
        host.do("x = bytearray(20 << 20)")
        room = int((folder / usage).read_text()) + (3 << 20)
        (folder / limit).write_text(str(room))
        for _ in range(3):
            check_console(host)
        check_framed(host)
        assert host.process.poll() is None


@needs_root
def test_log_on_a_full_disk(tmp_path):
    script = f"mount -t tmpfs -o size=4k none {tmp_path} && exec \"$@\""
    with Host("-m", "--propagation", "private", "sh", "-c", script, "sh", PYTHON, HOSTS / "plain.py",
              f"verbose_destination=open({str(tmp_path / 'log')!r}, 'w')", python="unshare") as host:
        host.do(f"\ntry: open({str(tmp_path / 'full')!r}, 'w').write('x' * 100000)\n"
                "except OSError as e: write_raw(e.strerror)")
        host.wait_out("^No space left on device$")
        for _ in range(3):
            check_console(host)
        check_framed(host)
        assert host.finish() == 0


@needs_root
@pytest.mark.parametrize("options, opens", [("size=4k", True), ("nr_inodes=1", False)])
def test_folder_of_the_socket_is_full(tmp_path, options, opens):
    """Without room for data a socket can still be made; without an inode the application goes on."""
    path = tmp_path / "socket"
    script = f"mount -t tmpfs -o {options} none {tmp_path} && head -c 100000 /dev/zero >{tmp_path}/full; exec \"$@\""
    with Host("-m", "--propagation", "private", "sh", "-c", script, "sh", PYTHON, HOSTS / "plain.py",
              f"socket_path={str(path)!r}", python="unshare") as host:
        host.do("pass")
        if opens:
            host.path = f"/proc/{host.pid}/root{path}"
            check_console(host)
        else:
            host.wait_err("Failed to bind .*No space left on device")
        assert host.finish() == 0


@pytest.mark.skipif(not target_has("celery"), reason="the interpreter has no celery")
def test_workers_of_celery(tmp_path):
    """Takes seconds: so does a worker to start and to end."""
    env = environment(CELERY_FOLDER=tmp_path, PYTHONPATH=f"{AGENT}:{HOSTS}", C_FORCE_ROOT=1)
    with Host("-m", "celery", "-A", "celery_app", "worker", "--pool=prefork", "--concurrency=2", "--loglevel=WARNING",
              "--without-gossip", "--without-mingle", "--without-heartbeat", env=env, ready=None, cwd=tmp_path) as host:
        def children():
            return [int(line.split()[1]) for line in host.err if line.startswith("CHILD ")]

        wait_for(lambda: len(children()) == 2, "two workers")
        for pid in children():
            path = f"/tmp/manhole-{pid}"
            wait_for(lambda: is_listening(path), "the child's socket")
            with Plain(path).start() as client:
                assert client.run("print('he' + 're')") == "here\n"
                assert client.run("type(sys.stdout).__module__") == "'manhole._agent'\n"
                assert client.run("1 / 0").endswith("ZeroDivisionError: division by zero\n")
                client.send("x = input()\nline\n")
                client.until(b">>> ")
                assert client.run("x") == "'line'\n"
        # Both the parent and its children go on.
        with Plain(host.path).start() as client:
            client.run("import celery_app")
            client.run("r = celery_app.work.delay('hard')")
            host.wait_err("WORKED hard")
        host.process.terminate()
        assert host.wait() == 0


@pytest.mark.skipif(not target_has("gevent"), reason="the interpreter has no gevent")
def test_pool_of_gevent():
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, gevent.pool, manhole, threading\n"
        "manhole.install(verbose=False)\n"
        "pool, n, stop = gevent.pool.Pool(50), [0], []\n"
        "def work(i):\n"
        "    while not stop: gevent.sleep(0.001); n[0] += 1\n"
        "for i in range(50): pool.spawn(work, i)\n"
        "print('READY', flush=True)\n"
        "pool.join()\n"
        "print('OVER', flush=True)\n"
    )
    with Host("-c", code) as host, Plain(host.path).start() as client:
        client.run("import __main__, time")
        before = int(client.run("__main__.n[0]"))
        client.run("time.sleep(0.05)")
        assert int(client.run("__main__.n[0]")) > before
        client.run("print('w' * 100)")
        client.run("__main__.stop.append(1)")
        host.wait_out("^OVER$")
