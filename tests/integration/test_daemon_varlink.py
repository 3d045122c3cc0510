# SPDX-License-Identifier: BSD-2-Clause
"""The control socket: Varlink as its specification says, and whatever else a client may send."""
import json
import os
import socket

import pytest

from daemonlib import *  # noqa: F403


@pytest.fixture(autouse=True)
def nothing_leaks(shared):
    """Whatever a client did: its descriptors are gone, and others are served."""
    with shared.no_leak():
        yield
        assert shared.serves()


def test_get_info_names_every_interface(shared):
    error, reply = shared.call(f"{SERVICE}.GetInfo")
    assert error is None
    assert set(reply) == {"vendor", "product", "version", "url", "interfaces"}
    assert set(reply["interfaces"]) == {"org.varlink.service", "org.manholed", "org.manholed.Broker"}


@pytest.mark.parametrize("name", ["org.varlink.service", "org.manholed", "org.manholed.Broker"])
def test_each_interface_describes_itself(shared, name):
    error, reply = shared.call(f"{SERVICE}.GetInterfaceDescription", {"interface": name})
    assert error is None
    lines = [line for line in reply["description"].splitlines() if line and not line.startswith("#")]
    assert lines[0] == f"interface {name}"


def test_parameters_may_be_null(shared):
    assert shared.call(f"{SERVICE}.GetInfo", more=None)[0] is None
    with shared.client() as client:
        client.send_raw(b'{"method":"org.varlink.service.GetInfo","parameters":null}\0')
        assert client.reply()[0] is None


@pytest.mark.parametrize("method, parameters, error, key, value", [
    ("org.example.Nothing.Do", {}, "InterfaceNotFound", "interface", "org.example.Nothing"),
    ("nonsense", {}, "InterfaceNotFound", "interface", "nonsense"),
    ("", {}, "InterfaceNotFound", "interface", ""),
    (f"{BROKER}.Nothing", {}, "MethodNotFound", "method", f"{BROKER}.Nothing"),
    (f"{SERVICE}.Nothing", {}, "MethodNotFound", "method", f"{SERVICE}.Nothing"),
    (f"{SERVICE}.GetInfo", {"a": 1}, "InvalidParameter", "parameter", "a"),
    (f"{SERVICE}.GetInterfaceDescription", {}, "InvalidParameter", "parameter", "interface"),
    (f"{SERVICE}.GetInterfaceDescription", {"interface": 1}, "InvalidParameter", "parameter", "interface"),
    (f"{SERVICE}.GetInterfaceDescription", {"interface": "org.x"}, "InterfaceNotFound", "interface", "org.x"),
    (f"{BROKER}.List", {"all": True}, "InvalidParameter", "parameter", "all"),
    (f"{BROKER}.Status", {}, "InvalidParameter", "parameter", "target"),
    (f"{BROKER}.Status", {"target": 1}, "InvalidParameter", "parameter", "target"),
    (f"{BROKER}.Status", {"target": None}, "InvalidParameter", "parameter", "target"),
])
def test_what_is_not_there_is_named(shared, method, parameters, error, key, value):
    assert shared.call(method, parameters) == (f"{SERVICE}.{error}", {key: value})


@pytest.mark.parametrize("parameters, key", [
    ({}, "target"), ({"target": 1}, "target"), ({"target": "1", "framed": "yes"}, "framed"),
    ({"target": "1", "framed": 1}, "framed"), ({"target": "1", "reason": 5}, "reason"),
    ({"target": "1", "nothing": 5}, "nothing"),
])
def test_attach_refuses_parameters_of_the_wrong_type(shared, parameters, key):
    error, reply = shared.call(f"{BROKER}.Attach", parameters, upgrade=True)
    assert (error, reply) == (f"{SERVICE}.InvalidParameter", {"parameter": key})


def test_attach_wants_upgrade(shared):
    assert shared.call(f"{BROKER}.Attach", {"target": "1"}) == (f"{SERVICE}.ExpectedUpgrade", {})


@pytest.mark.parametrize("target", ["1", "999999999", "4194304", "", "-5", "0", "/nowhere", "no-such-name", "é" * 300,
                                    "\x1b[31m", "x" * 60000])
def test_an_unknown_target_is_no_such_target(shared, target):
    error, reply = shared.call(f"{BROKER}.Status", {"target": target})
    assert error == f"{ERROR}.NoSuchTarget"
    assert reply["reason"] and "\x1b" not in reply["reason"]
    assert shared.refused(target) == "NoSuchTarget"


def test_a_oneway_call_has_no_reply(shared):
    with shared.client() as client:
        client.send(f"{SERVICE}.GetInfo", oneway=True)
        client.send(f"{BROKER}.List", oneway=True)
        client.send("org.example.Nothing.Do", oneway=True)
        error, reply = client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": "org.manholed"})
        assert error is None and "description" in reply


def test_pipelined_calls_are_answered_in_order(shared):
    names = [f"org.example.I{i}" for i in range(200)]
    with shared.client() as client:
        client.send_raw(b"".join(client.encode(f"{name}.Do") for name in names))
        assert [client.reply()[1]["interface"] for _ in names] == names


