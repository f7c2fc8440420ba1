# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest

from lab import fixtures, planes

pytest_runtest_makereport = fixtures.remember_outcome
pytest_runtest_setup = fixtures.skip_after_failure


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plane", choices=planes.NAMES, default=os.environ.get("HAWSER_PLANE", "devmesh"))
    parser.addoption("--long", action="store_true", help="also what takes longer than the tier's time allows")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    """One scene for a module's tests, which run in order."""
    with fixtures.world(request, planes.make_plane(request.config.getoption("--plane"))) as made:
        yield made
