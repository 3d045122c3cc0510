# SPDX-License-Identifier: BSD-2-Clause
"""manholectl replay: a recorded session shown again, and held against itself. From files; from the journal
in tests/system."""
import re

from clilib import DONE, FAILED, MANHOLECTL, NO_TARGET, SOURCE, USAGE, one_line, run
from daemonlib import *  # noqa: F403
from sessionlib import Watcher, attach

EVERY_BYTE = bytes(range(256)) * 40


def typed_and_shown(daemon, peer):
    """The recorded id of a session with a watcher, all bytes there are, and more than a record's worth."""
    with attach(daemon, peer) as console:
        console.send(EVERY_BYTE)
        assert peer.do(f"receive({len(EVERY_BYTE)}) == bytes(range(256)) * 40") == "True"
        with Watcher(daemon, console.session):
            daemon.wait_event(event="watch", session=console.session)
            assert peer.do(f"client.sendall({EVERY_BYTE[::-1]!r})") == "None"
            console.until(EVERY_BYTE[::-1])
    daemon.ended(console.session)
    return console.session


@pytest.fixture(scope="module")
def record():
    """A folder of records, and the id of a session in it."""
    with Daemon() as daemon, standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        yield daemon.record, typed_and_shown(daemon, peer)


def verify(path):
    result = run("replay", path, "--verify", "--json=short")
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert (result.returncode == DONE) == report["complete"] == (report["findings"] == [])
    return report


def test_a_whole_record_is_whole(record):
    folder, session = record
    report = verify(folder / f"{session}.cast")
    assert report["complete"]
    assert (report["input"], report["output"]) == (len(EVERY_BYTE), len(EVERY_BYTE))
    # By its id, where manholed put it.
    result = run("replay", session, "--verify", "--directory", folder)
    assert result.returncode == DONE
    assert result.stdout.splitlines()[-1] == "Nothing is missing."
    assert f"{len(EVERY_BYTE)} bytes of input" in result.stdout


def test_a_user_s_own_are_found_by_their_id(record, tmp_path):
    folder, session = record
    (tmp_path / "manholed").symlink_to(folder)
    result = run("replay", session, "--verify", env={"XDG_STATE_HOME": str(tmp_path)})
    assert result.returncode == DONE


def test_every_line_that_is_missing_shows(record, tmp_path):
    folder, session = record
    lines = (folder / f"{session}.cast").read_text().splitlines(keepends=True)
    codes = [None, *(json.loads(line)[1] for line in lines[1:])]
    assert {"i", "o", "record", "m"} < set(codes)
    cut = tmp_path / "cut.cast"
    for n, code in enumerate(codes):
        if n == 0 or code == "m":  # for players
            continue
        cut.write_text("".join(lines[:n] + lines[n + 1:]))
        result = run("replay", cut, "--verify")
        assert result.returncode == FAILED, (n, code)
    # The end of it.
    for n in range(1, len(lines) - 1):
        cut.write_text("".join(lines[:n]))
        assert run("replay", cut, "--verify").returncode == FAILED


def test_a_line_that_is_there_twice_or_was_changed_shows(record, tmp_path):
    folder, session = record
    lines = (folder / f"{session}.cast").read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if n > 0 and json.loads(line)[1] == "xi")
    changed = tmp_path / "changed.cast"
    changed.write_text("".join(lines[:at + 1] + lines[at - 1:]))
    assert verify(changed)["findings"]
    changed.write_text("".join([*lines[:at], lines[at].replace('"000102', '"0102'), *lines[at + 1:]]))
    assert verify(changed)["findings"] == [f"of {len(EVERY_BYTE)} bytes of input {len(EVERY_BYTE) - 1} are recorded"]


def test_what_is_no_record_is_said_so(record, tmp_path):
    folder, session = record
    good = (folder / f"{session}.cast").read_text()
    bad = tmp_path / "bad.cast"
    for text, line in ("", None), ("{}\n", 1), ("[]\n", 1), (good + "x\n", good.count("\n") + 1), ('{"version":2}\n', 1), \
            (good.split("\n")[0] + '\n[1,"xo","00"]\n', 2), (good.split("\n")[0] + '\n[1,"o"]\n', 2), \
            (good.split("\n")[0] + '\n[1,"record","{}"]\n', 2):
        bad.write_text(text)
        result = run("replay", bad, "--verify")
        assert result.returncode == FAILED
        said = one_line(result.stderr)
        assert said == (f"{bad}:{line} is not what manholed writes" if line else f"{bad} is empty")
    assert run("replay", tmp_path / "none.cast").returncode == NO_TARGET


