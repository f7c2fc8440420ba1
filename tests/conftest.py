# SPDX-License-Identifier: Apache-2.0
"""Of all suites: HAWSER_TESTS_UNTIL (Unix seconds) is when no test begins any more; the rest is skipped, and says so."""

from __future__ import annotations

import os
import time

import pytest

UNTIL = float(os.environ.get("HAWSER_TESTS_UNTIL", "inf"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > UNTIL:
        pytest.skip("no time left (HAWSER_TESTS_UNTIL)")
