# SPDX-License-Identifier: BSD-2-Clause
"""Processes in namespaces of their own: found, named by the pid that we know them by, entered, and left
alone otherwise."""
import pytest

import daemonlib
from daemonlib import *  # noqa: F403
from test_daemon_watch import Watching

SETUP = 'mount -t tmpfs -o mode=1777 tmpfs /tmp && exec "$@"'
NEW_PIDS = "--pid", "--fork", "--kill-child"


def unshare_works(*options):
    return subprocess.run(["unshare", "--mount", *NEW_PIDS, *options, "sh", "-c", SETUP.replace('exec "$@"', "true")],
                          capture_output=True).returncode == 0


pytestmark = [pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is missing"),
              pytest.mark.skipif(bool(shutil.which("unshare")) and not unshare_works(*([] if ROOT else ["-r"])),
                                 reason="no mount namespace can be made here")]


class Contained(Process):
    """A stand-in, or another Python program, in a container with a /tmp of its own."""

    def __init__(self, *options, code=daemonlib.STANDIN_CODE, setup=SETUP, uid=US, folder="/tmp"):
        options = [*options, *([] if ROOT and uid == US else ["--user", "--map-root-user"])]
        super().__init__(code, folder, uid=uid,
                         prefix=["unshare", "--mount", *options, "sh", "-c", setup, "-"])
        self.outer = self.pid
        if "--fork" in options:
            children = pathlib.Path(f"/proc/{self.outer}/task/{self.outer}/children").read_text().split()
            self.pid, = map(int, children)

    @property
    def folder(self):
        return f"/proc/{self.pid}/root/tmp"


@pytest.fixture(autouse=True)
def nothing_leaks(daemon):
    with daemon.no_leak():
        yield
        assert daemon.serves()


def test_a_container_s_process_is_listed_and_entered(daemon):
    with Contained(*NEW_PIDS, code=daemonlib.AGENT_CODE) as process:
        listed = daemon.listed(folder=process.folder)[process.pid]
        assert listed["nspid"] == 1 and listed["state"] == "live"
        assert listed["socket"] == f"/proc/{process.pid}/root/tmp/manhole-1"
        assert listed["agent"] == "native" and listed["uid"] == US
        with daemon.attach(process.pid, framed=True) as console:
            console.hello()
            assert console.exec(b"print(__import__('os').getpid())")[1] == "1\n"
        error, _ = daemon.call(f"{BROKER}.Status", {"target": "1"})
        assert error is not None or ROOT  # 1 is another process here


def test_a_container_s_process_is_found_without_a_question(daemon):
    """Once the folder is known inotify tells of it."""
    with Contained(*NEW_PIDS) as process:
        daemon.listed()
        with Watching(daemon, folder=process.folder) as watching:
            assert process.do("listen()") == "None"
            assert watching.until("added", process.pid)["nspid"] == 1
            assert process.do("os.unlink(path)") == "None"
            watching.until("removed", process.pid)


def test_a_container_can_unmount_its_tmp(daemon):
    with Contained(*NEW_PIDS) as process:
        assert process.do("listen()") == "None"
        assert process.pid in daemon.listed(folder=process.folder)
        with Watching(daemon, folder=process.folder) as watching:
            assert process.do("(os.unlink(path), server.close()) and None") == "None"
            watching.until("removed", process.pid)
        # It is open for a moment while somebody looks into it.
        wait_for(lambda: process.do("os.system('umount /tmp 2>/dev/null')") == "0", "the unmounting")