def test_who_closes_its_side_still_gets_every_answer(shared):
    with shared.client() as client:
        client.send_raw(client.encode(f"{SERVICE}.GetInfo") * 20 + client.encode(f"{BROKER}.List"))
        client.socket.shutdown(socket.SHUT_WR)
        replies = [client.reply() for _ in range(21)]
        assert all(reply is not None and reply[0] is None for reply in replies)
        assert "targets" in replies[-1][1]
        assert client.at_end()


def test_a_call_may_come_byte_by_byte(shared):
    with shared.client() as client:
        for byte in client.encode(f"{SERVICE}.GetInfo"):
            client.send_raw(bytes([byte]))
        assert client.reply()[0] is None


DEEP = b"[" * 30000


@pytest.mark.parametrize("data", [
    b"hello\0", b"\0", b"{\0", b"[]\0", b"1\0", b'"text"\0', b"null\0", b"{}\0", b'{"method":1}\0',
    b'{"method":"a.b","method":"c.d"}\0', b'{"method":"a.b","parameters":[]}\0',
    b'{"method":"a.b","oneway":"yes"}\0', b'{"method":"a\\u0000.b"}\0', b'{"method":"\xff.b"}\0',
    b'{"method":"a.b"} x\0', DEEP + b"\0", b'{"a":' * 10000 + b"\0", b"\x00" * 65536,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\0",
], ids=range(19))
def test_what_is_no_call_ends_the_connection_with_an_error(shared, data):
    with shared.client() as client:
        client.send_raw(data)
        error, reply = client.reply()
        assert error == f"{ERROR}.BadMessage" and reply["reason"]
        assert client.at_end()


def test_only_calls_before_a_bad_one_are_answered(shared):
    with shared.client() as client:
        call = client.encode(f"{SERVICE}.GetInfo")
        client.send_raw(call + b"bad\0" + call)
        assert client.reply()[0] is None
        assert client.reply()[0] == f"{ERROR}.BadMessage"
        assert client.at_end()


def call_of_length(n):
    head, tail = b'{"method":"org.varlink.service.GetInfo","x":"', b'"}\0'
    return head + b"x" * (n - len(head) - len(tail)) + tail


def test_a_message_of_64_kib_is_taken(shared):
    with shared.client() as client:
        client.send_raw(call_of_length(65536) * 2)
        assert client.reply()[0] is None
        assert client.reply()[0] is None


def test_a_longer_message_is_refused(shared):
    with shared.client() as client:
        client.send_raw(call_of_length(65537))
        assert client.reply()[0] == f"{ERROR}.BadMessage"
        assert client.at_end()


@pytest.mark.parametrize("byte", [b"x", b"[", b"\0"])
def test_64_mb_cost_the_daemon_nothing(shared, byte):
    before = shared.resident()
    with shared.client() as client:
        try:
            for _ in range(64):
                client.send_raw(byte * (1 << 20))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.reply()[0] == f"{ERROR}.BadMessage"
        assert client.at_end()
    assert shared.resident() - before < 1 << 20


def test_half_a_message_then_the_end(shared):
    with shared.client() as client:
        client.send_raw(b'{"method":"org.var')
    with shared.client() as client:
        client.send_raw(b'{"method":"org.var')
        client.socket.shutdown(socket.SHUT_WR)
        assert client.at_end()


def test_a_client_that_leaves_before_its_answer(shared):
    for _ in range(100):
        with shared.client() as client:
            client.send(f"{BROKER}.List")


def test_a_client_that_never_reads_costs_bounded_memory(shared):
    before = shared.resident()
    client = shared.client()
    call = client.encode(f"{SERVICE}.GetInterfaceDescription", {"interface": BROKER})
    client.socket.setblocking(False)
    sent = 0
    # Until the daemon takes no more: what it took it has to answer.
    while sent < 32 << 20:
        try:
            sent += client.socket.send(call * 1000)
        except BlockingIOError:
            quiet = shared.descriptors()  # a turn for the daemon: it answers others meanwhile
            assert shared.serves() and quiet
            try:
                sent += client.socket.send(call * 1000)
            except BlockingIOError:
                break
    assert sent < 8 << 20
    assert shared.resident() - before < 4 << 20
    client.close()


def test_descriptors_that_are_passed_along_are_closed(shared):
    ours, theirs = os.pipe()
    with shared.client() as client:
        client.send_fds(client.encode(f"{SERVICE}.GetInfo"), [theirs] * 50)
        os.close(theirs)
        assert client.reply()[0] is None
        # Nobody holds the writing end any more.
        assert os.read(ours, 1) == b""
    os.close(ours)


def test_a_client_without_a_word_disturbs_nobody(shared):
    clients = [shared.client() for _ in range(50)]
    assert shared.serves()
    for client in clients:
        client.close()


def test_replies_are_json_with_one_nul(shared):
    with shared.client() as client:
        client.send(f"{BROKER}.List")
        assert "targets" in json.loads(json.dumps(client.reply()[1]))
        client.send(f"{SERVICE}.GetInfo")
        assert client.reply()[1]["product"] == "manholed"
        assert client.buffer == b""
