# SPDX-License-Identifier: BSD-2-Clause
"""Connects to a manhole: python -m manhole.cli PID. The program manhole-cli does the same in C."""
import argparse
import errno
import os
import re
import select
import signal
import socket
import sys
import time

TIMED_OUT = 5
RETRY = 0.01  # no event tells when a socket listens


def parse_pid(value):
    """1234 or /tmp/manhole-1234, as a number."""
    match = re.fullmatch(r"(?:/tmp/manhole-)?(\d+)", value, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError("PID must be in one of these forms: 1234 or /tmp/manhole-1234")
    return int(match.group(1))


def parse_signal(value):
    """A number, or a name with or without SIG, whatever the case; as a number."""
    numbers = sorted(int(s) for s in signal.Signals)
    if re.fullmatch(r"\d+", value, re.ASCII):
        if int(value) in numbers:
            return int(value)
        raise argparse.ArgumentTypeError(
            "Invalid signal number %s. Expected one of: %s" % (value, ", ".join(map(str, numbers)))
        )
    name = value.upper()
    for name in (name, "SIG" + name):
        if name in signal.Signals.__members__:
            return signal.Signals[name]
    raise argparse.ArgumentTypeError("Invalid signal name %r." % value)


def parse_timeout(value):
    seconds = float(value)
    if not 0 <= seconds <= 1e9:
        raise ValueError
    return seconds


def make_parser():
    parser = argparse.ArgumentParser(prog="manhole-cli", description="Connect to a manhole.")
    parser.add_argument(
        "pid", metavar="PID", type=parse_pid, help="A numerical process id, or a path in the form: /tmp/manhole-1234"
    )
    parser.add_argument(
        "-t", "--timeout", type=parse_timeout, default=1, help="Timeout to use. Default: %(default)s seconds."
    )
    group = parser.add_mutually_exclusive_group()
    for number, name in (("1", "USR1"), ("2", "USR2")):
        group.add_argument(
            "-" + number, "-" + name, dest="signal", action="store_const", const=signal.Signals["SIG" + name],
            help="Send %s (%d) to the process before connecting." % (name, signal.Signals["SIG" + name]),
        )
    group.add_argument(
        "-s", "--signal", type=parse_signal, help="Send the given SIGNAL to the process before connecting."
    )
    return parser


def connect(path, timeout):
    """A connected socket, or None when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            # connect() itself waits while the listener's queue is full.
            client.settimeout(max(deadline - time.monotonic(), RETRY))
            client.connect(path)
            client.settimeout(None)
            return client
        except OSError as error:
            client.close()
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, None):
                raise
            if time.monotonic() >= deadline:
                return None
        time.sleep(RETRY)


def send(client, data):
    try:
        if data:
            client.sendall(data)
        else:
            client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # nobody reads it; what was said before may still come


def relay(client, timeout):
    """Until the manhole ends; once the input has ended, at most @timeout without any output."""
    reading = True
    while True:
        ready, _, _ = select.select([client, sys.stdin.fileno()] if reading else [client], [], [], None if reading else timeout)
        if not ready:
            return TIMED_OUT
        if client in ready:
            try:
                data = client.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return 0
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif reading:
            data = os.read(sys.stdin.fileno(), 65536)
            reading = bool(data)
            send(client, data)


def main(arguments=None):
    options = make_parser().parse_args(arguments)
    path = "/tmp/manhole-%d" % options.pid
    try:
        os.kill(options.pid, options.signal or 0)
    except OSError as error:
        if options.signal or error.errno != errno.EPERM:
            print("manhole-cli: process %d: %s" % (options.pid, error.strerror), file=sys.stderr)
            return 1
    try:
        client = connect(path, options.timeout)
        if client is None:
            print("manhole-cli: timed out: nobody listens at %s" % path, file=sys.stderr)
            return TIMED_OUT
        with client:
            return relay(client, options.timeout)
    except OSError as error:
        print("manhole-cli: cannot connect to %s: %s" % (path, error.strerror), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
