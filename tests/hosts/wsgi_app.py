# SPDX-License-Identifier: BSD-2-Clause
"""A WSGI application for servers that fork their workers. It installs the agent itself, in the master
where that is what imports it."""
import os

import manhole

manhole.install(reinstall_delay=0.1)


def application(environ, start_response):
    body = b"%d\n" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
