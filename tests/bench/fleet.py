# SPDX-License-Identifier: Apache-2.0
"""`./dev bench fleet`: a thousand agents in one process lose their control plane; docs/fleets.md says what the figures mean."""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import sys
import time
import typing

from bench import procfs
from fleet import scenes
from fleet.process import Fleet, Report, simulate
from lab import facts
from lab.host import Host
from lab.network import Lab
from lab.plane import Plane

CROWDED = "HWS-XDS-007"
DOWN = 10.0
DEFAULT_SPREAD = 8.0
# What the simulated planes take a second: one istiod with 2 and with 16 CPUs, and two of the latter.
RATES = (25, 95, 190)
SIMULATED = (1_000, 10_000)
DEVMESH_RATE = 25  # it has no limit, but it is Python: about what it serves
MARGIN = 1.4  # a drawn spread isn't an even one

COLUMNS = ("scene", "spread", "agents", "missing", "refused", "tries", "busiest s", "gone p50", "p99", "max", "> 10 s", "re-made")


class Table:
    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = [COLUMNS]

    def note(self, scene: str, spread: float, report: Report) -> None:
        gone, agents = report["gone"], report["agents"]
        missing = report["missing"] if isinstance(report["missing"], int) else agents - report["connected"]
        refused = report.get("refused", report.get("errors", {}).get(CROWDED, 0))
        times = [f"{gone[key]:.1f} s" for key in ("p50", "p99", "max")]
        figures = [agents, missing, refused, report["tries"], report["tries_in_busiest_second"]]
        over = [str(gone["longer_than_10_s"]), str(report.get("remade", "–"))]
        self._rows.append((scene, f"{spread:g} s", *(f"{figure:,}" for figure in figures), *times, *over))

    def text(self) -> str:
        widths = [max(len(row[i]) for row in self._rows) for i in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
                 for row in self._rows]  # fmt: skip
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.table = Table()
        self.reports: dict[str, typing.Any] = {}
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def note(self, scene: str, spread: float, report: Report) -> None:
        self.table.note(scene, spread, report)
        self.reports[f"{scene}, spread {spread:g} s"] = report
        self.say(f"{scene}: {json.dumps(report)}")

    def simulated(self) -> None:
        for agents in SIMULATED:
            for rate in RATES:
                even = enough(agents, rate)
                for spread in (DEFAULT_SPREAD, even) if even > DEFAULT_SPREAD else (DEFAULT_SPREAD,):
                    for down in (0, DOWN):
                        report = simulate(agents=agents, accepts=rate, spread=spread, outage=down)
                        self.note(f"simulated, {rate}/s, away {down:g} s", spread, report)

    def devmesh(self, lab: Lab, host: Host) -> None:
        from devmesh.plane import DevmeshPlane

        plane = DevmeshPlane(grace="10s")
        spread = self.options.spread or enough(self.options.agents, DEVMESH_RATE)
        try:
            plane.start(host)
            plane.faults(**scenes.LIKE_ISTIOD)
            with self._fleet(host, plane, spread, ramp=spread) as fleet:
                self._join(fleet, plane)
                self._sit(fleet)
                back = scenes.replacement(fleet, plane, lambda: plane.faults(drop_connections=True), timeout=300)
                self.note("devmesh, connections cut", spread, back)
                self._sit(fleet)
                back = scenes.outage(fleet, plane, host, down=DOWN, timeout=300)
                self.note(f"devmesh, killed, away {back['down']:.0f} s", spread, back)
        finally:
            plane.close()

    def istiod(self, lab: Lab, host: Host) -> None:
        from interop.istiod import IstiodPlane

        rate = min(15 + 5 * len(os.sched_getaffinity(0)), 100)
        plane = IstiodPlane()
        try:
            plane.start(host)
            spreads = [self.options.spread] if self.options.spread else [enough(self.options.agents, rate), DEFAULT_SPREAD]
            for spread in spreads:
                with self._fleet(host, plane, spread, ramp=self.options.agents / rate * MARGIN) as fleet:
                    self._join(fleet, plane)
                    self._sit(fleet)
                    back = scenes.outage(fleet, plane, host, down=0, timeout=600)
                    self.note(f"istiod, killed, away {back['down']:.0f} s", spread, back)
                    fleet.stop()
        finally:
            plane.close()

    def _fleet(self, host: Host, plane: Plane, spread: float, ramp: float) -> Fleet:
        return Fleet(host, plane, self.options.agents, spread=spread, ramp=ramp)

    def _join(self, fleet: Fleet, plane: Plane) -> None:
        joined = scenes.join(fleet, plane, timeout=600)
        self.say(f"all joined: {json.dumps({**joined, 'memory': procfs.memory_mb(fleet.pid)})}")

    def _sit(self, fleet: Fleet) -> None:
        """Until each stream has lived for long enough to be a good one."""
        self.say("the fleet sits for 11 s")
        time.sleep(11)
        assert fleet.report()["connected"] == fleet.agents


def enough(agents: int, rate: float) -> float:
    """A spread, in seconds, with which a plane that takes `rate` streams a second refuses none of a fleet."""
    return float(math.ceil(agents / rate * MARGIN))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--istiod", action="store_true", help="a real istiod in place of devmesh")
    parser.add_argument("--spread", type=float, help="seconds; default: what the plane can take, and for istiod also 8")
    parser.add_argument("--simulated", action="store_true", help="only the figures of the fake clock")
    parser.add_argument("--json", type=pathlib.Path, help="write all reports there")
    options = parser.parse_args()
    bench = Bench(options)
    bench.simulated()
    if not options.simulated:
        with Lab() as lab:
            host = lab.add_host("mesh", facts.MESH_IP, facts.MESH_IP6)
            (bench.istiod if options.istiod else bench.devmesh)(lab, host)
    print(bench.table.text())
    if options.json:
        options.json.write_text(json.dumps(bench.reports, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
