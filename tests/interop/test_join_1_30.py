# SPDX-License-Identifier: Apache-2.0
"""The same story with the istiod of the line before: everything that depends on what the plane sends and answers."""

from __future__ import annotations

import os

import pytest

from interop.istiod import IstiodPlane, cache_dir
from lab import fixtures, steps

PROGRAM = cache_dir() / "bin" / "pilot-discovery-1.30"
pytestmark = [
    pytest.mark.incremental,
    # Four more minutes of compiling, so it isn't part of the tier's own build.
    pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="run tests/interop/build.sh --with-1.30"),
]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    plane = IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"}, version="1.30", for_upstream_envoy=False)
    with fixtures.world(request, plane) as made:
        yield made


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_an_ordinary_client_reaches_reviews(world):
    steps.outbound(world)


def test_reviews_calls_the_vm_and_others_are_refused(world):
    steps.inbound(world)


def test_the_control_plane_may_go_away(world):
    steps.outage(world)


def test_leaves_without_a_trace(world):
    steps.leave(world)
