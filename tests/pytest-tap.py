# SPDX-License-Identifier: BSD-2-Clause
"""Runs pytest on the files named and prints TAP, so that one driver counts every suite.

A skipped test prints its reason; a file that cannot be collected is a failure.
"""
import re
import sys

import pytest


class Tap:
    def __init__(self):
        self.count = 0
        self.broken = []

    def pytest_addoption(self, parser):
        # Of the plugin that is left out, but asked for by pytest's own account of an assertion.
        parser.addoption("--verbose", dest="verbose", type=int, default=2)

    def line(self, ok, name, directive=""):
        self.count += 1
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}{directive}", flush=True)

    def pytest_runtest_logreport(self, report):
        name = re.sub(r"[#\n]", " ", report.nodeid.split("::", 1)[-1])
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.line(True, name, f" # SKIP {str(reason).removeprefix('Skipped: ')}")
        elif report.failed:
            self.line(False, f"{name} ({report.when})")
            for text in report.longreprtext.splitlines():
                print("#", text)
        elif report.when == "call":
            self.line(True, name)

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(False, f"{report.nodeid} cannot be collected")
            for text in report.longreprtext.splitlines():
                print("#", text)
        elif report.skipped:
            self.line(True, report.nodeid, f" # SKIP {report.longrepr[2]}")


def main():
    tap = Tap()
    status = pytest.main(["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:junitxml",
                          "--rootdir", ".", *sys.argv[1:]], plugins=[tap])
    print(f"1..{tap.count}")
    # TAP carries the verdicts; the exit status says only whether pytest itself worked.
    return 0 if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else int(status)


sys.exit(main())
