# SPDX-License-Identifier: Apache-2.0
"""Each hand-over again and again, where a generation is a unit, under a load of all kinds of which nothing is repeated."""

from __future__ import annotations

import dataclasses
import math

import pytest

from devmesh.plane import DevmeshPlane
from lab import echo, hand_overs
from system.conftest import make_world

pytestmark = pytest.mark.incremental
MIX = echo.Mix(http1=250, fresh=50, http2=200, streams=10, tcp=10)
KINDS = ("hot-restart", "side-by-side", "planned-cold")
OUTAGE_MS = 15_000  # it ends; how soon is for ./dev bench proxy to say


def options(kind: str) -> hand_overs.Options:
    # those that stay open ask again and again while nobody listens, and keep the next proxy from starting
    mix = dataclasses.replace(MIX, streams=1, tcp=1) if kind == "planned-cold" else MIX
    return hand_overs.Options(kind=kind, count=3, mix=mix, drain=1, leaves=3, steady=1.0)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    with make_world(request, DevmeshPlane(edit=echo.add_services)) as made:
        yield made


@pytest.fixture(scope="module")
def client(world):
    return world.host.beside("client")


def test_joins(world):
    hand_overs.join(world, options("side-by-side"))
    world.vm.ready()


@pytest.mark.parametrize("kind", KINDS)
def test_three_in_a_row(world, client, kind, record_property):
    before = len(world.vm.proxy_units())
    seen = hand_overs.Run(world, options(kind), print, client).run().document()
    for figure in ("requests", "failed", "by_kind", "why", "outage_ms", "to_live_ms", "p99_ms"):
        print(f"{kind}: {figure} {seen[figure]}")
        record_property(figure, seen[figure])
    assert seen["hand_overs"] == 3 and all(count["good"] > 0 for count in seen["by_kind"].values()), seen
    assert not hand_overs.verdict(seen, p99_ratio=math.inf, cold_outage_ms=OUTAGE_MS)
    assert (before, len(world.vm.proxy_units())) == (1, 1), world.vm.proxy_units()
    world.vm.ready()


def test_the_journal_has_each_generation_and_no_unit_failed(world):
    """Both families took turns, and each end was asked for."""
    told = world.host.journal("hawser-proxy-f*.service")
    for generation in ("f1e0", "f1e3", "f2e0"):
        assert f"hawser-proxy-{generation}" in told
    assert world.host.systemctl("--failed", "--no-legend", "--plain") == ""
