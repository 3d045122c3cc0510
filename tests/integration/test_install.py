# SPDX-License-Identifier: BSD-2-Clause
"""make install puts things where systemd and Python look, and make uninstall takes them back."""
import os
import re
import subprocess

import pytest


def make(build, *argv):
    """Without the job server and the variables of the make that runs us."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    subprocess.run(["make", "-s", "-C", build, *argv], check=True, env=env, stdout=subprocess.DEVNULL)


@pytest.fixture
def installed(build, tmp_path):
    make(build, "install", f"DESTDIR={tmp_path}")
    return tmp_path


def names(folder):
    return {path.name for path in folder.rglob("*") if not path.is_dir()}


def test_all_parts_are_installed(installed):
    assert {"manholed", "manholed-priv", "manholectl", "manhole-cli",
            "manholed.service", "manholed.socket", "manholed-priv.service", "manholed-priv.socket",
            "manholed.catalog", "manhole.pth", "sitecustomize.py", "_agent.abi3.so",
            "manholectl.1", "manholed.8", "README.md"} <= names(installed)


def test_no_template_is_left_unfilled(installed):
    for unit in installed.rglob("manholed*.service"):
        exec_start, = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
        program = exec_start.removeprefix("ExecStart=").split()[0]
        assert os.access(f"{installed}{program}", os.X_OK), exec_start


def test_the_example_configuration_is_understood(build, installed, tmp_path):
    example, = [path for path in installed.rglob("manholed.conf") if "doc" in path.parts]
    for text in example.read_text(), re.sub(r"(?m)^#(?=[A-Z][A-Za-z]+=|\[)", "", example.read_text()):
        (tmp_path / "conf").write_text(text)
        subprocess.run([build / "daemon/manholed", f"--config={tmp_path}/conf", "--check-config"], check=True)


def test_uninstall_leaves_nothing_behind(build, installed):
    make(build, "uninstall", f"DESTDIR={installed}")
    assert names(installed) == set()
    prefix = re.search("(?m)^prefix = (.*)", (build / "Makefile").read_text()).group(1)
    above = [installed / prefix[1:], *(installed / prefix[1:]).parents]
    ours = [str(path) for path in installed.rglob("*") if "manhole" in path.name and path not in above]
    assert ours == []
