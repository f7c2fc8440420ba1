# SPDX-License-Identifier: Apache-2.0
"""Of all suites: HAWSER_TESTS_UNTIL (Unix seconds) is when no test begins any more; the rest is skipped, and says so.

HAWSER_TESTS_FAILED is a file that is made when a test fails: whoever cuts a suite off knows by it.
"""

from __future__ import annotations

import os
import pathlib
import time

import pytest

UNTIL = float(os.environ.get("HAWSER_TESTS_UNTIL", "inf"))
FAILED = os.environ.get("HAWSER_TESTS_FAILED")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > UNTIL:
        pytest.skip("no time left (HAWSER_TESTS_UNTIL)")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if FAILED and report.failed:
        pathlib.Path(FAILED).touch()
