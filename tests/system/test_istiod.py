# SPDX-License-Identifier: Apache-2.0
"""A booted Debian with the package joins a mesh whose control plane nobody here wrote."""

from __future__ import annotations

import os

import pytest

from interop import istiod
from lab import facts, planes, poll, steps
from system import scene
from system.conftest import make_world

pytestmark = [
    pytest.mark.incremental,
    pytest.mark.skipif(
        not os.access(istiod.cache_dir() / "bin" / "pilot-discovery", os.X_OK),
        reason="tests/interop/build.sh hasn't run",
    ),
]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    with make_world(request, planes.make_plane("istiod")) as made:
        yield made


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_both_directions_are_in_the_mesh(world):
    steps.outbound(world)
    poll.until("both directions", lambda: scene.in_mesh(world), 20)


def test_it_comes_back_after_a_reboot(world):
    world.host.reboot()
    world.vm.ready(60)
    poll.until("both directions", lambda: scene.in_mesh(world), 30)
    world.assert_ssh_is_direct()


def test_leaves(world):
    world.vm.leave()
    rows = lambda: [row for row in world.plane.workloads() if row.address == facts.VM_IP]  # noqa: E731
    poll.until("it is withdrawn", lambda: not rows(), steps.WITHDRAW_TIMEOUT)
