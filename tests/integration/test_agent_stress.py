# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once, for MANHOLED_STRESS_SECONDS: an application whose threads print, log and fork, and
clients that come, type nonsense and go. The order is random, its seed is not."""
import contextlib
import os
import random
import threading
import time

from agentlib import *

SECONDS = float(os.environ.get("MANHOLED_STRESS_SECONDS", "6"))
SANITIZER = os.environ.get("MANHOLED_SANITIZER", "")
CLIENTS = 4


def glance(path, r):
    with Plain(path):
        pass


def read_a_little(path, r):
    with Plain(path) as client:
        client.receive()


def work(path, r):
    with Plain(path).start() as client:
        assert client.run("print('re' + 'sult')").endswith("result\n")
        client.send("exit()\n")
        client.wait_closed()


def drop_in_the_middle_of_output(path, r):
    with Plain(path).start() as client:
        client.send("for n in range(100000): print(n)\n\n")
        client.receive()


def drop_while_code_runs(path, r):
    with Plain(path).start() as client:
        client.send("exec('while True: pass')\n")


def interrupt(path, r):
    with Plain(path).start() as client:
        client.send("exec('print(6 * 7)\\nwhile True: pass')\n")
        client.until(b"42\n")
        client.send(b"\x03")
        client.until(b"KeyboardInterrupt\n")


def type_nonsense(path, r):
    with Plain(path) as client:
        client.send(bytes(r.randrange(256) for _ in range(2000)) * r.choice([1, 50]) + b"\n")
        client.receive()


def execute(path, r):
    with Framed(path) as client:
        client.hello()
        assert client.exec("6 * 7")[0]["result"] == "42"


def ask_for_stacks(path, r):
    with Framed(path) as client:
        client.hello()
        answer = client.ask(STACKS, r.choice(["", "gil=no\n"]))
        # A copy of the process does not live long with the thread sanitizer in it.
        assert "in prints\n" in answer["text"] or "thread" in SANITIZER


def drop_an_exec(path, r):
    with Framed(path) as client:
        client.hello()
        client.request(EXEC, "while True: print('x' * 100)")
        client.frame()


def send_a_bad_frame(path, r):
    with Framed(path) as client:
        client.hello()
        client.send(r.choice([0, 77, 2**31]), 1, b"x" * 100)
        client.wait_closed()


VISITS = [glance, read_a_little, work, drop_in_the_middle_of_output, drop_while_code_runs, interrupt, type_nonsense,
          execute, ask_for_stacks, drop_an_exec, send_a_bad_frame]


class Visitors:
    """Clients of one socket, each in a thread of its own, until they are told to stop or one fails."""

    def __init__(self, path, seed):
        self.path, self.over, self.failures, self.n = path, threading.Event(), [], dict.fromkeys(VISITS, 0)
        self.threads = [threading.Thread(target=self.visit, args=(random.Random(f"{seed} {n}"),))
                        for n in range(CLIENTS)]

    def visit(self, r):
        while not self.over.is_set():
            what = r.choice(VISITS)
            try:
                # The agent may hang up before all is said.
                with contextlib.suppress(ConnectionError):
                    what(self.path, r)
                self.n[what] += 1
            except BaseException as e:
                self.failures.append((what.__name__, e))
                self.over.set()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self.over.set()
        for thread in self.threads:
            thread.join()


def counts(host):
    start = len(host.out)
    host.process.stdin.write(b"\n")
    host.process.stdin.flush()
    return eval(host.wait_out("^COUNTS ", start).split(" ", 1)[1])


def test_application_and_clients_survive_each_other():
    seed = os.environ.get("MANHOLED_STRESS_SEED", str(time.time_ns()))
    print("MANHOLED_STRESS_SEED", seed)
    # A sanitizer's allocator does not survive fork() beside other threads.
    with Host(HOSTS / "busy.py", *([] if SANITIZER not in ("", "no") else ["fork"])) as host:
        work(host.path, None)
        wait_for(lambda: "Manhole < PID:%d" % os.getpid() not in " ".join(host.thread_names()), "the session ends")
        descriptors = host.descriptors()
        before = counts(host)
        with Visitors(host.path, seed) as visitors:
            visitors.over.wait(SECONDS)
        assert visitors.failures == []
        assert all(visitors.n.values()), "every kind of visit"
        after = counts(host)
        assert all(after[name] > before[name] for name in before), (before, after)

        work(host.path, None)
        wait_for(lambda: host.thread_names().count("Manhole") == 1 and not [n for n in host.thread_names() if " < " in n],
                 "the sessions end")
        # A child has a copy of every descriptor for a moment; the parent has none of it.
        wait_for(lambda: host.descriptors() <= descriptors, "the descriptors are closed")
        host.process.stdin.close()
        host.wait_out("^BYE$")
        assert host.wait() == 0
        assert host.err == []
        print({what.__name__: n for what, n in visitors.n.items()}, after)
