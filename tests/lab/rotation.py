# SPDX-License-Identifier: Apache-2.0
"""Certificates of a minute, watched from outside while traffic flows: what callers are shown, and for how long it is good."""

from __future__ import annotations

import dataclasses
import datetime
import time

from lab import envoy_config, facts, handshake
from lab.world import World

JOIN = ("identity.ttl=60s", "identity.jitter=0.05")


@dataclasses.dataclass
class Watched:
    handshakes: int = 0
    serials: list[int] = dataclasses.field(default_factory=list)  # in the order in which they were shown
    least_left: float = float("inf")  # seconds that a shown certificate had still to live
    requests: int = 0

    def look(self, world: World) -> None:
        shown = world.mesh.call(
            handshake.peer_certificate,
            facts.VM_IP,
            facts.VM_PORT,
            world.reviews.identity,
            envoy_config.VM_SNI,
            world.lab.directory,
        )
        now = datetime.datetime.now(datetime.timezone.utc)
        self.handshakes += 1
        self.least_left = min(self.least_left, (shown.not_valid_after_utc - now).total_seconds())
        if not self.serials or self.serials[-1] != shown.serial_number:
            self.serials.append(shown.serial_number)


def watch(world: World, seconds: float, every: float = 0.25) -> Watched:
    """The VM has joined, with JOIN's settings. Traffic in both directions, of which nothing may fail; a handshake by hand
    each quarter of a second, which may never see a certificate that has ended."""
    out = Watched()
    end = time.monotonic() + seconds
    with world.traffic() as traffic:
        while time.monotonic() < end:
            begun = time.monotonic()
            out.look(world)
            time.sleep(max(0.0, every - (time.monotonic() - begun)))
        reports = traffic.finish()
    out.requests = sum(report.sent for report in reports.values())
    assert out.least_left > 0, f"a certificate was shown {-out.least_left:.1f} s after its end"
    return out
