# SPDX-License-Identifier: BSD-2-Clause
"""What the broker tells of itself: its log at the start, its state, and its counts."""
import re
import resource
import time

from agentlib import SOURCE
from daemonlib import *  # noqa: F403
from sessionlib import attach

METRICS, STATUS = f"{BROKER}.Metrics", f"{BROKER}.BrokerStatus"


def metrics(daemon):
    """Values by name and label."""
    error, reply = daemon.call(METRICS)
    assert error is None, reply
    return {(m["name"], *s["labels"].values()): s["value"] for m in reply["metrics"] for s in m["samples"]}


def changed(before, after):
    """What of sessions and errors is greater, and by how much: /tmp is everybody's, targets there come
    and go."""
    return {key: after[key] - before[key] for key in after if after[key] != before[key]
            and key[0].startswith(("manholed_session", "manholed_watchers", "manholed_error"))}


def status(daemon, uid=US):
    error, reply = daemon.call(STATUS, uid=uid)
    assert error is None, reply
    return reply


@contextlib.contextmanager
def listening(daemon, uid=US):
    with standin(daemon.scan, uid=uid) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        yield peer


def test_what_is_there_and_what_happens_is_counted(daemon):
    with listening(daemon) as peer:
        before = metrics(daemon)
        assert before["manholed_targets", "live"] >= 1
        with attach(daemon, peer) as console:
            console.send("four")
            assert peer.do("receive(4)") == "b'four'"
            assert peer.do("client.sendall(b'nine byte')") == "None"
            while len(console.buffer) < 9:
                assert console.receive()
            bytes = {("manholed_session_bytes", "input"): 4, ("manholed_session_bytes", "output"): 9,
                     ("manholed_sessions",): 1}
            assert changed(before, metrics(daemon)) == {**bytes, ("manholed_sessions_open", "attached"): 1}
        daemon.ended(console.session)
        after = metrics(daemon)
        assert changed(before, after) == bytes
        # start, what was typed, what came back, end
        assert after["manholed_records",] == before["manholed_records",] + 4
        assert after["manholed_records_lost",] == 0
        assert daemon.refused("nobody-has-this-name") == "NoSuchTarget"
        assert changed(after, metrics(daemon)) == {("manholed_errors", "NoSuchTarget"): 1}
    wait_for(lambda: daemon.removed(), "the stale socket's end")
    assert metrics(daemon)["manholed_stale_sockets_removed",] >= 1


@needs_root
def test_denials_are_counted(daemon):
    with listening(daemon, ALICE) as alices:
        before = metrics(daemon)
        assert daemon.refused(alices.pid, uid=BOB) == "NotAuthorized"
        daemon.wait_event(event="denied", client_uid=BOB)
        after = metrics(daemon)
        assert changed(before, after) == {("manholed_errors", "NotAuthorized"): 1}
        assert after["manholed_records",] == before["manholed_records",] + 1


def test_what_is_no_call_is_counted(daemon):
    with daemon.client() as client:
        client.send_raw(b"[]\0")
        assert client.reply()[0] == f"{ERROR}.BadMessage"
    assert daemon.call(f"{BROKER}.Nothing")[0] == f"{SERVICE}.MethodNotFound"
    after = metrics(daemon)
    assert (after["manholed_errors", "BadMessage"], after["manholed_errors", "other"]) == (1, 1)


def test_the_process_is_counted_too(daemon):
    with daemon.client() as client:
        def counts():
            return {m["name"]: m["samples"][0]["value"] for m in client.call(METRICS)[1]["metrics"]}

        before = counts()
        assert abs(before["process_start_time_seconds"] - time.time()) < TIMEOUT
        assert before["process_max_fds"] == resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[0]
        wait_for(lambda: counts()["process_open_fds"] == len(daemon.links()), "as many descriptors as there are")
        with daemon.client() as other:
            assert other.call(f"{SERVICE}.GetInfo")[0] is None
            wait_for(lambda: counts()["manholed_clients"] == before["manholed_clients"] + 1, "one client more")


@needs_root
def test_counts_are_not_for_everybody():
    with Daemon() as daemon:
        error, reply = daemon.call(METRICS, uid=ALICE)
        assert error == f"{ERROR}.NotAuthorized" and reply["reason"]
    with Daemon(uid=ALICE) as daemon:
        for uid in US, ALICE:
            assert daemon.call(METRICS, uid=uid)[0] is None
        assert daemon.call(METRICS, uid=BOB)[0] == f"{ERROR}.NotAuthorized"


def test_the_start_says_what_is_done(daemon):
    said = daemon.said().splitlines()
    assert f"Looking for sockets in {daemon.scan}." in said and "Looking for sockets in /tmp." in said
    assert [line for line in said if line.startswith("Rules of the policy")]
    assert said[-1] == f"Ready. Sessions are recorded to: {status(daemon)['recording']}."


def test_the_broker_tells_of_itself(daemon):
    before = status(daemon)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", before["since"])
    assert (before["pid"], before["rules"], before["problems"]) == (daemon.pid, 0, [])
    assert before["recording"].startswith(f"file:{daemon.record}")
    assert before["records"] is None  # of a journal
    assert set(before["folders"]) == {str(daemon.scan), "/tmp"}
    with listening(daemon) as peer, attach(daemon, peer):
        after = status(daemon)
        assert after["sessions"] == before["sessions"] + 1
        assert str(peer.pid) in map(str, daemon.listed())
        assert after["targets"] > 0


@needs_root
def test_everybody_is_told_of_what_is_theirs(daemon):
    with listening(daemon, ALICE) as alices, attach(daemon, alices, uid=ALICE):
        assert status(daemon, ALICE)["sessions"] == 1
        assert status(daemon, ALICE)["targets"] == 1
        assert status(daemon, BOB)["sessions"] == status(daemon, BOB)["targets"] == 0


def test_a_reload_that_fails_is_a_problem_until_one_does_not(daemon):
    good = daemon.config.read_text()
    daemon.config.write_text("nonsense\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: status(daemon)["problems"], "the problem")
    assert "configuration" in status(daemon)["problems"][0]
    assert f"{daemon.config}:1: " in daemon.said()
    daemon.config.write_text(good)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not status(daemon)["problems"], "no problem")


def test_few_descriptors_are_a_problem():
    with Daemon(fds=64) as daemon, contextlib.ExitStack() as stack:
        client = stack.enter_context(daemon.client())

        def problems():
            return client.call(STATUS)[1]["problems"]

        assert problems() == []
        for _ in range(64):
            stack.enter_context(daemon.client())
        wait_for(problems, "the problem")
        assert "descriptors" in problems()[0]


def test_the_manual_has_every_count(daemon):
    counted = {m["name"] + ("_total" if m["kind"] == "counter" else "") for m in daemon.call(METRICS)[1]["metrics"]}
    section = (SOURCE / "daemon/manholed.8").read_text().split(".SH MONITORING")[1].split(".SH")[0]
    assert set(re.findall(r"\b(?:manholed|process)_\w+", section)) == counted


def test_every_error_of_ours_is_counted_by_name(daemon):
    interface = (SOURCE / "daemon/org.manholed.varlink").read_text()
    counted = {key[1] for key in metrics(daemon) if key[0] == "manholed_errors"}
    assert counted == {*re.findall(r"^error (\w+)", interface, re.MULTILINE), "other"}
