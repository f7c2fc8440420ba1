# SPDX-License-Identifier: Apache-2.0
"""What the conftest.py files of e2e and interop share: a World for a module, with its logs kept if a test failed."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import typing

import pytest

from lab import layout
from lab.plane import Plane
from lab.world import World

LOGS = layout.REPO / ".cache" / "test-logs"
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def remember_outcome(item: pytest.Item):
    """A pytest_runtest_makereport: notes on the module that one of its tests failed, and says where logs will be."""
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None:
        module.stash[FAILED] = True
        if "world" in getattr(item, "fixturenames", ()):
            report.sections.append(("Logs of all programs", str(_logs_of(module))))
    return report


def _logs_of(module: pytest.Collector) -> pathlib.Path:
    return LOGS / module.nodeid.replace("/", ".").removesuffix(".py")


@contextlib.contextmanager
def world(request: pytest.FixtureRequest, plane: Plane) -> typing.Iterator[World]:
    """For a module-scoped fixture. On failure the logs of all programs go to .cache/test-logs/<module>."""
    where = _logs_of(request.node)
    shutil.rmtree(where, ignore_errors=True)
    with World(plane, logs=where) as made:
        yield made
        if request.node.stash.get(FAILED, False):
            made.keep_logs()


def skip_after_failure(item: pytest.Item) -> None:
    """A pytest_runtest_setup: in a module marked `incremental` the tests after a failed one make no sense."""
    if item.get_closest_marker("incremental") and item.getparent(pytest.Module).stash.get(FAILED, False):
        pytest.skip("a test that this one builds on failed")