def test_it_is_shown_as_it_was_and_safe_for_a_terminal(daemon):
    with standin(daemon.scan) as peer:
        assert peer.do("listen()") == "None"
        daemon.wait_state(peer.pid, "live")
        with attach(daemon, peer) as console:
            assert peer.do("client.sendall(b'>>> ')") == "None"
            console.until(b">>> ")
            console.send(b"1+1\n")
            assert peer.do("receive(4)") == repr(b"1+1\n")
            assert peer.do(r"client.sendall(b'2\n\x1b[2J>>> ')") == "None"
            console.until(b"J>>> ")
        daemon.ended(console.session)
    path = daemon.record / f"{console.session}.cast"
    assert run("replay", path, "--speed=1000").stdout == ">>> 1+1\n2\n\x1b[2J>>> "
    # On a terminal the typed is bold, and nothing moves the cursor.
    result = subprocess.run(["script", "-qec", f"{MANHOLECTL} replay {path} --speed=1000", "/dev/null"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    shown = result.stdout
    assert b"\x1b[1m1+1" in shown and b"\\x1b[2J" in shown and b"\x1b[2J" not in shown


def test_pauses_are_cut_and_time_can_go_faster(record, tmp_path):
    folder, session = record
    header = (folder / f"{session}.cast").read_text().split("\n")[0]
    cast = tmp_path / "slow.cast"
    cast.write_text(header + '\n[0.5,"o","a"]\n[5000,"o","b"]\n')
    began = time.monotonic()
    assert run("replay", cast, "--speed=10").stdout == "ab"
    assert 0.25 <= time.monotonic() - began < 2


def test_another_player_s_asciicast_is_written(record, tmp_path):
    folder, session = record
    out = tmp_path / "out.cast"
    assert run("replay", session, "--directory", folder, "--cast", out).returncode == DONE
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0]["version"] == 2
    assert {line[1] for line in lines[1:]} == {"i", "o"}
    assert "".join(line[2] for line in lines[1:] if line[1] == "o").count("~") == 40
    assert out.stat().st_mode & 0o777 == 0o600
    # Nothing that is there is overwritten.
    again = run("replay", session, "--directory", folder, "--cast", out)
    assert again.returncode == FAILED and one_line(again.stderr)
    assert run("replay", session, "--directory", folder, "--cast=-").stdout == out.read_text()


def test_a_framed_session_is_complete_too(daemon):
    with application(daemon.scan) as target:
        daemon.wait_state(target.pid, "live")
        result = run("exec", target.pid, "print('x' * 10000); 6 * 7", control=daemon.control)
        assert result.stdout == "x" * 10000 + "\n42\n"
        session = daemon.wait_event(event="end")["MANHOLE_SESSION"]
    assert verify(daemon.record / f"{session}.cast")["complete"]
    shown = run("replay", session, "--directory", daemon.record, "--speed=1000").stdout
    assert shown.startswith("print('x' * 10000); 6 * 7") and "x" * 10000 + "\n" in shown


@pytest.mark.parametrize("args, message", [
    (["replay"], "replay needs ID"),
    (["replay", "x"], "a session's id is hexadecimal, and a file's path has a slash in it: x is neither"),
    (["replay", "a", "--speed=0"], "--speed takes a factor, not '0'"),
    (["replay", "a", "--json=short"], "replay takes --json with --verify only"),
    (["replay", "a", "--verify", "--cast=x"], "replay takes one of --verify and --cast"),
    (["list", "--verify"], "list does not take --verify"),
])
def test_usage_errors(args, message):
    result = run(*args)
    assert result.returncode == USAGE
    assert one_line(result.stderr) == message


def test_the_readme_of_the_format_names_what_readers_believe():
    believed = set(re.findall(r'"(_[A-Z_]+)=', (SOURCE / "cli/logged-journal.c").read_text()))
    page = (SOURCE / "docs/RECORD.md").read_text()
    assert believed and all(f"`{field}=" in page for field in believed)
