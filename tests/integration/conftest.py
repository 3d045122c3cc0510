# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures that every integration test may use. What one part needs is in its own module."""
import os
import pathlib
import signal

import pytest

# Under nohup(1) every program that a test starts would ignore a hang-up too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def build():
    """The build folder, from tests/Makemodule.am or, when pytest is run by hand, build/."""
    return pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", "build")).resolve()
