# SPDX-License-Identifier: BSD-2-Clause
"""What one user may take of what all share: connections, descriptors, memory."""
import contextlib
import errno
import resource
import socket
import threading

import pytest

from daemonlib import *  # noqa: F403

QUOTA = 512  # the default
# Descriptors: each target anywhere on the machine takes one.
FEW = 128


@contextlib.contextmanager
def many_descriptors(n):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n:
        pytest.skip(f"needs {n} descriptors; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_refused(client):
    """With the error that says so, and then the end."""
    error, reply = client.reply()
    assert error == f"{ERROR}.TooManySessions" and reply["reason"]
    return client.at_end()


def test_one_connection_too_many_is_refused():
    with Daemon(config="ConnectionsPerUser=3") as daemon, daemon.no_leak():
        with contextlib.ExitStack() as stack:
            served = [stack.enter_context(daemon.client()) for _ in range(3)]
            for client in served:
                assert client.call(f"{SERVICE}.GetInfo")[0] is None
            with daemon.client() as surplus:
                assert is_refused(surplus)
            for client in served:
                assert client.call(f"{SERVICE}.GetInfo")[0] is None
            served[0].close()
            wait_for(lambda: free_again(daemon), "a free place")


def free_again(daemon):
    with daemon.client() as client:
        return client.call(f"{SERVICE}.GetInfo")[0] is None


def test_a_session_keeps_its_connections_place():
    with Daemon(config="ConnectionsPerUser=2") as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with daemon.attach(peer.pid) as one:
            with daemon.attach(peer.pid) as two, daemon.client() as surplus:
                assert is_refused(surplus)
            daemon.ended(two.session)
            wait_for(lambda: free_again(daemon), "a free place")
        daemon.ended(one.session)


@needs_root
def test_another_user_is_served_while_one_has_used_up_the_quota():
    with Daemon(config="ConnectionsPerUser=3") as daemon, contextlib.ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(daemon.client(ALICE)).call(f"{SERVICE}.GetInfo")[0] is None
        assert is_refused(stack.enter_context(daemon.client(ALICE)))
        assert daemon.serves(BOB) and daemon.serves()


def test_ten_thousand_connections_of_one_user():
    """Real ones, against the default; with root's help another user is served all the while."""
    one, other = (ALICE, BOB) if ROOT else (US, None)
    with many_descriptors(11000), Daemon() as daemon, daemon.no_leak():
        before = daemon.resident()
        clients = []
        if other is not None:
            with daemon.client(other) as bob:
                for n in range(10000):
                    clients.append(daemon.client(one))
                    if n % 500 == 0:
                        assert bob.call(f"{SERVICE}.GetInfo")[0] is None
                assert daemon.serves(other)
        else:
            clients = [daemon.client(one) for _ in range(10000)]
        refused = [c for c in clients[QUOTA:] if is_refused(c)]
        assert len(refused) == 10000 - QUOTA
        # Those within the quota still are served.
        for client in (clients[0], clients[QUOTA // 2], clients[QUOTA - 1]):
            assert client.call(f"{SERVICE}.GetInfo")[0] is None
        assert daemon.resident() - before < 16 << 20
        for client in clients:
            client.close()
        wait_for(lambda: free_again(daemon), "a free place")


def test_the_soft_limit_of_descriptors_is_raised():
    """What a shell gives is less than two users' quotas."""
    with Daemon(fds="256:2048") as daemon:
        assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (2048, 2048)


def test_out_of_descriptors_it_pauses_and_resumes():
    with Daemon(fds=FEW) as daemon, standin(daemon.scan) as peer, daemon.no_leak():
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        clients = [daemon.client() for _ in range(FEW + 50)]
        for client in clients:
            client.send(f"{BROKER}.List")
        wait_for(lambda: "New connections wait" in daemon.said(), "the pause")
        # Who is in has what is needed: the list is complete, a console opens.
        for client in clients[:10]:
            assert peer.pid in [t["pid"] for t in client.reply()[1]["targets"]]
        error, reply = clients[0].call(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True)
        assert error is None, (error, reply)
        assert peer.do("accept()") == "None"
        # And who waits comes in when others leave.
        for client in clients[:-10]:
            client.close()
        for client in clients[-10:]:
            assert client.reply()[0] is None
            client.close()
        assert daemon.process.poll() is None
    assert daemon.said().count("New connections wait") < 20


def test_sessions_that_use_up_the_descriptors_get_an_error():
    """Each takes more than the connection it began as."""
    with Daemon(fds=FEW) as daemon, standin(daemon.scan) as peer, daemon.no_leak():
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        consoles, errors = [], []
        waiting = [daemon.client() for _ in range(5)]
        for _ in range(FEW):
            client = daemon.client()
            client.socket.settimeout(1)
            client.send(f"{BROKER}.Attach", {"target": str(peer.pid)}, upgrade=True)
            try:
                error, _ = client.reply()
            except TimeoutError:
                client.close()
                break  # it waits outside
            if error is None:
                consoles.append(client)
                peer.do("accept()")
            else:
                errors.append(error)
                client.close()
        assert len(consoles) >= 5
        assert set(errors) <= {f"{ERROR}.TooManySessions"}
        assert daemon.process.poll() is None, daemon.said()
        # A target that comes now is not lost for ever.
        with standin(daemon.scan) as late:
            assert late.do("listen()") == "None"
            for client in consoles + waiting:
                client.close()
            wait_for(lambda: daemon.listed().get(late.pid, {}).get("state") == "live", "the late one")
            assert daemon.listed()[peer.pid]["state"] == "live"
            with daemon.attach(late.pid):
                assert late.do("accept()") == "None"


@needs_root
def test_an_answer_that_finds_no_free_descriptor_is_an_error_of_its_own():
    """manholed-priv sends one; that it cannot be taken must not be the end of the daemon."""
    with Daemon() as daemon, standin(daemon.scan) as peer, daemon.client() as client:
        priv = int(pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text())
        limit = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        assert client.call(f"{SERVICE}.GetInfo")[0] is None
        os.kill(priv, signal.SIGSTOP)
        assert peer.do("listen()") == "None"
        client.send(f"{BROKER}.List")
        assert daemon.serves()  # the question has been put; its answer waits
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        os.kill(priv, signal.SIGCONT)
        error, reply = client.reply()
        target, = [t for t in reply["targets"] if t["pid"] == peer.pid]
        assert target["state"] == "live" and target["python"] is None
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limit)
        wait_for(lambda: daemon.listed()[peer.pid]["python"], "the version after all")


def test_a_thousand_sessions_at_once_are_each_answered_and_cost_little():
    """Consoles in real agents, all recorded, asked for before the first is answered."""
    n_targets, n = 10, 1000
    with many_descriptors(n + 500), Daemon(config=f"ConnectionsPerUser={2 * n}\nSessionsPerUser={n}") as daemon, \
            contextlib.ExitStack() as stack:
        targets = [stack.enter_context(application(daemon.scan)).pid for _ in range(n_targets)]
        for pid in targets:
            daemon.wait_state(pid, "live")
        with daemon.attach(targets[0]) as first:
            assert first.start().run("1 + 1") == "2\n"
        daemon.ended(first.session)
        before = daemon.resident()
        clients = [stack.enter_context(daemon.client()) for _ in range(n)]
        for at, client in enumerate(clients):
            client.send(f"{BROKER}.Attach", {"target": str(targets[at % n_targets])}, upgrade=True,
                        behind=b"%d + 1\n" % at)
        consoles = []
        for client in clients:
            error, reply = client.reply()
            assert error is None, reply
            consoles.append(Attached(client, reply))
        for at, console in enumerate(consoles):
            console.start().until(f"{at + 1}\n>>> ".encode())
            console.send("print('x' * 20000)\n")
        for console in consoles:
            console.until(b"x\n>>> ")
        # Once they are idle, whatever went through them.
        wait_for(lambda: daemon.resident() - before < n * (32 << 10), "little memory")


def test_many_slow_clients_cost_bounded_memory():
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        assert peer.do("server.listen(128)") == "None"
        daemon.wait_state(peer.pid, "live")
        before = daemon.resident()
        consoles = [daemon.attach(peer.pid, linger=True) for _ in range(100)]
        assert peer.do("for _ in range(100): accept()") == "None"
        assert peer.do("[c.setblocking(False) for c in clients] and None") == "None"
        fill = ("sum(c.send(b'x' * 65536) for c in clients for _ in range(40) "
                "if select.select([], [c], [], 0)[1])")
        assert peer.do("import select") == "None"
        total, more = 0, 1
        while more:
            more = int(peer.do(fill))
            total += more
            assert daemon.serves()
        # The same the other way: the target does not read.
        for console in consoles:
            console.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    console.socket.send(b"y" * 65536)
            assert daemon.serves()
        assert daemon.resident() - before < 100 * (320 << 10)
        # Nor do those who are lost cost more.
        for console in consoles:
            console.close()
        assert daemon.resident() - before < 100 * (320 << 10)
        for console in consoles:
            daemon.call(f"{BROKER}.Terminate", {"session": console.session})
        for console in consoles:
            daemon.wait_event(event="end", session=console.session)
        assert total > 0


def test_it_uses_no_time_in_any_state_in_which_nothing_happens():
    """A second is measured, not waited for: an event loop that spins would use all of it."""
    with Daemon(fds=FEW) as daemon, contextlib.ExitStack() as stack:
        peer, dead = (stack.enter_context(standin(daemon.scan)) for _ in range(2))
        for p in (peer, dead):
            assert p.do("listen()") == "None"
            daemon.wait_state(p.pid, "live")
        assert dead.do("server.close()") == "None"  # stale, but its process lives
        daemon.wait_state(dead.pid, "stale")
        half = stack.enter_context(daemon.attach(peer.pid))
        assert peer.do("accept()") == "None"
        half.half_close()
        assert peer.do("receive(1)") == "b''"
        slow = stack.enter_context(daemon.attach(peer.pid))
        assert peer.do("accept()") == "None"
        assert peer.do("client.setblocking(False)") == "None"
        assert "BlockingIOError" in peer.do("client.sendall(b'x' * (4 << 20))")
        silent = stack.enter_context(daemon.client())
        silent.socket.shutdown(socket.SHUT_WR)
        unread = stack.enter_context(daemon.client())
        call = unread.encode(f"{SERVICE}.GetInfo") * 1000
        unread.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                unread.socket.send(call)
        for _ in range(FEW):  # more than there are descriptors for: the listener pauses
            stack.enter_context(daemon.client())
        wait_for(lambda: "New connections wait" in daemon.said(), "the pause")
        before = daemon.busy()
        time.sleep(1)
        assert daemon.busy() - before < 0.2


def test_a_burst_of_connections_and_ends():
    """Threads that connect, ask half a question and go."""
    with Daemon() as daemon, daemon.no_leak():
        def run():
            for n in range(300):
                with contextlib.suppress(ConnectionError):
                    with daemon.client() as client:
                        client.send_raw(client.encode(f"{BROKER}.List")[: n % 60])
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert daemon.serves()


# What one may leave in a folder that all may write to: sockets that are alive, and folders of a name
# that is looked into when it is root's.
CROWD_CODE = """
import os, resource, socket, sys
folder, n_sockets, n_folders = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (n_sockets + 100,) * 2)
kept = []
for n in range(n_sockets):
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind(f"{folder}/manhole-{4000000 - n}")
for n in range(n_folders):
    os.mkdir(f"{folder}/systemd-private-{n}")
print("READY", flush=True)
sys.stdin.read()
"""


@needs_root
def test_a_crowd_of_lists_is_no_queue_before_another_user():
    """Dozens of calls that each cost a look at thousands of sockets."""
    calls = 60
    with Daemon() as daemon, many_descriptors(2200), contextlib.ExitStack() as stack:
        stack.enter_context(Process(CROWD_CODE, daemon.scan, 2000, 0, uid=ALICE))
        wait_for(lambda: len(daemon.listed(uid=ALICE)) == 2000, "all of them")
        crowd = [stack.enter_context(daemon.client(ALICE)) for _ in range(calls)]
        for client in crowd:
            client.send(f"{BROKER}.List")
        assert daemon.call(f"{BROKER}.List", uid=BOB) == (None, {"targets": []})
        served, _, _ = select.select([client.socket for client in crowd], [], [], 0)
        assert len(served) < calls / 10
        for client in crowd:
            assert len(client.reply()[1]["targets"]) == 2000


@needs_root
def test_answers_that_are_not_read_cost_bounded_memory():
    with Daemon() as daemon, many_descriptors(4200), contextlib.ExitStack() as stack:
        stack.enter_context(Process(CROWD_CODE, daemon.scan, 4000, 0, uid=ALICE))
        wait_for(lambda: len(daemon.listed(uid=ALICE)) == 4000, "all of them")
        before = daemon.resident()
        crowd = [stack.enter_context(daemon.client(ALICE)) for _ in range(200)]
        for client in crowd:
            client.send(f"{BROKER}.List")
        # Each is answered, at least its beginning, or was one too many.
        for client in crowd:
            assert select.select([client.socket], [], [], TIMEOUT)[0]
        assert daemon.call(f"{BROKER}.List", uid=BOB) == (None, {"targets": []})
        assert daemon.resident() - before < 96 << 20
        for client in crowd:
            client.close()
        wait_for(lambda: len(daemon.listed(uid=ALICE)) == 4000, "room for an answer again")


@needs_root
def test_a_users_sockets_beyond_the_bound_are_not_followed():
    with Daemon(config="TargetsPerUser=500") as daemon, standin(daemon.scan, uid=BOB) as peer:
        with Process(CROWD_CODE, daemon.scan, 800, 0, uid=ALICE):
            wait_for(lambda: len(daemon.listed(uid=ALICE)) >= 500, "as many as there may be")
            assert len(daemon.listed(uid=ALICE)) == 500
            assert peer.do("listen()") == "None"
            assert set(daemon.listed(uid=BOB)) == {peer.pid}


def processor_time(pid):
    """Of a process, in clock ticks."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@needs_root
def test_refused_folders_do_not_multiply_the_work_of_many_sockets():
    def cost(sockets, folders):
        with Daemon() as daemon, many_descriptors(4200), \
                Process(CROWD_CODE, daemon.scan, sockets, folders, uid=ALICE):
            wait_for(lambda: len(daemon.listed(uid=ALICE)) == sockets, "all of them")
            before = processor_time(daemon.pid)
            for _ in range(5):
                daemon.listed(uid=BOB)
            return processor_time(daemon.pid) - before
    assert cost(4000, 15000) < 2 * (cost(4000, 0) + cost(0, 15000))
