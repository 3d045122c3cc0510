# SPDX-License-Identifier: BSD-2-Clause
"""In uWSGI, which embeds Python and forks its workers by itself."""
import os
import pathlib
import shutil
import signal

import pytest

from agentlib import *

UWSGI = shutil.which("uwsgi-core") or shutil.which("uwsgi")

pytestmark = [
    pytest.mark.skipif(UWSGI is None or not pathlib.Path("/usr/lib/uwsgi/plugins/python3_plugin.so").exists(),
                       reason="needs uWSGI (Debian: apt install uwsgi-core uwsgi-plugin-python3)"),
    pytest.mark.skipif(os.path.dirname(PYTHON) != "/usr/bin", reason="uWSGI brings the system's interpreter"),
    pytest.mark.skipif("address" in os.environ.get("MANHOLED_SANITIZER", ""),
                       reason="libasan's allocator does not survive fork() beside other threads"),
]


class Uwsgi(Host):
    """A master with two workers, which answer requests on a socket in this folder."""

    def __init__(self, app, folder, *options, **env):
        self.http = folder / "http"
        super().__init__(
            "--plugin", "python3", "--master", "--processes", "2", "--http-socket", self.http, "--wsgi-file", HOSTS / app,
            *options, python=UWSGI, env=environment(**env), ready=None, cwd=folder,
        )
        self.wait_err(r"spawned uWSGI worker 2 ")
        self.workers = [int(re.search(r"pid: (\d+)", line).group(1)) for line in self.err if "spawned uWSGI worker" in line]

    def request(self):
        with Client(self.http) as client:
            client.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
            head, body = client.wait_closed().split(b"\r\n\r\n")
        assert b" 200 OK" in head
        return body

    def __exit__(self, *unused):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(TIMEOUT)
        super().__exit__(*unused)
        for worker in self.workers:
            pathlib.Path(f"/tmp/manhole-{worker}").unlink(missing_ok=True)


@pytest.mark.parametrize("options", [
    [], ["--py-call-osafterfork"], ["--enable-threads"], ["--enable-threads", "--py-call-osafterfork"],
    ["--enable-threads", "--lazy-apps"],
], ids=" ".join)
def test_workers_are_reached(options, tmp_path):
    with Uwsgi("wsgi_app.py", tmp_path, *options) as host:
        answered = host.request()
        for worker in host.workers:
            wait_for(lambda: is_listening(f"/tmp/manhole-{worker}"), "the worker listens")
            with Framed(f"/tmp/manhole-{worker}") as client:
                assert client.hello()["pid"] == worker
                # Between requests no Python code runs: there may be no stack.
                assert worker in [thread["native_id"] for thread in client.ask(STACKS)["threads"]]
            # Without --enable-threads uWSGI keeps the GIL whatever it does.
            if "--enable-threads" in options:
                with Plain(f"/tmp/manhole-{worker}").start() as client:
                    assert client.run("__import__('uwsgi').worker_id()") in ("1\n", "2\n")
                    assert client.run("os.getpid()") == f"{worker}\n"
        assert int(answered) in host.workers and int(host.request()) in host.workers


def test_recipe_of_the_documentation(tmp_path):
    trigger = tmp_path / "manhole-pid"
    with Uwsgi("uwsgi_recipe.py", tmp_path, RECIPE_FILE=trigger) as host:
        assert host.request() == b"OK"
        worker = host.workers[1]
        # One write alone: the monitor tells of each, and each opens a manhole.
        with open(trigger, "r+") as file:
            file.write(str(worker))
        wait_for(lambda: is_listening(f"/tmp/manhole-{worker}"), "the worker opens its manhole")
        with Plain(f"/tmp/manhole-{worker}").start() as client:
            assert client.run("os.getpid()") == f"{worker}\n"
            client.send("exit()\n")
            client.wait_closed()
        wait_for(lambda: not os.path.exists(f"/tmp/manhole-{worker}"), "the manhole is closed")
        assert not os.path.exists(f"/tmp/manhole-{host.workers[0]}")
        assert host.request() == b"OK"
