# SPDX-License-Identifier: BSD-2-Clause
"""Stacks whatever the interpreter does: the request `stacks`, and what a console begins with, while
the GIL is held. Hosts hold it until the test writes to them, so what comes before came without it."""
import json
import os
import time

import pytest

from agentlib import *

MARK = "(Taken without the GIL"
END_OF_STACKS = b"#" * 45 + b"\n\n\n"
# `make check-long` asks for 10,000.
DUMPS = int(os.environ.get("MANHOLED_DUMPS", "300"))
# Where faulthandler is asked first (agent/dump.c).
SIGNAL = 53


def stuck_host(code="hold_gil()", ready="HOLDS", **kwargs):
    return Host(HOSTS / "stuck.py", code, ready=ready, **kwargs)


def let_go(host):
    host.process.stdin.write(b"\n")
    host.process.stdin.flush()
    # An interrupted system call would show here.
    assert host.wait_out("^READ ") == "READ 1"


def stacks(client, options=""):
    answer = client.ask(STACKS, options)
    assert "truncated" not in answer
    return answer["gil"], answer["text"], answer["threads"]


def test_stacks_with_the_gil():
    with stuck_host("start_sleepers(2); os.write(1, b'GO\\n')", "GO") as host, framed(host) as client:
        host.wait_blocked()
        gil, text, threads = stacks(client)
        assert gil and MARK not in text
        assert text.count(f"######### ProcessID={host.pid}, ThreadID=") == 3
        assert 'in <module>\n  sys.stdin.read()\n' in text and text.endswith(END_OF_STACKS.decode())
        by_id = {thread["native_id"]: thread for thread in threads}
        assert set(by_id) >= set(host.threads()) - {0}
        main = by_id[host.pid]
        assert f"ThreadID={main['id']} #" in text
        assert main["state"] == "S" and main["syscall"] == "read"
        assert main["name"] == host.threads()[host.pid]


def headers(text):
    """(native id, name, state) as the text has them."""
    return re.findall(r"^#+ ProcessID=\d+, ThreadID=\d+ #+\nThread (\d+) (.+): ([^:\n]+)$", text, re.M)


def test_headers_say_which_thread_it_is_and_what_it_does():
    code = (
        "for name in ('plain', 'quote\"', 'line\\nbreak', 'n\u00e4me', 'x' * 100): start_sleepers(1, name)\n"
        "os.write(1, b'GO\\n')"
    )
    with stuck_host(code, "GO") as host, framed(host) as client:
        host.wait_blocked()
        gil, text, threads = stacks(client)
        found = {name: (int(tid), state) for tid, name, state in headers(text)}
        assert gil and set(found) == {
            '"MainThread"', '"plain"', '"quote""', "'line\\nbreak'", '"n\u00e4me"', '"%s"' % ("x" * 100),
        }
        assert found['"MainThread"'][0] == host.pid
        assert found['"MainThread"'][1].startswith("sleeping in read")
        assert found['"plain"'][1].startswith("sleeping in futex")
        assert {tid for tid, state in found.values()} <= set(host.threads())


def test_headers_run_no_code_of_the_application():
    code = (
        "class Odd(threading.Thread):\n"
        "    name = property(lambda self: os.abort(), lambda self, value: None)\n"
        "odd = Odd(target=threading.Event().wait, daemon=True); odd.start(); odd._name = 7\n"
        "os.write(1, b'GO\\n')"
    )
    with stuck_host(code, "GO") as host, framed(host) as client:
        names = [name for tid, name, state in headers(stacks(client)[1])]
        # What is no text is no name: then the kernel's.
        assert len(names) == 2 and '"MainThread"' in names


