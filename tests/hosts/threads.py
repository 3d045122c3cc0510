# SPDX-License-Identifier: BSD-2-Clause
"""Several threads that log under one lock."""
import logging
import os
import sys
import threading

import manhole

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(threadName)s %(message)s")
manhole.install(verbose=False)
os.write(1, b"READY\n")
stop = threading.Event()


def work():
    n = 0
    while not stop.wait(0.01):
        logging.info("%d", n)
        n += 1


workers = [threading.Thread(target=work, name=f"worker-{i}") for i in range(3)]
for worker in workers:
    worker.start()
sys.stdin.read()
stop.set()
for worker in workers:
    worker.join()
os.write(1, b"BYE\n")
