# SPDX-License-Identifier: Apache-2.0
"""`./dev bench`: what Hawser costs a host, and how fast it starts; a table, and JSON with --json."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

from lab import layout, planes, poll, services
from lab.world import World

TICK = os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int) -> dict[str, int]:
    """RSS and PSS of a process, as the kernel counts them (proc(5), smaps_rollup)."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.split()[-1] == "kB"}
    return {"rss": values["Rss"], "pss": values["Pss"]}


def cpu_ms(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / TICK


def ready(world: World) -> bool:
    return services.curl(world.host, "http://127.0.0.1:15020/healthz/ready").status == 200


def restart_to_ready(world: World) -> tuple[float, float]:
    """hawserd again, with its certificate on disk and its proxy running: exec to REGISTERED in ms, and its CPU until then."""
    world.vm.stop_agent()
    begin = time.monotonic()
    world.vm.start_agent()
    world.vm.wait(timeout=30)
    return (time.monotonic() - begin) * 1000, cpu_ms(world.vm.agent.pid)


def measure(runs: int) -> dict[str, float]:
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    with World(planes.make_plane("devmesh"), logs=layout.REPO / ".cache" / "bench-logs") as world:
        for _ in range(runs):
            begin = time.monotonic()
            world.vm.join(world.bundle)
            world.vm.wait()
            note("join to REGISTERED, ms", (time.monotonic() - begin) * 1000)
            for event in world.vm.status()["events"]:
                note(f"  {event['name']}, ms", event["since_start_ms"])
            poll.until("readiness", lambda: ready(world))
            took, cpu = restart_to_ready(world)
            note("hawserd restart to REGISTERED, ms", took)
            note("hawserd CPU until then, ms", cpu)
            for name, pid in (
                ("hawserd", world.vm.agent.pid),
                ("hawser-broker", world.vm.broker.pid),
                ("envoy", _envoy_pid(world)),
            ):
                for kind, kib in memory_kib(pid).items():
                    note(f"{name} {kind.upper()}, MB", kib / 1024)
            begin = time.monotonic()
            world.vm.renew()
            note("certificate renewal, command to in force, ms", (time.monotonic() - begin) * 1000)
            begin = time.monotonic()
            world.vm.leave()
            note("leave, ms", (time.monotonic() - begin) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in figures.items()}


def _envoy_pid(world: World) -> int:
    """As the machine numbers it: the host has a PID namespace of its own."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == "envoy":
                same = os.readlink(entry / "ns/net") == os.readlink(f"/proc/{world.host.pid}/ns/net")
                if same:
                    return int(entry.name)
        except OSError:
            continue
    raise RuntimeError("no Envoy in the host")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.runs)
    machine = {"cpu": os.cpu_count(), "kernel": platform.release(), "machine": platform.machine(), "runs": options.runs}
    if options.json:
        print(json.dumps({"machine": machine, "medians": figures}, indent=2))
        return 0
    print(f"medians of {options.runs} runs; {machine['cpu']} cores, Linux {machine['kernel']}, {machine['machine']}")
    for name, value in figures.items():
        print(f"  {name:<46} {value:>10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
