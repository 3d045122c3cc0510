# SPDX-License-Identifier: BSD-2-Clause
"""manholectl attach and watch, and a daemon that serves what a test wants."""
import json
import subprocess
import threading

import pytest

from clilib import (ANSWER, DONE, DROPPED, END, FAILED, INPUT, MANHOLECTL, NOTICE, OPEN, OUTPUT, PATIENCE, PROMPT,
                    SESSION, STDERR, TYPED, environment, fake_daemon, frame, hello, notice, run, target, terminal)


def console(*script, **attach):
    """A daemon that serves a console: expects OPEN, then sends what `script` has."""
    def serve(peer):
        peer.attach(**attach)
        peer.send(hello())
        assert peer.frame() == (OPEN, 1, b"")
        for piece in script:
            peer.send(piece)
        while peer.frame():
            pass
    return serve


def test_attach_sends_the_reason_and_survives_a_hello_in_the_same_packet():
    seen = {}

    def script(peer):
        seen.update(peer.attach(with_reply=hello() + frame(OUTPUT, b"early\n")))
        assert peer.frame()[0] == OPEN
        peer.send(frame(PROMPT, b">>> "))
        assert peer.frame() == (INPUT, 1, b"1+1\n")
        peer.send(frame(OUTPUT, b"2\n") + frame(PROMPT, b">>> "))
        assert peer.frame() == (INPUT, 1, b"")
        peer.send(frame(END, {"reason": "eof"}))

    with fake_daemon(script) as fake:
        result = run("attach", "app", "--reason=why \xe9", control=fake.control, input="1+1\n")
    assert seen == {"target": "app", "framed": True, "linger": True, "reason": "why \xe9"}
    assert result.returncode == DONE
    assert result.stdout == "early\n>>> 2\n>>> "
    assert result.stderr.splitlines() == [
        "python3(0) of root, Python 3.11", "Session feed, recorded: file:/records.",
        "manholectl: end of input; process 0 goes on"]


@pytest.mark.parametrize("frames, message", [
    ([frame(END, {"reason": "stopping"})], "process 0 is ending, and its console with it"),
    ([frame(END, {"reason": "tired\x1b"})], r"the console was ended: tired\x1b"),
    ([frame(END, b"not json")], "the console was ended: no reason given"),
    ([frame(ANSWER, {"error": "busy"})], "no console: busy"),
    ([frame(ANSWER, {"error": "x", "message": "no thread"})], "no console: no thread"),
    ([frame(99, b"")], "the console is lost: it does not speak the console protocol"),
    ([b"\xff" * 12], "the console is lost: it does not speak the console protocol"),
    ([b"\x01"], "the console is lost: the connection is gone; it may wait for: manholectl attach --resume feed"),
], ids=["stopping", "unknown", "nonsense", "busy", "message", "type", "length", "cut"])
def test_a_console_that_ends_badly_says_why(frames, message):
    def script(peer):
        peer.attach()
        peer.send(hello())
        peer.frame()
        for piece in frames:
            peer.send(piece)

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == FAILED
        assert t.rest().endswith(f"manholectl: {message}\r\n")
        assert t.modes() == t.found


def test_a_session_without_a_record_says_so():
    with fake_daemon(console(frame(END, {"reason": "exit"}), recording="none")) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.returncode == DONE
    assert "Session feed, not recorded.\n" in result.stderr


def test_dropped_output_is_shown_where_it_is_missing():
    pieces = [frame(OUTPUT, b"a\n"), frame(DROPPED, {"bytes": 4711}), frame(OUTPUT, b"b\n"),
              frame(END, {"reason": "exit"})]
    with fake_daemon(console(*pieces)) as fake, terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == DONE
        assert "a\r\n[4711 bytes of output were dropped here]\r\nb\r\n" in t.rest()


def test_what_manholed_says_stands_in_brackets():
    pieces = [frame(OUTPUT, b"a\n"), notice("joined", "alice\x1b[2J is here"), notice("news", "x"), frame(NOTICE, b"{"),
              frame(OUTPUT, b"b\n"), frame(END, {"reason": "exit"})]
    with fake_daemon(console(*pieces)) as fake:
        with terminal("attach", "x", control=fake.control) as t:
            assert t.wait() == DONE
            assert "a\r\n[alice\\x1b[2J is here]\r\n[x]\r\nb\r\n" in t.rest()
        result = run("attach", "x", control=fake.control)
    assert result.stdout == "a\nb\n"
    assert "[alice\\x1b[2J is here]\n[x]\n" in result.stderr


def test_a_session_that_manholed_ends_says_why():
    with fake_daemon(console(notice("end", "terminated by root"))) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.returncode == FAILED
    assert result.stderr.endswith("manholectl: the session was ended: terminated by root\n")


