# SPDX-License-Identifier: Apache-2.0
"""The control plane misbehaves, one way after the other, while requests run in and out of a joined host.

In each test: no request fails, the proxy stays the same process, `hawser status` says what is wrong and stops saying it
afterwards, hawserd takes at most a tenth of a core and little memory, and the next change of the plane arrives.
docs/failures.md has this file as a table.
"""

from __future__ import annotations

import base64
import typing

import pytest

from devmesh.snapshot import CDS
from lab import facts, misbehaving, poll, services

MIB = 1 << 20
MIB_MORE_THAN_LARGE = 28  # beside the message itself: gRPC refuses it when it has taken it in
LONG = pytest.mark.long
STRANGE = "type.googleapis.com/no.such.Type"
OUT = f"http://{facts.REVIEWS_HOST}/"


@pytest.fixture(scope="module")
def scene(world) -> typing.Iterator[misbehaving.Scene]:
    with misbehaving.joined(world) as made:
        yield made


@pytest.fixture
def fresh(scene) -> misbehaving.Scene:
    """For faults that make hawserd reconnect: what a test did before doesn't make it wait longer."""
    scene.fresh()
    return scene


# -- ends --------------------------------------------------------------------------------------------------------------


def test_goaway_at_any_point_of_a_response_is_no_event(scene):
    streams = scene.streams()
    with scene.misbehaving():
        for at in ("before", "after", "middle", "twice"):
            scene.plane.faults(goaway=at)
            scene.follows()
            assert scene.item()["state"] == "ok"
    assert scene.streams() <= streams + 8


def test_connections_that_grow_old_within_seconds_are_left_in_time(scene):
    """GOAWAY, and the end a second later, again and again: routine every 30 minutes, no routine every 1.5 seconds."""
    with scene.misbehaving(seconds=5, connection_age=0.5, drop_connections=True):
        scene.follows()


def test_streams_that_end_as_soon_as_they_have_answered_are_told(fresh):
    with fresh.misbehaving(seconds=3):
        item = poll.until("it is told", lambda: _after_another_end(fresh, "HWS-XDS-041"), 20, every=0.3)
        assert "streams in a row" in item["detail"], item
        fresh.follows()


def _after_another_end(scene: misbehaving.Scene, error: str) -> dict | None:
    scene.plane.faults(close_streams=True)
    item = scene.item()
    return item if item.get("id") == error else None


def test_a_goaway_that_denies_the_stream_is_followed_by_the_next_one(scene):
    with scene.misbehaving():
        streams = scene.streams()
        scene.plane.faults(goaway_now={"last": 0, "code": 0})
        poll.until("the next stream", lambda: scene.streams() > streams, 10)


@pytest.mark.parametrize("code, error", [("UNAUTHENTICATED", "HWS-XDS-004"), ("RESOURCE_EXHAUSTED", "HWS-XDS-007")])
def test_streams_that_are_refused_and_then_accepted(fresh, code, error):
    with fresh.misbehaving(ads_code=code, close_streams=True):
        fresh.told(error)


# -- silence and slowness ----------------------------------------------------------------------------------------------


def test_a_plane_that_takes_no_connection(fresh):
    """The kernel completes it, and nobody says a word."""
    with fresh.misbehaving(deaf=True, drop_connections=True):
        fresh.told("HWS-XDS-001", timeout=15)


def test_a_pause_of_all_packets_is_no_event(scene):
    streams = scene.streams()
    with scene.misbehaving(seconds=3, hold=True):
        assert scene.item()["state"] == "ok"
    assert scene.streams() == streams
    assert scene.item()["state"] == "ok"


def test_a_slow_writer_and_reader(scene):
    with scene.misbehaving(write_rate=5000, read_rate=2000):
        scene.follows()
        assert scene.item()["state"] == "ok"


def test_a_window_of_one_byte(fresh):
    streams = fresh.streams()
    with fresh.misbehaving(window=1, read_rate=2000, drop_connections=True):
        poll.until("a stream answers", lambda: fresh.streams() > streams and fresh.status()["control_plane"]["connected"], 15)
        fresh.follows()
        assert fresh.item()["state"] == "ok"


# -- nonces and versions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonces", ["same", "blank"])
def test_nonces_that_tell_nothing(scene, nonces):
    with scene.misbehaving(nonces=nonces):
        scene.follows()
        assert scene.item()["state"] == "ok"
    metrics = services.curl(scene.world.host, "http://127.0.0.1:15020/metrics").body
    kind = {"same": "repeated_nonce", "blank": "no_nonce"}[nonces]
    assert f'hawser_xds_oddities_total{{kind="{kind}"}}' in metrics


