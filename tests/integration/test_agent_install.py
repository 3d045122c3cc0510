# SPDX-License-Identifier: BSD-2-Clause
"""manhole.install(): its options, what it refuses, and a socket that cannot be had."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from agentlib import *


def run(code, env=None, flags=()):
    """A program that runs to its end; what it printed, and its stderr."""
    result = subprocess.run(
        [PYTHON, *flags, "-c", code],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment() if env is None else env,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def refused(options):
    """The exception of install() with these options; nothing must be installed then."""
    out, err = run(
        "import manhole, os\n"
        f"try:\n    manhole.install({options})\n"
        "except Exception as e:\n    print(type(e).__name__, e)\n"
        "print(os.path.exists('/tmp/manhole-%d' % os.getpid()), len(os.listdir('/proc/self/task')))\n"
        "manhole.install(verbose=False)\n"
    )
    first, second = out.splitlines()
    assert second == "False 1"
    return first


since_3_7 = pytest.mark.skipif(target_version() < (3, 7), reason="3.6 has no names that come when they are asked for")


@pytest.mark.parametrize("options", [
    "verbose=True", "verbose=False", "verbose_destination=1", "strict=False", "patch_fork=False",
    "patch_fork=True", "activate_on=None", "oneshot_on=None", "activate_on='USR1', thread=True", "oneshot_on='USR2'", "thread=True", "thread=False",
    "sigmask=None", pytest.param("sigmask=manhole.ALL_SIGNALS", marks=since_3_7),
    "sigmask=[]", "sigmask=(10, 'USR2')", "socket_path=None", "reinstall_delay=0.1",
    "locals=None", "locals={}", "daemon_connection=True", "redirect_stderr=False",
    "connection_handler='repl'", "connection_handler='exec'", "connection_handler=print", "start_timeout=0.5", "True, 2, False",
])
def test_documented_options_are_accepted(options):
    run(f"import manhole; manhole.install({options}).release()")


@pytest.mark.parametrize("kind, name, value", [
    ("TypeError", "socket_path", "7"), ("ValueError", "socket_path", "''"),
    ("ValueError", "socket_path", "'/tmp/' + 'x' * 200"), ("TypeError", "socket_path", "'a\\0b'"),
    ("TypeError", "locals", "[]"), ("TypeError", "verbose_destination", "'file'"),
    ("ValueError", "verbose_destination", "-1"), ("ValueError", "verbose_destination", "2 ** 70"),
    ("TypeError", "reinstall_delay", "'x'"), ("ValueError", "reinstall_delay", "-1"),
    ("ValueError", "reinstall_delay", "float('nan')"), ("TypeError", "start_timeout", "None"),
    ("ValueError", "activate_on", "'NOPE'"), ("ValueError", "activate_on", "''"),
    ("ValueError", "activate_on", "0"), ("ValueError", "oneshot_on", "-1"), ("ValueError", "oneshot_on", "99"),
    ("ValueError", "oneshot_on", "'KILL'"), ("ValueError", "oneshot_on", "9"),
    ("ValueError", "oneshot_on", "2 ** 70"), ("TypeError", "oneshot_on", "1.5"),
    ("TypeError", "activate_on", "['USR1']"), ("TypeError", "sigmask", "1"), ("TypeError", "sigmask", "'USR1'"),
    ("TypeError", "sigmask", "[None]"), ("ValueError", "sigmask", "['NOPE']"), ("ValueError", "sigmask", "[65]"), ("TypeError", "connection_handler", "1"), ("ValueError", "connection_handler", "'x'"),
])
def test_bad_values_are_refused_by_name(kind, name, value):
    assert refused(f"{name}={value}").startswith(f"{kind} {name}: ")


def test_options_that_contradict_each_other_are_refused():
    assert refused("activate_on='USR1', oneshot_on='USR2'").startswith("ConfigurationConflict activate_on and ")


def test_refused_options_leave_what_was_installed():
    run(
        "import manhole, os, signal\n"
        "manhole.install(verbose=False)\n"
        "try: manhole.install(strict=False, oneshot_on='KILL')\n"
        "except ValueError: pass\n"
        "assert os.path.exists('/tmp/manhole-%d' % os.getpid())\n"
    )


def test_unknown_options_are_refused():
    assert refused("onshot_on='USR2'") == "TypeError install() got an unexpected option 'onshot_on'"


def test_second_installation_is_refused_unless_it_may_replace_the_first(tmp_path):
    run(
        "import manhole, os\n"
        "first = manhole.install(verbose=False)\n"
        "try: manhole.install()\n"
        "except manhole.AlreadyInstalled: pass\n"
        "else: raise SystemExit('not refused')\n"
        "path = '/tmp/manhole-%d' % os.getpid()\n"
        "assert os.path.exists(path)\n"
        f"second = manhole.install(strict=False, verbose=False, socket_path={str(tmp_path / 's')!r})\n"
        f"assert not os.path.exists(path) and os.path.exists({str(tmp_path / 's')!r})\n"
        f"first.release(); assert os.path.exists({str(tmp_path / 's')!r})\n"
        f"second.release(); assert not os.path.exists({str(tmp_path / 's')!r})\n"
        "manhole.install(verbose=False)\n"
    )


def test_release_leaves_open_consoles():
    with plain_host() as host, Plain(host.path).start() as client:
        host.do("handle.release()")
        assert not os.path.exists(host.path)
        assert client.run("1 + 1") == "2\n"
        client.send("exit()\n")
        client.wait_closed()
        wait_for(lambda: len(host.thread_names()) == 1, "the threads end")
        host.do("manhole.install()")
        with Plain(host.path).start() as again:
            assert again.run("1 + 1") == "2\n"


def test_a_console_may_reinstall():
    with plain_host() as host, Plain(host.path).start() as client:
        client.run("import manhole; h = manhole.install(strict=False, locals={'new': 1}, verbose=False)")
        with Plain(host.path).start() as other:
            assert other.run("new") == "1\n"
        assert client.run("1") == "1\n"


def test_exceptions_of_python_manhole_exist():
    run("import manhole; manhole.NotInstalled, manhole.ConfigurationConflict, manhole.SuspiciousClient")


def test_release_and_end_of_process_remove_the_socket(tmp_path):
    path = tmp_path / "socket"
    run(
        "import os, manhole\n"
        f"manhole.install(socket_path={str(path)!r}).release()\n"
        f"assert not os.path.exists({str(path)!r})\n"
        f"manhole.install(socket_path={str(path)!r})\n"
        f"assert os.path.exists({str(path)!r})\n"
    )
    assert not path.exists()


def test_relative_path_is_removed_after_chdir(tmp_path):
    run(f"import os, manhole; os.chdir({str(tmp_path)!r}); manhole.install(socket_path='s'); os.chdir('/')")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_ours_any_more_stays(tmp_path):
    path = tmp_path / "socket"
    run(
        "import os, manhole\n"
        f"manhole.install(socket_path={str(path)!r})\n"
        f"os.rename({str(path)!r}, {str(path) + '.moved'!r})\n"
        f"open({str(path)!r}, 'w').write('mine')\n"
    )
    assert path.read_text() == "mine"


def test_dead_socket_of_our_own_is_replaced(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with plain_host(f"socket_path={str(path)!r}") as host, Plain(path).start() as client:
        assert client.run("1") == "1\n"


def test_what_is_alive_or_no_socket_is_never_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with plain_host(f"socket_path={str(path)!r}") as host:
        host.wait_err(f"Failed to bind {path}: Address already in use")
        host.do("print('it goes on')")
    assert path.read_text() == "mine"

    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        with plain_host(f"socket_path={str(path)!r}") as host:
            host.wait_err(f"Failed to bind {path}: Address already in use")
            assert host.finish() == 0
        other.listen()
        with Client(path):
            pass


def test_dead_socket_of_another_user_is_left_alone(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    os.chown(path, 65534, 65534)
    with plain_host(f"socket_path={str(path)!r}") as host:
        host.wait_err(f"Failed to bind {path}: Address already in use")
    assert path.exists()


def test_missing_folder_stops_nothing(tmp_path):
    with plain_host(f"socket_path={str(tmp_path / 'no' / 's')!r}") as host:
        host.wait_err("Failed to bind .*: No such file or directory")
        assert "Manhole" not in host.thread_names()
        assert host.finish() == 0


def test_read_only_folder_stops_nothing(tmp_path):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to mount a read-only file system")
    code = "import manhole; manhole.install(); print('runs on')"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o ro none {tmp_path} && exec \"$@\"", "-",
         PYTHON, "-c", code.replace("install()", f"install(socket_path='{tmp_path}/s')")],
        capture_output=True, text=True, env=environment(), timeout=TIMEOUT,
    )
    if "mount:" in result.stderr:
        pytest.skip(f"cannot mount here: {result.stderr.strip()}")
    assert result.stdout == "runs on\n", result.stderr
    assert "Read-only file system" in result.stderr


def test_disabled_by_the_environment():
    out, err = run(
        "import manhole, os; h = manhole.install(); h.release()\n"
        "print(os.path.exists('/tmp/manhole-%d' % os.getpid()))\n"
        "try: manhole.install(unknown=1)\nexcept TypeError: print('checked')",
        env=environment(MANHOLE_DISABLE=1),
    )
    assert (out, err) == ("False\nchecked\n", "")


def test_log_goes_where_it_is_told(tmp_path):
    out, err = run("import manhole; manhole.install(verbose_destination=1)")
    assert "Manhole UDS path" in out and err == ""
    out, err = run("import manhole; manhole.install(verbose=False)")
    assert (out, err) == ("", "")
    out, err = run(
        "import io, manhole; log = io.StringIO(); manhole.install(verbose_destination=log)\n"
        "assert log.getvalue().count('\\n') == 3, log.getvalue(); print(log.getvalue())"
    )
    assert "Manhole UDS path" in out and "Waiting for new connection" in out and err == ""


def test_log_to_an_object_is_written_while_nobody_holds_the_gil():
    with plain_host("verbose_destination=type('D', (), {'write': lambda s, t: write_raw(t)})()") as host:
        with Plain(host.path).start():
            host.wait_out(r"Accepted connection on fd:\d+")


@since_3_7
@pytest.mark.parametrize("destination", [
    "99", "open('/dev/full', 'w')", "type('D', (), {'write': lambda s, t: 1 / 0})()",
    "type('D', (), {'write': None})()", "os.open('/dev/full', os.O_WRONLY)",
])
def test_log_that_cannot_be_written_raises_nothing(destination):
    out, err = run(
        "import os, manhole\n"
        f"manhole.install(verbose_destination={destination}); manhole._LOG('lost'); print('runs on')\n"
        "os.dup2(os.open('/dev/null', os.O_WRONLY), 2)\n"  # what a full file says when it is closed
    )
    assert (out, err) == ("runs on\n", "")


def test_log_that_nobody_reads_blocks_nothing():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    with subprocess.Popen(
        [PYTHON, "-c", "import manhole; manhole.install(); print('runs on')"],
        stdout=subprocess.PIPE, stderr=writer, env=environment(),
    ) as process:
        assert process.communicate(timeout=TIMEOUT)[0] == b"runs on\n"
    os.close(writer)
    os.close(reader)


def test_namesake_from_pypi_is_noticed(tmp_path):
    shutil.copytree(AGENT / "manhole", tmp_path / "manhole")
    (tmp_path / "manhole-1.8.1.dist-info").mkdir()
    out, err = run("import manhole; manhole.install()", env=environment(PYTHONPATH=tmp_path))
    assert "manhole-1.8.1.dist-info is installed in the same folder as manholed-agent" in err
    out, err = run("import manhole; manhole.install()")
    assert "dist-info" not in err


def test_import_and_install_stay_light():
    out, err = run(
        "import sys, manhole; manhole.install(verbose=False)\n"
        "print([m for m in ('socket', 'code', 'codeop', 'traceback', 'signal', 'threading') if m in sys.modules])",
        flags=("-S",),
    )
    assert out == "[]\n"


def test_idle_agent_wakes_for_nothing():
    with plain_host() as host:
        tid = host.wait_thread("Manhole")

        def switches():
            status = pathlib.Path(f"/proc/{host.pid}/task/{tid}/status").read_text()
            return [line for line in status.splitlines() if "ctxt_switches" in line]

        wait_for(lambda: "epoll" in pathlib.Path(f"/proc/{host.pid}/task/{tid}/wchan").read_text()
                 or pathlib.Path(f"/proc/{host.pid}/task/{tid}/syscall").read_text() != "running\n",
                 "the thread sleeps")
        before = switches()
        for n in range(200):
            host.do("pass")
        assert switches() == before
