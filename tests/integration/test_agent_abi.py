# SPDX-License-Identifier: BSD-2-Clause
"""The extension takes nothing from the interpreter that 3.8 does not have for good."""
import shutil
import subprocess

import pytest

from agentlib import *

EXTENSION = AGENT / "manhole" / "_agent.abi3.so"


def symbols(*options):
    if shutil.which("nm") is None:
        pytest.skip("needs nm(1)")
    out = subprocess.run(["nm", "-D", *options, EXTENSION], capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in out.stdout.splitlines()}


def allowed():
    text = (SOURCE / "agent" / "stable-abi-3.8.txt").read_text()
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_symbols_it_needs_are_in_the_stable_abi_of_3_8():
    used = {name for name in symbols("--undefined-only") if name.startswith(("Py", "_Py"))}
    assert used, "nm shows nothing"
    assert used - allowed() == set(), "see agent/stable-abi-3.8.txt before adding a symbol"


def test_list_holds_nothing_that_is_not_used():
    if "address" in os.environ.get("MANHOLED_SANITIZER", ""):
        pytest.skip("a sanitizer changes what is used")
    assert allowed() - symbols("--undefined-only") == set()


def test_extension_shows_its_initialiser_only():
    assert {s for s in symbols("--defined-only") if not s.startswith(("__", "_init", "_fini", "_edata", "_end"))} == {
        "PyInit__agent"
    }


def test_extension_needs_the_c_library_only():
    out = subprocess.run(["readelf", "-d", EXTENSION], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip("needs readelf(1)")
    needed = re.findall(r"NEEDED.*\[(.*)\]", out.stdout)
    ours = ("libc.", "ld-linux", "libasan", "libubsan", "libtsan")
    assert [library for library in needed if not library.startswith(ours)] == []
