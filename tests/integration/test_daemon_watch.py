# SPDX-License-Identifier: BSD-2-Clause
"""What a client that watches is told of targets."""
import pytest

from daemonlib import *  # noqa: F403

WATCH = f"{BROKER}.Watch"


class Watching:
    """A call of Watch, and what the caller knows of targets in the daemon's folder."""

    def __init__(self, daemon, uid=US, folder=None):
        self.client, self.folder = daemon.client(uid), str(folder or daemon.scan)
        self.targets, self.events = {}, []
        self.client.send(WATCH, more=True)

    def next(self):
        """The next event, of whatever folder."""
        message = self.client.message()
        assert message.get("continues") is True and "error" not in message, message
        answer = message["parameters"]
        if answer["event"] == "list":
            self.targets = {t["pid"]: t for t in answer["targets"] if self.mine(t)}
        elif answer["event"] != "overflow":
            target = answer["target"]
            if not self.mine(target):
                return self.next()
            assert (target["pid"] in self.targets) == (answer["event"] != "added"), answer
            if answer["event"] == "removed":
                del self.targets[target["pid"]]
            else:
                assert self.targets.get(target["pid"]) != target, "nothing has changed"
                self.targets[target["pid"]] = target
        self.events.append(answer["event"])
        return answer

    def mine(self, target):
        return os.path.dirname(target["socket"]) == self.folder

    def until(self, event, pid):
        while (answer := self.next())["event"] != event or answer["target"]["pid"] != pid:
            pass
        return answer["target"]

    def __enter__(self):
        assert self.next()["event"] == "list"
        return self

    def __exit__(self, *unused):
        self.client.close()


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


@pytest.fixture
def peer(daemon):
    with standin(daemon.scan) as t:
        yield t


def test_a_target_comes_and_changes_and_goes(daemon, peer):
    with Watching(daemon) as watching:
        assert watching.targets == {}
        assert peer.do("listen()") == "None"
        target = watching.until("added", peer.pid)
        while watching.targets != daemon.listed():
            watching.next()  # the user's name has come
        said = len(watching.events)
        with daemon.attach(peer.pid):
            assert watching.until("changed", peer.pid)["sessions"] == 1
        assert watching.until("changed", peer.pid)["sessions"] == 0
        os.unlink(daemon.scan / f"manhole-{peer.pid}")
        assert watching.until("removed", peer.pid)["socket"] == target["socket"]
    assert watching.events[said:] == ["changed", "changed", "removed"]


def test_the_list_comes_first_and_nothing_is_said_twice(daemon, peer):
    assert peer.do("listen()") == "None"
    with Watching(daemon) as watching:
        assert list(watching.targets) == [peer.pid]
        while watching.targets != daemon.listed():
            watching.next()  # the user's name has come
        said = list(watching.events)
        for _ in range(5):
            assert peer.pid in daemon.listed()  # looks at it again
        with standin(daemon.scan) as second:
            assert second.do("listen()") == "None"
            watching.until("added", second.pid)
    assert watching.events[len(said):] == ["added"]


def test_a_death_is_told_of_without_a_question(daemon, peer):
    """Killed: it is stale, and then its socket is removed."""
    assert peer.do("listen()") == "None"
    with Watching(daemon) as watching:
        peer.kill()
        assert watching.until("changed", peer.pid)["state"] == "stale"
        watching.until("removed", peer.pid)


def test_watch_needs_more(daemon):
    error, _ = daemon.call(WATCH)
    assert error == f"{SERVICE}.ExpectedMore"
    with daemon.client() as client:  # and can have no answer without answers
        client.send(WATCH, more=True, oneway=True)
        client.send(f"{SERVICE}.GetInfo")
        assert client.reply()[0] is None


def test_one_user_has_few_watches(daemon):
    watches = [Watching(daemon).__enter__() for _ in range(16)]
    error, _ = daemon.call(WATCH, more=True)
    assert error == f"{ERROR}.TooManySessions"
    watches.pop().client.close()
    wait_for(lambda: Watching(daemon).client.message().get("continues"), "room for another")
    for w in watches:
        w.client.close()


@needs_root
def test_a_user_is_told_of_no_one_else_s(daemon, peer):
    with Watching(daemon, ALICE) as alice, Watching(daemon, BOB) as bob, standin(daemon.scan, uid=ALICE) as hers:
        assert peer.do("listen()") == "None"
        assert hers.do("listen()") == "None"
        alice.until("added", hers.pid)
        with standin(daemon.scan, uid=BOB) as his:
            assert his.do("listen()") == "None"
            bob.until("added", his.pid)
        assert set(alice.targets) == {hers.pid} and set(bob.targets) == {his.pid}


@needs_root
def test_new_rules_are_obeyed_at_once(daemon, peer):
    with standin(daemon.scan, uid=ALICE) as hers, Watching(daemon, BOB) as bob:
        assert hers.do("listen()") == "None"
        assert hers.pid in daemon.listed()
        for rules, event in (
            (f'[Grant "x"]\nUser={BOB}\nTargetUser={ALICE}\nMode=observe\n', "added"), ("", "removed"),
        ):
            daemon.config.write_text(rules)
            os.kill(daemon.pid, signal.SIGHUP)
            bob.until(event, hers.pid)
        assert peer.do("listen()") == "None"
        assert peer.pid in daemon.listed()
    assert bob.events == ["list", "added", "removed"]  # a user without a name


def test_one_that_does_not_read_gets_a_fresh_list(daemon):
    """It costs a bounded amount of memory, and holds nobody up."""
    n, rounds = 300, 12
    with Watching(daemon) as slow, Watching(daemon) as quick:
        for round_ in range(rounds):
            sockets = []
            for number in range(n):
                s = socket.socket(socket.AF_UNIX)
                s.bind(str(daemon.scan / f"manhole-{3_000_000 + number}"))
                s.listen()
                sockets.append(s)
            while len(quick.targets) < n:
                quick.next()
            for number in range(n):
                os.unlink(daemon.scan / f"manhole-{3_000_000 + number}")
            while quick.targets:
                quick.next()
            for s in sockets:
                s.close()
        with standin(daemon.scan) as last:
            assert last.do("listen()") == "None"
            while last.pid not in slow.targets:
                slow.next()
            assert set(slow.targets) == {last.pid} == set(daemon.listed())
    assert "overflow" not in quick.events
    assert slow.events.count("overflow") == 1
    assert slow.events[slow.events.index("overflow") + 1] == "list"
    assert len(slow.events) < n * rounds