def test_stacks_without_the_gil_are_answered_in_time():
    with stuck_host() as host, framed(host) as client:
        begun = time.monotonic()
        gil, text, threads = stacks(client)
        # 500 ms are promised; the rest is for a machine that has other things to do.
        assert 0.29 < time.monotonic() - begun < 1.5
        assert not gil and MARK in text
        main = next(thread for thread in threads if thread["native_id"] == host.pid)
        assert (main["state"], main["syscall"]) == ("S", "read")
        # Again, though the first one's thread still waits for the GIL; then with it.
        assert not stacks(client)[0]
        wait_for(lambda: host.thread_names().count("Manhole stacks") == 1, "one thread waits")
        let_go(host)
        wait_for(lambda: "Manhole stacks" not in host.thread_names(), "the thread that waited ends")
        assert stacks(client)[0]


def test_a_dump_without_the_gil_reads_like_one_with_it():
    with stuck_host("start_sleepers(1); hold_gil()") as host, framed(host) as client:
        text = stacks(client)[1]
    block = next(b for b in text.split("\n\n") if "in hold_gil" in b).splitlines()
    assert re.fullmatch(rf"######### ProcessID={host.pid}, ThreadID=\d+ #########", block[0])
    assert re.fullmatch(rf'Thread {host.pid} ".*": sleeping in read.*', block[1])
    assert re.fullmatch(r'File: ".*stuck\.py", line \d+, in <module>', block[2])
    assert block[3] == "  exec(sys.argv[1])"
    assert block[4] == 'File: "<string>", line 1, in <module>'
    assert re.fullmatch(r'File: ".*stuck\.py", line \d+, in hold_gil', block[5])
    assert block[6] == "  r = c.read(0, buffer, 1)"
    assert text.endswith(END_OF_STACKS.decode())


def test_plain_console_gets_stacks_then_its_prompt_when_the_gil_is_free():
    with stuck_host() as host, Plain(host.path) as client:
        text = client.until(END_OF_STACKS).decode()
        assert MARK in text and "in hold_gil" in text
        let_go(host)
        rest = client.until(b">>> ").decode()
        assert "ProcessID=" not in rest and rest.startswith("Python ")
        assert client.run("6 * 7") == "42\n"


def test_framed_console_gets_stacks_then_its_prompt_when_the_gil_is_free():
    with stuck_host() as host, framed(host) as client:
        number = client.request(OPEN)
        kind, of, payload = client.frame()
        assert (kind, of) == (OUTPUT, number) and MARK.encode() in payload
        # A question in between is answered for itself.
        asked = client.request(STACKS)
        while (frame := client.frame())[0] != ANSWER:
            assert frame[:2] == (OUTPUT, number)
        assert frame[1] == asked
        let_go(host)
        seen = client.until(PROMPT, number)
        assert seen[OUTPUT].endswith(BANNER_END) and b"ProcessID=" not in seen[OUTPUT]
        client.send(INPUT, number, "exit()\n")
        client.until(END, number)
        # The next one begins with the GIL.
        number = client.request(OPEN)
        seen = client.until(PROMPT, number)
        assert b"ProcessID=" in seen[OUTPUT] and MARK.encode() not in seen[OUTPUT]


def test_console_without_stacks_gets_none():
    with stuck_host() as host, framed(host) as client:
        number = client.request(OPEN, "stacks=no\n")
        assert not stacks(client, "gil=no")[0]
        let_go(host)
        assert b"ProcessID=" not in client.until(PROMPT, number)[OUTPUT]


def test_many_clients_at_once_are_all_answered():
    with stuck_host() as host:
        clients = [Plain(host.path) for _ in range(64)]
        for client in clients:
            assert "in hold_gil" in client.until(END_OF_STACKS).decode()
        let_go(host)
        for client in clients:
            client.until(b">>> ")
            client.close()


def test_clients_that_leave_while_the_gil_is_held_leave_nothing():
    with stuck_host() as host:
        host.wait_idle()
        descriptors = host.descriptors()
        for _ in range(5):
            Plain(host.path).close()
            client = framed(host)
            client.request(STACKS)
            client.close()
        with Plain(host.path) as client:
            client.until(END_OF_STACKS)
            let_go(host)
        wait_for(lambda: len(host.thread_names()) == 2, "threads end")
        wait_for(lambda: host.descriptors() == descriptors, "descriptors are closed")
        assert host.finish() == 0


