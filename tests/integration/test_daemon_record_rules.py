# SPDX-License-Identifier: BSD-2-Clause
"""How much is recorded, and what happens to what cannot be."""
from daemonlib import *  # noqa: F403
from sessionlib import attach
from test_daemon_recording import fill, small_disk


@contextlib.contextmanager
def scene(config, *arguments, **kwargs):
    with Daemon(*arguments, config=config, **kwargs) as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        yield daemon, peer


def say(console, peer, text):
    """One byte string each way."""
    console.send(text)
    assert peer.do(f"receive({len(text)})") == repr(text)
    assert peer.do(f"client.sendall({text!r})") == "None"
    assert console.until(text) == text


@pytest.mark.parametrize("config, records, recording, kept", [
    ("RecordOutput=no", "input", ", input only", (b"typed", b"")),
    ("RecordInput=no", "output", ", output only", (b"", b"typed")),
    ("RecordInput=no\nRecordOutput=no", "", ", neither input nor output", (b"", b"")),
])
def test_what_is_left_out_is_said_so(config, records, recording, kept):
    with scene(config) as (daemon, peer):
        with attach(daemon, peer) as console:
            assert console.answer["recording"] == f"file:{daemon.record}{recording}"
            say(console, peer, b"typed")
        end = daemon.wait_event(event="end", session=console.session)
        start, = daemon.events(event="start", session=console.session)
        assert start["MANHOLE_RECORDS"] == records
        assert start["MANHOLE_RECORDING"] == "required"
        cast = Cast(daemon.record / f"{console.session}.cast")
        assert (cast.input, cast.output) == kept
        # The totals are those of the session.
        assert (end["MANHOLE_INPUT_BYTES"], end["MANHOLE_OUTPUT_BYTES"]) == ("5", "5")
        assert int(end["MANHOLE_SEQ"]) == 1 + cast.n_input + cast.n_output


def test_where_nothing_is_recorded_refusals_are():
    with scene("Recording=off") as (daemon, peer):
        with attach(daemon, peer) as console:
            assert console.answer["recording"] == "none"
            say(console, peer, b"typed")
        assert daemon.refused(peer.pid, uid=BOB) == "NotAuthorized" if ROOT else True
        assert [e["MANHOLE_EVENT"] for e in daemon.events()] == (["denied"] if ROOT else [])
        assert list(daemon.record.glob("*.cast")) == []
        # As soon as the administrator says so they are; those that run are not.
        with attach(daemon, peer) as running:
            daemon.config.write_text("[Manholed]\n")
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "reloaded" in daemon.said(), "the new configuration")
            with attach(daemon, peer) as recorded:
                say(recorded, peer, b"typed")
            daemon.ended(recorded.session)
            assert daemon.events(session=running.session) == []


@needs_root
def test_with_best_effort_sessions_go_on_and_the_record_says_what_it_lacks():
    with small_disk(place().folder(0o755), "64k") as disk:
        with scene("Recording=best-effort", f"--record=file:{disk}/rec", record=False) as (daemon, peer):
            daemon.record = disk / "rec"
            console = attach(daemon, peer)
            assert console.answer["recording"].endswith(", best effort")
            say(console, peer, b"recorded")
            ballast = fill(disk)
            for n in range(200):
                say(console, peer, b"perhaps %d" % n)
            with attach(daemon, peer) as unrecorded:
                say(unrecorded, peer, b"not at all")
            ballast.unlink()
            console.close()
            end = daemon.wait_event(event="end", session=console.session)
            cast = Cast(daemon.record / f"{console.session}.cast")
            lost = int(end["MANHOLE_LOST"])
            assert 0 < lost < 400
            assert cast.n_input + cast.n_output + lost == 402
            assert int(end["MANHOLE_SEQ"]) == 403
            assert "records are lost" in daemon.said()
            assert not (daemon.record / f"{unrecorded.session}.cast").exists()


def test_a_session_ends_when_its_record_is_long_enough():
    with scene("RecordBytesPerSession=100K") as (daemon, peer):
        console, other = attach(daemon, peer), attach(daemon, peer)
        peer.tell("clients[0].sendall(b'o' * 200000)")
        said = console.wait_closed()
        console.close()
        peer.line()
        assert said.endswith(b"\n[manholed: as much of it is recorded as may be]\n")
        end, cast = daemon.ended(console.session)
        assert end["MANHOLE_REASON"] == "as much of it is recorded as may be"
        assert 60_000 < len(cast.output) < 110_000
        assert said == cast.output
        # Others are not concerned.
        say(other, peer, b"on")
        other.close()


@needs_root
def test_a_user_has_only_so_much_recorded_in_a_day():
    with Daemon(config="RecordBytesPerUserDay=100K") as daemon, standin(daemon.scan, uid=ALICE) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        one, two, root = (attach(daemon, peer, uid=uid) for uid in (ALICE, ALICE, US))
        peer.tell("clients[0].sendall(b'o' * 200000)")
        one.wait_closed()
        peer.line()
        two.send(b"x" * 5000)
        two.wait_closed()
        assert daemon.refused(peer.pid, uid=ALICE) == "RecorderUnavailable"
        # Nor can refusals fill the record; what others do stands in it as ever.
        with standin(daemon.scan) as forbidden:
            assert forbidden.do("listen()") == "None"
            daemon.wait_state(forbidden.pid, "live")
            for uid in ALICE, BOB:
                assert daemon.refused(forbidden.pid, uid=uid) == "NotAuthorized"
            assert [e["MANHOLE_CLIENT_UID"] for e in daemon.events(event="denied")] == [str(BOB)]
        assert daemon.said().count("as may be (RecordBytesPerUserDay=)") == 1
        say(root, peer, b"on")
        for console in (one, two, root):
            console.close()
            end, _ = daemon.ended(console.session)
            assert (end["MANHOLE_REASON"] == "as much of this user is recorded today as may be") == (console != root)


@pytest.mark.parametrize("config", ["RetainMax=30K", "RetainSec=1s"])
def test_old_files_go_and_never_one_of_a_session_that_goes_on(config):
    with scene(config) as (daemon, peer):
        live = attach(daemon, peer)
        say(live, peer, b"x" * 4000)
        with attach(daemon, peer) as past:
            say(past, peer, b"y" * 20000)
        first = daemon.ended(past.session)[1]
        assert first.input == b"y" * 20000

        def again():
            """What has ended is looked at when something ends."""
            with attach(daemon, peer) as console:
                say(console, peer, b"z" * 20000)
            daemon.wait_event(event="end", session=console.session)
            return not (daemon.record / f"{past.session}.cast").exists()

        wait_for(again, "the oldest to go")
        assert peer.do("client = clients[0]") == "None"
        say(live, peer, b"on")
        live.close()
        daemon.ended(live.session)
        # That they were there stays in the record.
        assert daemon.events(event="start", session=past.session)
