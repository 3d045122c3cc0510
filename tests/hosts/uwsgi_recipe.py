# SPDX-License-Identifier: BSD-2-Clause
"""The uWSGI recipe of python-manhole's documentation: a worker whose PID is written to a file opens a
manhole when uWSGI's own signal tells it so."""
import os

import manhole
import uwsgi

stack_dump_file = os.environ["RECIPE_FILE"]
uwsgi_signal_number = 17

if not os.path.exists(stack_dump_file):
    open(stack_dump_file, "w").close()


def open_manhole(dummy_signum):
    with open(stack_dump_file) as fh:
        pid = fh.read().strip()
        if pid == str(os.getpid()):
            inst = manhole.install(strict=False, thread=False)
            inst.handle_oneshot(dummy_signum, dummy_signum)


uwsgi.register_signal(uwsgi_signal_number, "workers", open_manhole)
uwsgi.add_file_monitor(uwsgi_signal_number, stack_dump_file)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    yield b"OK"
