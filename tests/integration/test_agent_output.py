# SPDX-License-Identifier: BSD-2-Clause
"""Output: what reaches a client and when, and that the application never pays for a client."""
import fcntl
import json
import socket
import struct
import termios
import time

import pytest

from agentlib import *


def opened(host):
    client = Framed(host.path)
    client.hello()
    number = client.request(OPEN, "stacks=no\nbanner=no")
    client.until(PROMPT, number)
    return client, number


def test_text_without_a_newline_shows_while_code_runs_on(host):
    # Without stacks: else the I/O thread looks once more when they would be overdue.
    client, number = opened(host)
    with client:
        client.send(INPUT, number, "exec('print(\"half\", end=\"\")\\nwhile True: pass')\n")
        client.socket.settimeout(2)  # it takes 10 ms; nothing else sends it
        assert client.frame() == (OUTPUT, number, b"half")
        client.send(INTERRUPT, number)
        client.until(PROMPT, number)


def test_output_comes_in_the_order_in_which_it_was_written(host):
    with connect(host) as client:
        line = "exec('for i in range(3000): print(i); sys.stderr.write(f\"e{i}\\\\n\")')"
        assert client.run(line) == "".join(f"{i}\ne{i}\n" for i in range(3000))
        # Small pieces, one that is sent from where it is, and small ones again.
        text = client.run("print('a'); print('b' * 3_000_000); print('c' * 70_000, 'd'); print('e')")
        assert text == "a\n" + "b" * 3_000_000 + "\n" + "c" * 70_000 + " d\ne\n"


@pytest.mark.parametrize("character", ["a", "\N{SNOWMAN}", "\N{SNAKE}"])
def test_long_texts_arrive_whole(host, character):
    with connect(host) as client:
        assert client.run(f"print({character!r} * 1_000_000)") == character * 1_000_000 + "\n"
    client, number = opened(host)
    with client:
        client.send(INPUT, number, f"print({character!r} * 1_000_000)\n")
        output = client.until(PROMPT, number)[OUTPUT]
        assert output.decode() == character * 1_000_000 + "\n"


def test_copies_come_between_the_pieces_of_a_long_text(host):
    with connect(host) as client:
        client.send("exec('print(\"go\")\\nprint(\"x\" * 5_000_000)')\n")
        client.until(b"go\n")
        host.do("print('of the application')")
        # Between two pieces of a line: it is the application's, and keeps no order with the console's.
        assert client.until(b">>> ").replace(b"x", b"") == b"of the application\n\n>>> "


def unread(client, after=0):
    """How many bytes wait for the client."""
    time.sleep(after)  # twice the same: the other side waits, or has sent all
    return struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, b"1234"))[0]


def test_answer_that_comes_during_the_last_piece_is_sent(host):
    client, number = opened(host)
    with client, Framed(host.path) as other:
        other.hello()
        # With one of these lengths the last piece is what waits for the client.
        for n in range(1, 9):
            client.send(INPUT, number, f"exec('print(\"x\" * {n} * 262144, end=\"\")\\nwhile True: pass')\n")
            wait_for(lambda: 0 < unread(client) == unread(client, 0.01), "all it takes")
            client.send(HELLO, 1000 + n)
            other.ask(HELLO)  # by the same thread, which has had its turn with the first request then
            client.socket.settimeout(2)
            seen = {OUTPUT: b"", ANSWER: b""}
            while seen[ANSWER] == b"" or len(seen[OUTPUT]) < n * 262144:
                kind, _, payload = client.frame()
                seen[kind] += payload
            client.send(INTERRUPT, number)
            client.until(PROMPT, number)


@pytest.mark.parametrize("framed", [False, True])
def test_interrupt_of_a_long_text_tears_nothing(host, framed):
    line = "print('go'); print('\N{SNOWMAN}' * 10_000_000)\n"
    if framed:
        client, number = opened(host)
        with client:
            client.send(INPUT, number, line)
            wait_for(lambda: client.socket.recv(1 << 16, socket.MSG_PEEK).count(b"\x98\x83") > 1000, "much output")
            client.send(INTERRUPT, number)
            output = client.until(PROMPT, number)[OUTPUT].decode()
    else:
        with connect(host) as client:
            client.send(line)
            wait_for(lambda: client.socket.recv(1 << 16, socket.MSG_PEEK).count(b"\x98\x83") > 1000, "much output")
            client.send(b"\x03")
            output = client.until(b">>> ").decode()
            assert client.run("1 + 1") == "2\n"
    assert "KeyboardInterrupt" in output
    assert output.count("\N{SNOWMAN}") < 10_000_000


def test_client_that_shuts_its_reading_side_loses_its_session(host):
    with connect(host) as client, connect(host) as other:
        start = len(host.err)
        client.socket.shutdown(socket.SHUT_RD)
        client.send("print('x' * 20_000_000)\n")
        host.wait_err("Cleaned up", start)
        assert other.run("1") == "1\n"


def test_input_without_a_newline_loses_the_session_only(host):
    with connect(host) as other, connect(host) as client:
        with pytest.raises(OSError):
            while True:
                client.send(b"x" * 65536)
        host.wait_err("lost its session")
        assert other.run("1") == "1\n"
    host.do("print('still here')")


def test_each_byte_that_was_printed_is_copied_or_counted(host):
    client, number = opened(host)
    with client:
        # Three times as much as the socket and the queue hold; the client reads nothing meanwhile.
        host.do("import threading\n"
                "def chatter(name):\n"
                "    for i in range(20000): print(name * 100)\n"
                "threads = [threading.Thread(target=chatter, args=(n,)) for n in 'abc']\n"
                "for t in threads: t.start()\n"
                "for t in threads: t.join()\n"
                "print('the last')")
        copied = dropped = 0
        while copied + dropped < 3 * 20000 * 101 + len("the last\n"):
            kind, _, payload = client.frame()
            assert kind in (OUTPUT, DROPPED)
            if kind == DROPPED:
                dropped += json.loads(payload)["bytes"]
            else:
                copied += len(payload)
        assert copied + dropped == 3 * 20000 * 101 + len("the last\n")
        assert dropped > 0


def test_application_prints_on_while_clients_come_and_go_in_every_way(host):
    host.do("import threading\n"
            "stop, failed, counts = threading.Event(), [], {}\n"
            "def chatter(name):\n"
            "    n = 0\n"
            "    try:\n"
            "        while not stop.is_set(): print(name, n, 'x' * 100, file=sink); n += 1\n"
            "        counts[name] = n\n"
            "    except BaseException as e: failed.append(repr(e))\n"
            "sink = None\n"
            "threads = [threading.Thread(target=chatter, args=(n,)) for n in 'ab']\n"
            "sys.stdout, real = open('/dev/null', 'w'), sys.stdout\n"
            "for t in threads: t.start()\n")
    ways = [b"", b"print('x' * 1000000)\n", b"while True: print(1)\n\n", b"\0\xff\xfe\n", b"x" * 100000, b"exit()\n",
            b"input()\n", b"\x03"]
    for i in range(400):
        client = Plain(host.path)
        if i % 2:
            client.receive()
        client.socket.sendall(ways[i % len(ways)])
        client.close()
    host.do("stop.set()\nfor t in threads: t.join()\n"
            "write_raw('SAW %r %r' % (failed, all(n > 0 for n in counts.values()) and len(counts)))")
    assert host.wait_out("^SAW") == "SAW [] 2"
    host.do("sys.stdout = real")
    wait_for(lambda: len(host.threads()) <= 2, "the sessions end")
    with connect(host) as client:
        assert client.run("1 + 1") == "2\n"
