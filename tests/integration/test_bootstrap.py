# SPDX-License-Identifier: BSD-2-Clause
"""What ./bootstrap says and returns. That it brings a bare machine to a working one is tested in
fresh roots: tests/system/fresh-root."""
import os
import pathlib
import re
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ.get("MANHOLED_SRCDIR", pathlib.Path(__file__).parents[2])).resolve()


def bootstrap(*argv, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    return subprocess.run([SOURCE / "bootstrap", *argv], env={**env, **more}, text=True, cwd="/",
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


@pytest.mark.parametrize("argv", [[], ["dmeo"], ["demo", "check"], ["--no-instal", "demo"]])
def test_a_usage_error_exits_2(argv):
    result = bootstrap(*argv)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")


@pytest.fixture
def demo(build):
    if build != SOURCE / "build" or os.environ.get("MANHOLED_SANITIZER", "no") not in ("", "no"):
        pytest.skip("bootstrap builds in build/, and this is another build")
    return build


def test_the_demo_shows_a_target_a_console_and_its_record(demo):
    result = bootstrap("--no-install", "demo")
    assert result.returncode == 0, result.stderr
    pid = re.search(r"\$ manholectl attach (\d+)", result.stdout).group(1)
    assert re.search(rf"(?m)^ *{pid} .*http\.server", result.stdout)
    assert re.search(rf"(?m)^(>>> )*inside {pid}$", result.stdout)
    assert re.search(r'(?m)^\[[0-9.e-]+,"i",".*os\.getpid\(\)', result.stdout)
    assert not os.path.exists(f"/proc/{pid}")


def test_the_demo_fails_when_a_step_does(demo, tmp_path):
    # An application that never gets its agent is never listed.
    result = bootstrap("--no-install", "demo", MANHOLE_DISABLE="1")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "bootstrap: demo: manholed does not list the application"