def test_old_responses_come_again_and_versions_go_back(scene):
    """A host does what its plane says, and says the old thing's version on its next stream, so that it's put right."""
    with scene.misbehaving():
        scene.allow([facts.REVIEWS_SA])
        scene.plane.faults(resend=16)  # stale nonces; what was sent last comes last
        poll.until("it is as it was", lambda: scene.ratings() == 403, 10)
        scene.plane.faults(resend=-1)  # all but the last
        poll.until("the older state is in force", lambda: scene.ratings() == 200, 10)
        scene.plane.faults(close_streams=True)
        poll.until("the newer state is in force", lambda: scene.ratings() == 403, 15)
        assert scene.item()["state"] == "ok"


# -- content -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, pytest.param(60, marks=LONG)], ids="{} MiB".format)
def test_a_response_that_is_too_large(fresh, size):
    huge = {"type": CDS, "name": "huge", "bytes": size * MIB}
    with fresh.misbehaving(seconds=5, memory_kib=(size + MIB_MORE_THAN_LARGE) * 1024, first=huge, close_streams=True):
        item = fresh.told("HWS-XDS-040")
        assert f"{misbehaving.LIMIT_MIB} MiB (control_plane.max_response_mib)" in item["detail"], item


@pytest.mark.parametrize(
    "first",
    [
        {"type": CDS, "name": "x", "bytes": 100, "cut": 50},
        pytest.param({"type": ""}, marks=LONG),
        pytest.param({"raw": base64.b64encode(b"\xff" * 64).decode()}, marks=LONG),
    ],
    ids=["cut", "no type", "garbage"],
)
def test_a_response_that_is_none(fresh, first):
    with fresh.misbehaving(first=first, close_streams=True):
        item = fresh.told("HWS-XDS-011")
        assert "isn't a delta discovery message" in item["detail"], item


@pytest.mark.parametrize("frame", ["rst", pytest.param("cut", marks=LONG), pytest.param("garbage", marks=LONG)])
def test_half_a_response(fresh, frame):
    with fresh.misbehaving(frame=frame, drop_connections=True):
        item = fresh.degraded()
        assert item["id"] in ("HWS-XDS-001", "HWS-XDS-010"), item


def test_a_resource_of_another_type_is_rejected_by_the_proxy(scene):
    with scene.misbehaving():
        scene.plane.faults(send={"type": CDS, "name": "x", "any": STRANGE, "bytes": 100})
        item = scene.told("HWS-XDS-012", "proxy-config")
        assert "Cluster" in item["detail"], item
        assert scene.item()["state"] == "ok"
        poll.until("the plane hears of it", lambda: scene.plane.debug()["types"][CDS]["last_nack"])
        # the host names it as what it holds on its next stream, and the plane takes it back
        scene.plane.faults(close_streams=True)


def test_types_that_nobody_asked_for(scene):
    with scene.misbehaving(send={"type": STRANGE, "name": "x", "bytes": 1000, "times": 1000}):
        scene.follows()
        assert scene.status()["state"] == "ok"
        assert STRANGE not in scene.plane.debug()["types"]
        assert STRANGE not in str(scene.status()["control_plane"])


def test_good_and_bad_alternate(scene):
    with scene.misbehaving(seconds=3, alternate=0.1):
        scene.told("HWS-XDS-012", "proxy-config")
        scene.follows()
        assert scene.item()["state"] == "ok"


# -- certificates ------------------------------------------------------------------------------------------------------


def test_the_planes_certificate_is_of_another_ca_for_a_while(fresh):
    with fresh.misbehaving(other_ca=True, drop_connections=True):
        item = fresh.told("HWS-XDS-002")
        assert "isn't signed by the pinned root" in item["detail"], item


def test_the_planes_certificate_is_renewed(scene):
    with scene.misbehaving():
        streams = scene.streams()
        scene.plane.faults(rotate_certificate=True, drop_connections=True)
        poll.until("the next stream", lambda: scene.streams() > streams, 10)


# -- everything --------------------------------------------------------------------------------------------------------


def test_everything_is_taken_away_and_comes_back(scene):
    """A plane may mean it: the proxy does as it's told, the host says that nobody listens, and all comes back at once."""
    scene.until_ok()
    scene.plane.faults(vanish=True)
    try:
        poll.until("requests fail", lambda: services.curl(scene.world.host, OUT, 2).status == 0, 20)
        scene.told("HWS-PX-005", "proxy", timeout=30)
        poll.until("the plane is well", lambda: scene.item()["state"] == "ok", 20)
    finally:
        scene.plane.reset_faults()
    poll.until("requests pass", lambda: services.curl(scene.world.host, OUT, 2).status == 200, 20)
    scene.until_ok()
    with scene.misbehaving():
        pass
