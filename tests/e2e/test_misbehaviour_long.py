# SPDX-License-Identifier: Apache-2.0
"""Silence of the control plane that lasts as long as a host may need to notice it. Only with --long (2 minutes)."""

from __future__ import annotations

import time
import typing

import pytest

from lab import misbehaving, poll

pytestmark = pytest.mark.long

NOTICE = 20  # a silent peer is noticed within
FIRST_ANSWER = 30  # a plane that takes requests and never answers
SLACK = 4  # of a busy machine


@pytest.fixture(scope="module")
def scene(world) -> typing.Iterator[misbehaving.Scene]:
    with misbehaving.joined(world) as made:
        yield made


def test_a_plane_that_says_nothing_to_what_is_current_counts_as_connected(scene):
    """It takes TLS, HTTP/2 and the requests. A plane may be silent when a host has all that there is (go-control-plane is), and
    this host does: so nobody can tell that this one is mute."""
    with scene.misbehaving(seconds=FIRST_ANSWER + SLACK, ads_mute=True, close_streams=True):
        poll.until("it counts", lambda: scene.status()["control_plane"]["connected"], FIRST_ANSWER + SLACK, every=0.2)


def test_packets_that_vanish(scene):
    with scene.misbehaving(hold=True):
        begin = time.monotonic()
        connected = lambda: scene.status()["control_plane"]["connected"]  # noqa: E731
        poll.until("it is noticed", lambda: not connected(), NOTICE + SLACK, every=0.2)
        assert time.monotonic() - begin <= NOTICE + SLACK
        scene.degraded(timeout=15)


def test_a_plane_that_takes_no_connection_for_long(scene):
    with scene.misbehaving(seconds=35, deaf=True, drop_connections=True):
        scene.told("HWS-XDS-001", timeout=15)


def test_a_trickle_is_as_good_as_silence(scene):
    """50 bytes a second: TLS and HTTP/2 stand, and no response is ever complete in time."""
    with scene.misbehaving(seconds=FIRST_ANSWER + SLACK, write_rate=50, close_streams=True):
        pass
