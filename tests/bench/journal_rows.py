# SPDX-License-Identifier: BSD-2-Clause
"""The rows of sessions that are recorded in the journal. A program of its own: it starts a journald of
its own, which keeps all it is sent, where the machine's is not seen. Needs root."""
import contextlib
import functools
import json
import pathlib
import socket
import subprocess
import sys
import tempfile

import relay_rows
from benchlib import *
from relay_rows import N_BULK, Brokered, Relayed, broker, bulks, running, target, trips

JOURNALD = "/lib/systemd/systemd-journald"
JOURNAL = "/run/systemd/journal/socket"
SETTINGS = """[Journal]
Storage=volatile
RuntimeMaxUse=64M
RateLimitIntervalSec=0
RateLimitBurst=0
ReadKMsg=no
Audit=no
"""
DATA_MAX = 4000
SO_SNDBUFFORCE = 32


@contextlib.contextmanager
def journald():
    """In the mount and network namespace that unshare(1) has given us."""
    for folder in "/run/systemd", "/run/log":
        pathlib.Path(folder).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    for folder in "/run/systemd/journald.conf.d", "/run/systemd/journal", "/run/log/journal":
        pathlib.Path(folder).mkdir()
    pathlib.Path("/run/systemd/journald.conf.d/bench.conf").write_text(SETTINGS)
    # As systemd sets it for the whole machine.
    pathlib.Path("/proc/sys/net/unix/max_dgram_qlen").write_text("512")
    with running([JOURNALD], JOURNAL):
        yield


def field(name, value):
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def fields_of_a_record():
    """Those that manholed sent with its last record of output."""
    subprocess.run(["journalctl", "--sync"], check=True)
    out = subprocess.run(["journalctl", "-o", "json", "-n1", "MANHOLE_EVENT=output"], check=True, capture_output=True)
    return {k: v.encode() for k, v in json.loads(out.stdout).items() if isinstance(v, str) and not k.startswith("_")}


class Sends:
    """A loop that only sends the same bytes, in records of the same size."""

    def __init__(self, fields, data):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # As sd_journal_send(3) does.
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
        self.socket.connect(JOURNAL)
        rest = b"".join(field(k, v) for k, v in fields.items() if k != "MANHOLE_DATA")
        self.records = [rest + field("MANHOLE_DATA", data[n : n + DATA_MAX]) for n in range(0, len(data), DATA_MAX)]

    def reply(self):
        pass

    def bulk(self):
        for record in self.records:
            self.socket.send(record)

    def close(self):
        self.socket.close()


def settled(connect):
    """The same, when the journal has stored what it was sent: nobody pays for the one before."""
    class Settled(connect.func):
        def bulk(self):
            super().bulk()
            subprocess.run(["journalctl", "--sync"], check=True)

    return functools.partial(Settled, *connect.args)


def recorded():
    with tempfile.TemporaryDirectory() as folder, target(folder) as (pid, address), \
         broker("journal", folder) as (control, _):
        ours = functools.partial(Brokered, control, pid)
        row("round trip, record=journal", *trips(ours, lambda: Relayed(address)), "ms", 1e3, against="no relay")
        fields, data = fields_of_a_record(), bytearray()
        with contextlib.closing(Relayed(address)) as console:
            console.bulk(keep=data)
        for what, of_it in ("the same records", fields), ("their data and message", {"MESSAGE": fields["MESSAGE"]}):
            times = bulks(settled(ours), settled(functools.partial(Sends, of_it, data)))
            row("20 MB stored, record=journal", *([N_BULK / 1e6 / t for t in ts] for ts in times), "MB/s", better="higher",
                against=f"a loop that sends {what}")


def rows():
    """From another program."""
    subprocess.run(["unshare", "--mount", "--net", sys.executable, __file__], check=True)


if __name__ == "__main__":
    with journald():
        recorded()
        relay_rows.many("journal")
