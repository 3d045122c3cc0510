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


def import_error(python, folder):
    result = subprocess.run([python, "-c", "import manhole"], capture_output=True, text=True, timeout=TIMEOUT,
                            env=environment(PYTHONPATH=folder, LD_PRELOAD=None))
    assert result.returncode == 1
    return result.stderr.splitlines()[-1]


def test_interpreter_that_does_not_load_the_extension_says_what_is_needed(tmp_path):
    """As free-threaded builds, which do not look for .abi3.so."""
    shutil.copytree(AGENT / "manhole", tmp_path / "manhole", ignore=shutil.ignore_patterns("*.so"))
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True).stdout.split()[1]
    error = import_error(PYTHON, tmp_path)
    assert error.startswith("ImportError: manhole's agent needs CPython with a GIL") and version in error


def test_pypy_is_told_what_is_needed():
    if shutil.which("pypy3") is None:
        pytest.skip("needs PyPy (Debian: apt install pypy3)")
    error = import_error("pypy3", AGENT)
    assert error.startswith("ImportError: manhole's agent needs CPython with a GIL") and "PyPy" in error


@pytest.mark.parametrize("pretend", [
    "import platform; platform.python_implementation = lambda: 'PyPy'",
    "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1",
], ids=["pypy", "free-threaded"])
def test_build_is_refused_where_it_would_not_load(pretend):
    result = subprocess.run(
        [INTERPRETER, "-c", f"{pretend}\nimport runpy; runpy.run_path('setup.py', run_name='__main__')"],
        cwd=SOURCE / "agent", capture_output=True, text=True, timeout=TIMEOUT,
    )
    assert result.returncode == 1 and result.stderr.startswith("manholed-agent is "), result.stderr


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
