# SPDX-License-Identifier: BSD-2-Clause
"""accept="root": the application's own user comes in through manholed, which records, and not without."""
import os
import shutil
import socket
import stat
import subprocess

import pytest

from daemonlib import *  # noqa: F403
from daemonlib import AGENT_CODE, Process
from agentlib import Plain, plain_host

REFUSED = r"It doesn't match ROOT\."


def strict_application(folder, uid=US):
    process = Process(AGENT_CODE.replace("verbose=False", "verbose=False, accept='root'"), folder, uid=uid)
    return process, folder / f"manhole-{process.pid}"


def answer_as(uid, path):
    """What a plain client of this user sees: the error, or the first bytes."""
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(10)\n"
        "try: s.connect(sys.argv[1]); print(s.recv(1000)[:20])\n"
        "except OSError as e: print(type(e).__name__)\n"
    )
    return subprocess.run(["/usr/bin/env", PYTHON, "-c", code, str(path)], capture_output=True, text=True,
                          timeout=TIMEOUT, cwd="/", **as_user(uid)).stdout.strip()


@needs_root
def test_own_user_is_refused_and_root_is_not():
    folder = place().folder()
    process, path = strict_application(folder, uid=ALICE)
    with process:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0
        assert answer_as(ALICE, path) == "PermissionError"
        assert answer_as(0, path).startswith(r"b'\n######### ")
        # Who gives the file a mode still meets the agent itself.
        os.chmod(path, 0o666)
        assert answer_as(ALICE, path) == "b''"
        assert answer_as(BOB, path) == "b''"
        assert answer_as(0, path).startswith(r"b'\n######### ")


@needs_root
def test_own_user_comes_in_through_manholed(daemon):
    process, path = strict_application(daemon.scan, uid=ALICE)
    with process:
        daemon.wait_state(process.pid, "live")
        assert daemon.listed(uid=ALICE)[process.pid]["state"] == "live"
        with daemon.attach(process.pid, uid=ALICE) as console:
            assert console.start().run("os.getuid()") == f"{ALICE}\n"
        with daemon.attach(process.pid, uid=ALICE, framed=True) as console:
            console.hello()
            assert console.exec("6 * 7")[0]["result"] == "42"
        assert daemon.refused(process.pid, uid=BOB) in ("NotAuthorized", "NoSuchTarget")
        assert daemon.events(event="start", target_pid=process.pid, client_uid=ALICE)


@needs_root
def test_own_user_comes_in_with_manholectl(daemon):
    manholectl = daemon.folder / "manholectl"
    shutil.copy2(BUILD / "cli" / "manholectl", manholectl)
    process, path = strict_application(daemon.scan, uid=ALICE)

    def run(*arguments):
        return subprocess.run([str(manholectl), f"--control={daemon.control}", *map(str, arguments)], text=True,
                              capture_output=True, timeout=TIMEOUT, cwd="/", input="", **as_user(ALICE))

    with process:
        daemon.wait_state(process.pid, "live")
        result = run("exec", process.pid, "print(6 * 7, os.getuid())")
        assert (result.returncode, result.stdout) == (0, f"42 {ALICE}\n"), result.stderr
        result = run("attach", "--direct", path)
        assert (result.returncode, result.stdout) == (4, "")
        assert result.stderr == f"manholectl: {path} is for root alone: go through manholed, without --direct\n"


@needs_root
def test_a_users_own_manholed_says_why_it_cannot():
    with Daemon(uid=ALICE) as daemon:
        process, path = strict_application(daemon.scan, uid=ALICE)
        with process:
            assert daemon.refused(process.pid, uid=ALICE) == "TargetGone"
            status = daemon.call(f"{BROKER}.Status", {"target": str(process.pid)}, uid=ALICE)[1]
            assert "is for root alone" in status["diagnosis"]


@needs_root
def test_other_applications_still_see_the_client_itself(daemon):
    with standin(daemon.scan, uid=ALICE) as peer:
        peer.do("listen()")
        daemon.wait_state(peer.pid, "live")
        with daemon.attach(peer.pid, uid=ALICE):
            peer.do("accept()")
            assert eval(peer.do("__import__('struct').unpack('3I', client.getsockopt(1, 17, 12))"))[1] == ALICE


def test_refusal_is_logged():
    if os.geteuid() != 0:
        with plain_host("accept='root'") as host:
            os.chmod(host.path, 0o600)
            with Plain(host.path) as client:
                assert client.wait_closed() == b""
            host.wait_err(rf"SuspiciousClient: Can't accept client with PID:{os.getpid()} .*{REFUSED}$")
        return
    with plain_host("accept='root'") as host:
        os.chmod(host.path, 0o666)
        assert answer_as(ALICE, host.path) == "b''"
        host.wait_err(rf"SuspiciousClient: Can't accept client with PID:\d+ UID:{ALICE} GID:{ALICE}\. {REFUSED}$")


def mode_with(variable, options=""):
    code = (
        "import os, sys, manhole; os.setgid(60101); os.setuid(60101) if os.geteuid() == 0 else None\n"
        f"path = sys.argv[1] + '/s'; manhole.install(socket_path=path, verbose=False{options})\n"
        "print(oct(os.stat(path).st_mode & 0o777))"
    )
    env = environment(PYTHONPATH=place().path / "python", **({} if variable is None else {"MANHOLE_ACCEPT": variable}))
    result = subprocess.run([PYTHON, "-c", code, str(place().folder())], capture_output=True, text=True,
                            timeout=TIMEOUT, env=env, cwd="/")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@needs_root
@pytest.mark.parametrize("variable, options, mode", [
    (None, "", "0o600"), ("user", "", "0o600"), ("", "", "0o600"), (None, ", accept='user'", "0o600"),
    (None, ", accept=None", "0o600"), (None, ", accept='root'", "0o0"), ("root", "", "0o0"),
    ("root", ", accept='user'", "0o0"), ("user", ", accept='root'", "0o0"), ("ROOT", "", "0o0"), ("1", "", "0o0"),
])
def test_environment_can_only_be_stricter(variable, options, mode):
    assert mode_with(variable, options) == mode


@needs_root
def test_dead_file_that_nobody_may_ask_is_replaced():
    folder = place().folder()
    os.chown(folder, ALICE, ALICE)
    path = folder / "s"
    code = (
        "import os, sys, manhole\n"
        "manhole.install(socket_path=sys.argv[1], verbose_destination=1, accept='root')\n"
        "print('READY', flush=True); sys.stdin.read()"
    )
    with socket.socket(socket.AF_UNIX) as old:
        os.fchmod(old.fileno(), 0)
        old.bind(str(path))
        os.chown(path, ALICE, ALICE)

        def install():
            return subprocess.run([PYTHON, "-c", code, str(path)], input="", capture_output=True, text=True, cwd="/",
                                  timeout=TIMEOUT, env=environment(PYTHONPATH=place().path / "python"), **as_user(ALICE))

        # While it is bound it is somebody's, and stays as it was.
        assert "Address already in use" in install().stdout
        assert stat.S_IMODE(os.stat(path).st_mode) == 0
    assert f"Manhole UDS path: {path}" in install().stdout
    assert not path.exists()


@pytest.mark.parametrize("value, error", [("7", "TypeError accept: "), ("'nobody'", "ValueError accept: ")])
def test_bad_values_are_refused(value, error):
    code = f"import manhole\ntry: manhole.install(accept={value})\nexcept Exception as e: print(type(e).__name__, e)"
    out = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, env=environment(), timeout=TIMEOUT)
    assert out.stdout.startswith(error), out
