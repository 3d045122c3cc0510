# SPDX-License-Identifier: BSD-2-Clause
"""An application that counts signals: by handlers, and those of its argument's kind from a signalfd."""
import ctypes
import os
import signal
import struct
import sys

import manhole

manhole.install(verbose=False)
if "signalfd" in sys.argv:
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    mask = struct.pack("Q", 1 << (signal.SIGUSR1 - 1)).ljust(128, b"\0")
    fd = libc.signalfd(-1, mask, 0)
    os.write(1, b"READY\n")
    while True:
        number = struct.unpack_from("I", os.read(fd, 128))[0]
        os.write(1, b"SIGNAL %d\n" % number)
else:
    signal.signal(signal.SIGUSR1, lambda number, frame: os.write(1, b"SIGNAL %d\n" % number))
    os.write(1, b"READY\n")
    while True:
        signal.pause()
