# SPDX-License-Identifier: BSD-2-Clause
"""A Celery application: its workers fork, and put an object of their own in the place of sys.stdout."""
import os
import sys

from celery import Celery
from celery.signals import worker_process_init

import manhole

folder = os.environ["CELERY_FOLDER"]
app = Celery("app", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
    },
    worker_redirect_stdouts_level="WARNING",
)
manhole.install(verbose=False, reinstall_delay=0)


@worker_process_init.connect
def child_begins(**unused):
    os.write(2, f"CHILD {os.getpid()}\n".encode())


@app.task
def work(text):
    print("WORKED " + text)
    sys.stdout.flush()