def resumed(*pieces, missed=0, **more):
    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Resume" and call["upgrade"] is True
        assert call["parameters"] == {"session": "c0ffee"}
        peer.reply({"session": SESSION, "framed": True, "request": 9, "recording": "journal", "others": [],
                    "missed": missed, **more})
        for piece in pieces:
            peer.send(piece)
        assert peer.frame() == (INPUT, 9, b"1+1\n")
        peer.send(frame(OUTPUT, b"2\n", id=9) + frame(END, {"reason": "exit"}, id=9))
    return script


@pytest.mark.parametrize("words", [["--resume=c0ffee"], ["shop", "--resume", "c0ffee"]])
def test_a_session_is_taken_up_again_without_another_open(words):
    pieces = [frame(OUTPUT, b"before\n", id=9), frame(PROMPT, b">>> ", id=9)]
    with fake_daemon(resumed(*pieces, missed=5)) as fake:
        result = run("attach", *words, control=fake.control, input="1+1\n")
    assert result.returncode == DONE
    assert result.stdout == "before\n>>> 2\n"
    assert result.stderr.splitlines() == [
        "Session c0ffee, in shop(4321), goes on.", "[5 bytes of output meanwhile were too many to be shown here]",
        "manholectl: exit() ended the console; process 4321 goes on"]


def test_a_session_is_taken_up_again_on_a_terminal():
    pieces = [frame(OUTPUT, b"before\n", id=9), frame(PROMPT, b">>> ", id=9)]
    with fake_daemon(resumed(*pieces)) as fake, terminal("attach", "--resume=c0ffee", control=fake.control) as t:
        t.expect_exact("before")
        t.editing()
        t.line("1+1")
        assert t.wait() == DONE


def watched(*pieces):
    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Mirror" and call["upgrade"] is True
        assert call["parameters"] == {"session": "c0ffee", "framed": True}
        peer.reply({"session": SESSION, "framed": True})
        for piece in pieces:
            peer.send(piece)
    return script


def test_watch_shows_what_is_shown_and_typed():
    pieces = [frame(PROMPT, b">>> "), frame(TYPED, b"1+1\x1b[2J\n"), frame(OUTPUT, b"2\n"), frame(STDERR, b"x\n"),
              frame(DROPPED, {"bytes": 5}), notice("end", "eof\x1b[2J")]
    with fake_daemon(watched(*pieces)) as fake:
        result = run("watch", "c0ffee", control=fake.control)
        with terminal("watch", "c0ffee", control=fake.control) as t:
            assert t.wait() == DONE
            assert ">>> \x1b[1m1+1\\x1b[2J\r\n\x1b[0m2\r\nx\r\n" in t.rest()
    assert result.returncode == DONE
    assert result.stdout == ">>> 1+1\x1b[2J\n2\nx\n"
    assert result.stderr.splitlines() == [
        r"Session c0ffee of alice\x1b[2J in shop(4321) since 2024-05-06T07:08:09Z. Nothing you type gets there.",
        "[5 bytes are left out here]", r"manholectl: the session has ended: eof\x1b[2J"]


def test_watch_of_a_session_that_is_lost_fails():
    with fake_daemon(watched(frame(OUTPUT, b"a\n"))) as fake:
        result = run("watch", "c0ffee", control=fake.control)
    assert result.returncode == FAILED
    assert result.stdout == "a\n"
    assert result.stderr.endswith("manholectl: the session is lost: the connection is gone\n")


def test_attach_says_who_else_is_there():
    others = [{"session": "beef", "state": "lingering", "uid": 1000, "user": "alice\x1b[2J", "since": "2024-05-06T07:08:09Z"},
              {"session": "cafe", "uid": 1001, "user": None, "since": "2024-05-06T07:08:10Z"}]
    with fake_daemon(console(frame(END, {"reason": "exit"}), others=others)) as fake:
        result = run("attach", "x", control=fake.control)
    assert result.stderr.splitlines()[2:4] == [
        r"Also here: alice\x1b[2J since 2024-05-06T07:08:09Z, session beef, lingering.",
        "Also here: 1001 since 2024-05-06T07:08:10Z, session cafe."]


