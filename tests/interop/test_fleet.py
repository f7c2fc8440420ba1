# SPDX-License-Identifier: Apache-2.0
"""200 agents register themselves at a real istiod, which is killed. `./dev bench fleet --istiod` has 1,000."""

from __future__ import annotations

from fleet import scenes
from fleet.process import Fleet
from interop.istiod import IstiodPlane
from lab.host import Host

AGENTS = 200
RATE = 25  # streams that istiod takes a second with two CPUs: min(15 + 5 × CPUs, 100)
SPREAD = 1.5 * AGENTS / RATE
CROWDED = "HWS-XDS-007"


def test_a_fleet_is_back_after_istiod_was_killed_and_its_limit_was_never_hit(istiod: IstiodPlane, mesh_host: Host):
    with Fleet(mesh_host, istiod, AGENTS, spread=SPREAD, ramp=SPREAD) as fleet:
        joined = scenes.join(fleet, istiod, timeout=60)
        assert CROWDED not in joined["errors"]
        back = scenes.outage(fleet, istiod, mesh_host, down=0, timeout=90)
    assert back["gone"]["hosts"] == AGENTS
    assert CROWDED not in back["errors"], f"refused: {back}"
    # A killed istiod noted nobody's leave, so the entries are the old ones, however long their hosts were gone.
    assert back["remade"] == 0