def test_requests_pile_up_no_threads_while_the_gil_is_held():
    """Who looks at a stuck process again and again must not be what kills it."""
    def askers():
        return len([n for n in host.thread_names() if n in ("Manhole stacks", "Manhole asks")])

    with stuck_host() as host:
        for kind, is_answer in [
            (STACKS, lambda answer: answer["gil"] is False and "in hold_gil" in answer["text"]),
            (TASKS, lambda answer: answer["error"] == "busy-interpreter"),
            (HEALTH, lambda answer: answer["gil"] is False),
        ]:
            clients = [framed(host) for _ in range(40)]
            for client in clients:
                client.request(kind)
            for client in clients:
                assert is_answer(json.loads(client.until(ANSWER, client.id)[ANSWER]))
                client.close()
        # Those that took the dumps end by themselves.
        wait_for(lambda: askers() == 32, "32 threads that wait for the GIL")
        let_go(host)
        wait_for(lambda: askers() == 0, "their end")
        with framed(host) as client:
            assert stacks(client)[0] is True
            assert "tasks" in client.ask(TASKS)


def test_a_second_request_before_the_answer_is_busy():
    with stuck_host() as host, framed(host) as client:
        first, second = client.request(STACKS), client.request(STACKS)
        frames = dict(client.frame()[1:] for _ in range(2))
        assert json.loads(frames[second]) == {"error": "busy"}
        assert json.loads(frames[first])["gil"] is False


def test_dead_locked_threads_are_shown_with_the_gil():
    with stuck_host("dead_lock()", "LOCKS") as host, framed(host) as client:
        def both_wait():
            text = stacks(client)[1]
            return text.count("in take\n  with second:") == 2

        wait_for(both_wait, "both threads wait for the other's lock")
        assert stacks(client)[0]


def test_more_threads_than_faulthandler_shows_at_a_time():
    with stuck_host("start_sleepers(230); hold_gil()") as host, framed(host) as client:
        gil, text, threads = stacks(client)
        assert not gil
        # The main thread is the last of all.
        assert text.count("in wait\n") >= 230 and text.count("in hold_gil\n") == 1
        assert {t["native_id"] for t in threads} >= set(host.threads()) - {
            t for t, name in host.threads().items() if name == "Manhole stacks"
        }
        for tid, name in host.threads().items():
            if name != "Manhole stacks":
                assert len(re.findall(rf'^Thread {tid} "', text, re.M)) == 1


def test_the_application_sees_no_child_and_no_signal():
    code = (
        "import signal, subprocess\n"
        "signal.signal(signal.SIGCHLD, lambda *a: os.write(1, b'CHLD\\n'))\n"
        "child = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n"
        "say_and_keep_gil(b'CHILD %d\\n' % child.pid)\n"
        # Any child at all.
        "waited = c.waitpid(-1, None, 0)\n"
        "os.write(1, b'WAITED %d\\n' % waited)\n"
    )
    with stuck_host(code, "CHILD .*") as host, framed(host) as client:
        child = int(host.wait_out("^CHILD").split()[1])
        for _ in range(20):
            assert not stacks(client)[0]
        assert not [line for line in host.out if line.startswith(("CHLD", "WAITED"))]
        os.kill(child, 15)
        assert host.wait_out("^WAITED") == f"WAITED {child}"
        assert stacks(client)[0]
        assert host.out.count("CHLD") == 1


