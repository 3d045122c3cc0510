# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once, in an order that nobody thought of. The order is random, its seed is not: a
failure comes again, as far as the scheduler lets it."""
import contextlib
import random
import socket
import struct

import pytest

from daemonlib import *  # noqa: F403

STEPS = 1200


class Storm:
    def __init__(self, daemon, seed):
        self.daemon, self.random = daemon, random.Random(seed)
        self.peers, self.clients = [], []
        self.stack = contextlib.ExitStack()

    def some(self, things):
        return self.random.choice(things) if things else None

    # ---------------------------------------------------------------- targets

    def new_peer(self):
        if len(self.peers) < 6:
            peer = self.stack.enter_context(standin(self.daemon.scan))
            peer.do("listen()")
            peer.do("server.setblocking(False)")
            self.peers.append(peer)

    def kill_peer(self):
        if len(self.peers) > 3:
            self.peers.pop(self.random.randrange(len(self.peers))).kill()

    def peer_acts(self):
        if peer := self.some(self.peers):
            accept = "accept() or client.setblocking(False)"
            peer.do(self.random.choice([accept, f"{accept} or hello()"] * 8 + [
                "hello()", "hello()", "client.sendall(b'text' * 10)", "client.close()",
                "client.sendall(b'x' * 300000)", "len(client.recv(100000))",
                "client.shutdown(socket.SHUT_WR)", "client.shutdown(socket.SHUT_RD)", "frame(129, 1, b'out')",
                "frame(133, 1, b'{}')", "frame(77, 1)", "client.sendall(b'\\0')", "clients.clear()",
            ]))

    def peer_breaks(self):
        if len(self.peers) > 3 and (peer := self.some(self.peers)):
            peer.do(self.random.choice(["server.close()", "os.unlink(path)"]))
            self.peers.remove(peer)

    def squat(self):
        if len(self.peers) > 3 and (peer := self.some(self.peers)):
            self.peers.remove(peer)
            path = self.daemon.scan / f"manhole-{peer.pid}"
            with contextlib.suppress(OSError):
                path.unlink()
                with socket.socket(socket.AF_UNIX) as s:
                    s.bind(str(path))
                    s.listen()

    # ---------------------------------------------------------------- clients

    def new_client(self):
        if len(self.clients) < 20:
            client = self.daemon.client()
            client.socket.setblocking(False)
            self.clients.append(client)

    def client_sends(self):
        client, peer = self.some(self.clients), self.some(self.peers)
        if client is None or peer is None:
            return
        attach = {"target": str(peer.pid), "framed": self.random.random() < 0.5}
        data = self.random.choice(4 * [
            client.encode(f"{BROKER}.Attach", attach, upgrade=True),
            client.encode(f"{BROKER}.Attach", attach, upgrade=True) + b"1+1\n",
        ] + [
            client.encode(f"{BROKER}.Attach", attach, upgrade=True, oneway=True),
            client.encode(f"{BROKER}.List") * 3, client.encode(f"{BROKER}.Status", {"target": str(peer.pid)}),
            client.encode(f"{BROKER}.List", oneway=True), b"bad\0", b'{"method":', b"\n" * 10000,
            struct.pack("<III", 4, 3, 1) + b"text", struct.pack("<III", 0, 4, 1), b"\0" * 12,
        ])
        with contextlib.suppress(OSError):
            client.socket.send(data)

    def client_reads(self):
        if client := self.some(self.clients):
            with contextlib.suppress(OSError):
                client.socket.recv(1 << 20)

    def client_half_closes(self):
        if client := self.some(self.clients):
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)

    def client_leaves(self):
        if self.clients:
            self.clients.pop(self.random.randrange(len(self.clients))).close()

    def reload(self):
        self.daemon.process.send_signal(signal.SIGHUP)

    def run(self):
        steps = [self.kill_peer, self.squat, self.reload, self.peer_breaks] + 4 * [self.new_peer] + 4 * [
            self.client_leaves, self.client_half_closes] + 8 * [self.new_client, self.client_reads] + 16 * [
            self.client_sends, self.peer_acts]
        for _ in range(3):
            self.new_peer()
        with self.stack:
            for _ in range(STEPS):
                self.random.choice(steps)()
            for client in self.clients:
                client.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_leaves_nothing_behind_and_its_record_is_whole(seed):
    with Daemon() as daemon:
        with daemon.no_leak():
            Storm(daemon, seed).run()
            assert daemon.serves()
        starts = [r["MANHOLE_SESSION"] for r in daemon.events(event="start")]
        for session in starts:
            daemon.ended(session)
        assert len(starts) == len(set(starts)) == len(daemon.events(event="end"))
        assert len(list(daemon.record.glob("*.cast"))) == len(starts) > 20
        wait_for(lambda: not daemon.listed() and not os.listdir(daemon.scan), "the removal of what is dead", timeout=10)
