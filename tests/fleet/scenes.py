# SPDX-License-Identifier: Apache-2.0
"""What may befall a whole fleet. Each scene returns hawser_fleet's report of it, from its beginning to the last agent's
return, with what the plane's own table of workloads says then."""

from __future__ import annotations

import time
import typing

from fleet.process import Fleet, Report
from lab import poll
from lab.host import Host
from lab.plane import Plane

# devmesh is silent to a host that comes back and has everything; istiod, which gives clusters no version, sends them
# again. That tells when a host is back.
LIKE_ISTIOD = {"blank_versions": True}


def join(fleet: Fleet, plane: Plane, timeout: float) -> Report:
    """All are connected, registered and healthy."""
    report = fleet.wait(fleet.agents, timeout)
    return {**report, "table": wait_for_table(fleet, plane)}


def outage(fleet: Fleet, plane: Plane, host: Host, *, down: float, timeout: float) -> Report:
    """The plane is killed, stays away for `down` seconds, and starts again with the state it had."""
    before = entries(plane)
    plane.stop()
    began = time.monotonic()
    fleet.wait(0, timeout=30)
    time.sleep(max(0.0, began + down - time.monotonic()))  # the outage itself: nothing is waited for
    fleet.mark()
    plane.start(host)
    away = time.monotonic() - began
    report = fleet.wait(fleet.agents, timeout)
    table = wait_for_table(fleet, plane)
    after = entries(plane)
    remade = sum(1 for name, identity in before.items() if after.get(name, identity) != identity)
    return {**report, "down": away, "table": table, "remade": remade}


def replacement(fleet: Fleet, plane: Plane, lose: typing.Callable[[], None], *, timeout: float) -> Report:
    """`lose` ends all streams at one moment, and a plane is there at once: an instance of several has gone."""
    fleet.mark()
    lose()
    report = fleet.wait_returns(fleet.agents, timeout)
    return {**report, "table": wait_for_table(fleet, plane)}


def wait_for_table(fleet: Fleet, plane: Plane) -> dict[str, int]:
    """The plane knows each agent once, connected and healthy."""

    def complete() -> dict[str, int]:
        rows = plane.workloads()
        table = {
            "entries": len(rows),
            "connected": sum(row.connected for row in rows),
            "healthy": sum(row.healthy is True for row in rows),
        }
        assert set(table.values()) == {fleet.agents}, table
        assert len({row.address for row in rows}) == fleet.agents
        return table

    return poll.until("every agent is in the plane's table, connected and healthy", complete, timeout=60, every=0.5)


def entries(plane: Plane) -> dict[str, str]:
    """Name → what changes when an entry is removed and made again; devmesh has nothing of the kind."""
    kube = getattr(plane, "kube", None)
    if kube is None:
        return {row.name: "" for row in plane.workloads()}
    from interop.istiod import GROUP_ANNOTATION
    from lab import facts

    items = [i["metadata"] for i in kube.list("WorkloadEntry", facts.NAMESPACE)]
    return {i["name"]: i["uid"] for i in items if GROUP_ANNOTATION in i.get("annotations", {})}
