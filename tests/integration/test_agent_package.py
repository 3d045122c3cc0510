# SPDX-License-Identifier: BSD-2-Clause
"""pip install ./agent, and what make install puts where."""
import shutil
import subprocess
import sys

import pytest

from agentlib import *

INTERPRETER = os.environ.get("MANHOLED_PYTHON", sys.executable)


def test_pip_builds_and_installs_the_agent(tmp_path):
    if "address" in os.environ.get("MANHOLED_SANITIZER", ""):
        pytest.skip("pip's build is not instrumented")
    venv = tmp_path / "venv"
    made = subprocess.run([INTERPRETER, "-m", "venv", "--system-site-packages", venv],
                          capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no virtual environment can be made: {made.stdout}{made.stderr}")
    python = venv / "bin" / "python"
    probe = subprocess.run([python, "-c", "import setuptools, wheel"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("needs setuptools and wheel (Debian: apt install python3-setuptools python3-wheel)")
    # A copy: pip builds where the sources are.
    tree = tmp_path / "tree"
    for folder in "agent", "lib":
        shutil.copytree(SOURCE / folder, tree / folder, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--no-build-isolation", "--no-index", "--no-deps", tree / "agent"],
        capture_output=True, text=True, env=environment(PYTHONPATH=None), timeout=300,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "manholed-agent" in installed.stdout

    files = subprocess.run([python, "-m", "pip", "show", "-f", "manholed-agent"],
                           capture_output=True, text=True).stdout
    for name in ("manhole.pth", "manhole/_agent.abi3.so", "manhole/__init__.pyi", "manhole/py.typed"):
        assert f"  {name}\n" in files, files

    with Host("-c", "print('READY', flush=True); input()", python=python,
              env=environment(PYTHONPATH=None, PYTHONMANHOLE="")) as host:
        with Plain(host.path).start() as client:
            assert client.run("6 * 7") == "42\n"


def test_make_install_and_uninstall_leave_nothing(tmp_path):
    if shutil.which("make") is None or not (BUILD / "Makefile").exists():
        pytest.skip("needs the build folder and make(1)")
    site = "/site/packages"

    def make(target):
        result = subprocess.run(
            ["make", "-C", BUILD, target, f"DESTDIR={tmp_path}", f"pythondir={site}"],
            capture_output=True, text=True,
            env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")},
        )
        assert result.returncode == 0, result.stdout + result.stderr

    make("install-agent")
    twins = [p for p in tmp_path.rglob("sitecustomize.py")]
    assert len(twins) == 1 and twins[0].parent.match("lib/manhole/python")
    names = {p.relative_to(tmp_path / site[1:]).as_posix() for p in (tmp_path / site[1:]).rglob("*")}
    assert names == {
        "manhole.pth", "manhole", "manhole/__init__.py", "manhole/__init__.pyi", "manhole/_agent.abi3.so",
        "manhole/_complete.py", "manhole/_environment.py", "manhole/_handlers.py", "manhole/_threads.py",
        "manhole/cli.py", "manhole/cli.pyi", "manhole/py.typed",
    }
    result = subprocess.run(
        [PYTHON, "-c", "import manhole; manhole.install(verbose=False); print(manhole.__file__)"],
        capture_output=True, text=True, timeout=TIMEOUT,
        env=environment(PYTHONPATH=twins[0].parent, PYTHONMANHOLE="verbose=False, thread=False, strict=False",
                        PYTHONDONTWRITEBYTECODE=None),
    )
    assert "AlreadyInstalled" in result.stderr, "sitecustomize of the twin has acted"
    assert list(tmp_path.rglob("*.pyc")) != []
    make("uninstall-agent")
    # Folders that the prefix itself lies in may bear our name.
    prefix = twins[0].parents[3]
    assert [p for p in tmp_path.rglob("*")
            if not p.is_dir() or ("manhole" in p.name and p != prefix and p not in prefix.parents)] == []