def test_output_cannot_command_the_terminal_but_may_colour():
    text = b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[8mhidden\rover\x08\xc2\x9b1m\xe2\x80\xae\xff \xc3\xa9\n"
    # Cut anywhere, a sequence is still one.
    pieces = [frame(OUTPUT, text[i:i + 1]) for i in range(len(text))]
    with fake_daemon(console(*pieces, frame(END, {"reason": "exit"}))) as fake, \
            terminal("attach", "x", control=fake.control) as t:
        assert t.wait() == DONE
        shown = t.rest()
    assert ("\\x1b[2J\\x1b]0;title\\x07\x1b[31mred\\x1b[8mhidden\\rover\\x08\\xc2\\x9b1m\\xe2\\x80\\xae\\xff "
            "\xe9\r\n\x1b[0m") in shown


def test_output_stays_as_it_is_where_there_is_no_terminal():
    with fake_daemon(console(frame(OUTPUT, b"\x1b[2J\r"), frame(END, {"reason": "exit"}))) as fake:
        assert run("attach", "x", control=fake.control).stdout == "\x1b[2J\n"  # \r: universal newlines


def test_output_while_a_line_is_edited_is_printed_above_it():
    typed = threading.Event()

    def script(peer):
        peer.attach()
        peer.send(hello())
        peer.frame()
        peer.send(frame(PROMPT, b">>> "))
        assert typed.wait(PATIENCE)
        peer.send(frame(OUTPUT, b"one\ntwo\npart"))
        assert peer.frame() == (INPUT, 1, b"half a line\n")
        peer.send(frame(END, {"reason": "exit"}))

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact(">>> ")
        t.editing()
        t.send("half")
        t.expect_exact("half")
        typed.set()
        # The line goes, the output comes, and the line is there again behind what is unfinished.
        t.expect("\x1b\\[K\r*one\r\ntwo\r\n")
        t.expect_exact("part>>> half")
        t.line(" a line")
        assert t.wait() == DONE


def test_much_output_above_a_line_ends_where_it_ends():
    lines = b"".join(b"line %d\n" % i for i in range(200))

    def script(peer):
        peer.attach(framed=False)
        peer.send(lines + b"prompt> ")
        assert peer.sock.recv(100) == b"x\n"

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("line 199\r\nprompt> ")
        t.editing()
        t.send("x")
        t.expect_exact("x")
        assert t.pexpect.before == ""
        t.line("")
        assert t.wait() == DONE


def test_a_very_long_unfinished_line_gets_a_line_of_its_own():
    def script(peer):
        peer.attach(framed=False)
        peer.send(b"x" * 600)
        peer.sock.recv(100)

    with fake_daemon(script) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("x" * 600 + "\r\n")


def test_unfinished_output_stands_in_front_of_the_prompt():
    with fake_daemon(console(frame(OUTPUT, b"no end"), frame(PROMPT, b">>> "))) as fake, \
            terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("no end>>> ")


def test_a_prompt_of_several_lines_and_colours():
    prompt = frame(PROMPT, b"first\nsecond \x1b[32mgreen\x1b[2J> ")
    with fake_daemon(console(prompt)) as fake, terminal("attach", "x", control=fake.control) as t:
        t.expect_exact("first\r\n")
        t.expect_exact("second \x1b[32mgreen\\x1b[2J> ")


def test_input_and_output_larger_than_any_buffer_pass():
    text = "".join(f"line {i}\n" for i in range(200_000))

    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == OPEN
        while True:
            kind, _, payload = peer.frame()
            assert kind == INPUT
            if not payload:
                break
            peer.send(frame(OUTPUT, payload))
        peer.send(frame(END, {"reason": "eof"}))

    with fake_daemon(script) as fake:
        result = run("attach", "x", control=fake.control, input=text)
    assert result.returncode == DONE
    assert result.stdout == text


def test_a_full_disk_ends_a_console():
    with fake_daemon(console(frame(OUTPUT, b"x" * 10))) as fake, open("/dev/full", "w") as full:
        result = subprocess.run([MANHOLECTL, "attach", "x"], stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                                env=environment(MANHOLED_CONTROL=str(fake.control)))
    assert result.returncode == FAILED
    assert result.stderr.splitlines()[-1] == \
        "manholectl: cannot write to standard output: No space left on device"


def test_list_goes_on_when_it_is_to_watch():
    answers = [{"event": "list", "targets": [target(7), target(3)]}, {"event": "added", "target": target(5)},
               {"event": "overflow"}, {"event": "list", "targets": []}, {"event": "removed", "target": target(5)}]

    def script(peer):
        call = peer.call()
        assert call["method"] == "org.manholed.Broker.Watch" and call["more"] is True
        for answer in answers:
            peer.send(json.dumps({"parameters": answer, "continues": True}).encode() + b"\0")

    with fake_daemon(script) as fake:
        done = run("list", "--watch", control=fake.control)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:2] == ["EVENT", "PID"] and done.returncode == FAILED  # manholed went away
    assert [row[:2] for row in rows[1:] if row[0] != "Something"] == [
        ["listed", "3"], ["listed", "7"], ["added", "5"], ["removed", "5"]]
    with fake_daemon(script) as fake:
        done = run("list", "--watch", "--json=short", control=fake.control)
    assert [json.loads(line) for line in done.stdout.splitlines()] == answers