def test_what_a_killed_process_leaves_in_a_container_is_removed(daemon):
    """And until then the container can do what it wants with its /tmp."""
    with Contained(*NEW_PIDS) as process:
        inner = int(process.do("os.fork() or (globals().update(path=f'/tmp/manhole-{os.getpid()}', server=socket.socket(socket.AF_UNIX)), listen(), "
                               "__import__('signal').pause())"))
        target, = wait_for(lambda: children(daemon, process), "the child")
        assert target["nspid"] == inner
        os.kill(target["pid"], signal.SIGKILL)
        assert process.do(f"os.waitpid({inner}, 0)[0]") == str(inner)
        wait_for(lambda: process.do("os.listdir('/tmp')") == "[]", "its removal")
        wait_for(lambda: not children(daemon, process), "it is listed no more")
        # Another broker of this machine, of another test, may have been quicker.
        assert all(r["MANHOLE_REMOVED"] == "yes" for r in daemon.events(event="stale", target_pid=target["pid"]))
        # It is open for a moment while somebody looks into it.
        wait_for(lambda: process.do("os.system('umount /tmp 2>/dev/null')") == "0", "the unmounting")


def all_targets(daemon):
    return daemon.call(f"{BROKER}.List")[1]["targets"]


def children(daemon, process):
    """Targets that the process has forked: there may be other containers on the machine."""
    pids = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [t for t in all_targets(daemon) if str(t["pid"]) in pids]


def test_both_paths_of_a_service_s_own_tmp_are_one_target(daemon):
    private = daemon.scan / "systemd-private-abc"
    (private / "tmp").mkdir(parents=True)
    (private / "tmp").chmod(0o1777)
    private.chmod(0o700)
    with Contained(setup=f'mount --bind {private}/tmp /tmp && exec "$@"') as process:
        assert process.do("listen()") == "None"
        for _ in range(3):
            found = [t for t in all_targets(daemon) if t["pid"] == process.pid]
            assert len(found) == 1 and "nspid" not in found[0]
        if ROOT:
            assert found[0]["socket"] == f"{private}/tmp/manhole-{process.pid}"
    shutil.rmtree(private)
    assert daemon.listed() == {}


def test_a_link_in_a_root_folder_leads_nowhere(daemon):
    """It would lead to a folder of ours."""
    victims, jail = place().folder(), place().folder(0o755)
    (jail / "tmp").symlink_to(victims)
    with standin(victims) as victim, Contained() as process:
        assert victim.do("listen()") == "None"
        assert process.do(f"os.chroot('{jail}')") == "None"
        before = len(all_targets(daemon))
        assert before == len([t for t in all_targets(daemon) if t["pid"] not in (victim.pid, process.pid)])


def test_a_squatter_in_a_container_is_untrusted(daemon):
    """One that binds the name of a process that has another socket, or none."""
    with Contained(*NEW_PIDS) as process:
        other = int(process.do("os.fork() or __import__('signal').pause()"))
        assert process.do(f"globals().update(path='/tmp/manhole-{other}')") == "None"
        assert process.do("listen()") == "None"
        target, = wait_for(lambda: children(daemon, process), "the squatter's victim")
        assert target["nspid"] == other
        assert daemon.refused(target["pid"]) == "TargetUntrusted"
        assert daemon.events(event="denied", target_pid=target["pid"])


@needs_root
def test_a_user_s_own_container_is_the_user_s(daemon):
    if not unshare_works("--user", "--map-root-user"):
        pytest.skip("no user namespace can be made here")
    with Contained(*NEW_PIDS, uid=ALICE) as process:
        assert process.do("listen()") == "None"
        listed = daemon.listed(ALICE, folder=process.folder)[process.pid]
        assert listed["uid"] == ALICE and listed["nspid"] == 1 and listed["state"] == "live"
        assert daemon.listed(BOB, folder=process.folder) == {}
        with daemon.attach(process.pid, ALICE):
            assert process.do("accept()") == "None"
        assert daemon.refused(process.pid, BOB) == "NotAuthorized"


def test_a_container_that_ends_is_forgotten(daemon):
    with Contained(*NEW_PIDS) as process:
        assert process.do("listen()") == "None"
        folder = process.folder
        assert process.pid in daemon.listed(folder=folder)
        with Watching(daemon, folder=folder) as watching:
            process.kill()
            watching.until("removed", process.pid)
        assert daemon.listed(folder=folder) == {}