def test_memory_limit_leaves_states_only_unless_asked():
    with stuck_host(env=environment(MANHOLE_DUMP_LIMIT="1M")) as host, framed(host) as client:
        gil, text, threads = stacks(client)
        assert not gil and "MANHOLE_DUMP_LIMIT" in text
        assert "File:" not in text
        assert f"\nThread {host.pid} " in text and threads[0]["syscall"] == "read"
        assert "in hold_gil" in stacks(client, "dump=always\n")[1]
        with Plain(host.path) as plain:
            assert b"File:" not in plain.until(END_OF_STACKS)
        client.request(OPEN, "banner=no\ndump=always\n")
        assert b"in hold_gil" in client.frame()[2]


@pytest.mark.parametrize("value, limited", [("8G", False), ("0", True), ("512K", True), ("nonsense", False)])
def test_memory_limit_is_a_size(value, limited):
    with stuck_host(env=environment(MANHOLE_DUMP_LIMIT=value)) as host, framed(host) as client:
        assert ("File:" not in stacks(client, "gil=no")[1]) == limited


@pytest.mark.parametrize(
    "code",
    [
        "faulthandler.enable()",
        "faulthandler.enable(); faulthandler.disable()",
        "faulthandler.register(10, file=f); faulthandler.unregister(10)",
        # The very signal that is registered already.
        f"faulthandler.register({SIGNAL}, file=f)",
        "faulthandler.dump_traceback_later(3600, file=f)",
    ],
)
def test_survives_what_the_application_does_with_faulthandler(tmp_path, code):
    file = tmp_path / "file"
    code = f"import faulthandler; f = open({str(file)!r}, 'w'); {code}; hold_gil()"
    with stuck_host(code) as host, framed(host) as client:
        assert "in hold_gil" in stacks(client)[1]
        assert file.read_text() == ""


def test_without_the_handler_there_are_states():
    code = f"import faulthandler; assert faulthandler.unregister({SIGNAL}); hold_gil()"
    with stuck_host(code) as host, framed(host) as client:
        gil, text, threads = stacks(client)
        assert not gil and "File:" not in text and f"\nThread {host.pid} " in text
        let_go(host)
        assert stacks(client)[0]


def test_the_signal_keeps_its_action():
    code = (f"import signal; os.write(1, b'ACTION %d\\n' % (signal.getsignal({SIGNAL}) == signal.SIG_DFL))\n"
            f"os.kill(os.getpid(), {SIGNAL})")
    with stuck_host(code, "ACTION 1") as host:
        assert host.wait() == -SIGNAL


def test_application_that_closed_every_descriptor():
    code = (
        "fds = [int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) > 2]\n"
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.close(2); hold_gil()"
    )
    with stuck_host(code) as host, framed(host) as client:
        assert "in hold_gil" in stacks(client)[1]


def test_child_after_fork_is_served_too():
    code = "import time\nif os.fork() == 0: os.write(1, b'PID %d\\n' % os.getpid()); time.sleep(1); hold_gil()"
    with stuck_host(code, "PID .*") as host:
        pid = int(host.wait_out("^PID").split()[1])
        path = f"/tmp/manhole-{pid}"
        try:
            wait_for(lambda: is_listening(path), "the child listens")
            host.wait_out("^HOLDS$")
            with Plain(path) as client:
                assert "in hold_gil" in client.until(END_OF_STACKS).decode()
        finally:
            os.kill(pid, 9)
            wait_for(lambda: not is_listening(path), "the child is gone")
            os.unlink(path)


def test_dumps_while_threads_come_and_go():
    cut = 0
    with stuck_host("churn()", "READY") as host, framed(host) as client:
        for _ in range(DUMPS):
            gil, text, threads = stacks(client, "gil=no")
            assert not gil
            cut += "File:" not in text or "in churn" not in text
            assert any(thread["native_id"] == host.pid for thread in threads)
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        assert int(host.wait_out("^ROUNDS").split()[1]) > 0
        # A copy is made at any moment, also at a bad one, and then once more.
        assert cut <= 1 + DUMPS // 100
        assert host.finish() == 0
        assert host.err == []
