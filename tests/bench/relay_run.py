# SPDX-License-Identifier: Apache-2.0
"""`./dev bench relay`: what the relay adds to a push, in time, CPU and memory.

A control plane and its clients are one program (xds_push.cpp); between them stands hawserd, and the stock agent where it
is built. Each has its turn in each round, so that what else the machine does hits all. docs/benchmarks.md says how each
figure is taken.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import signal
import statistics
import sys
import time
import typing

from bench import procfs, relay
from bench.relay_table import Book
from bench.subjects import IDLE_PROXY, Hawser, Stock
from devmesh.plane import DevmeshPlane
from interop import istiod
from lab import facts, layout, poll, services
from lab.world import World

STOCK_IP, STOCK_IP6 = "10.77.0.21", "fd77::21"
SIZES = {"1": (1_050_000, 10), "10": (10_500_000, 4), "50": (52_500_000, 2)}  # bytes, pushes in a round
VARIANTS = ("delta", "sotw")
CLUSTERS_10K = 11_700_000  # bytes of 10,000 clusters
CHANGES = 20  # of one cluster, in a round
AFTERWARDS = 0.5  # what an agent does with a push afterwards counts as well
SETTLE = 10.0
QUIET = 20.0  # after pushes, before memory is read
TIME_LIMIT = 8 * 60


class TimeIsUp(Exception):
    """The whole run takes too long."""


@dataclasses.dataclass
class Lane:
    """One way from the plane to a client."""

    name: str  # as the table has it
    pushes: relay.Pushes
    client: str  # of the delta variant
    where: str  # "tls", "plain", or the agent's socket
    subject: Stock | Hawser | None = None  # whose CPU counts
    one_stream: bool = False  # pilot-agent ends a stream when another one comes
    _open: set[str] = dataclasses.field(default_factory=set)
    _refused: set[str] = dataclasses.field(default_factory=set)

    def client_of(self, variant: str) -> str:
        return self.client if variant == "delta" else f"{self.client}-sotw"

    def use(self, variant: str) -> bool:
        """Opens the variant's stream if need be. False: it isn't served."""
        if variant in self._open or variant in self._refused:
            return variant in self._open
        if self.subject is not None:
            host = self.subject.host
            poll.until(f"{self.name} serves {self.where}", lambda: host.exists(self.where), 30)
        if self.one_stream:
            for other in self._open:
                self.pushes.drop(self.client_of(other))
            self._open.clear()
        opened = self.pushes.connect(self.client_of(variant), self.where, variant)
        (self._open if opened else self._refused).add(variant)
        return opened


class Bench:
    def __init__(self, world: World, runs: int, stock: bool = False) -> None:
        self.world = world
        self.runs = runs
        self._stock_wanted = stock
        self.book = Book()
        self._began = time.monotonic()
        for probe in world.ssh_probes:  # they are load, too
            probe.stop()
        self.hawser = Hawser(world.vm)
        self.stock: Stock | None = None
        self.lanes: list[Lane] = []

    def run(self) -> None:
        ca = typing.cast(DevmeshPlane, self.world.plane).authority()
        leaf = ca.issue(86400, dns=relay.NAME)
        server = relay.Server(leaf.key, leaf.chain, leaf.roots)
        with relay.Pushes(self.world.host, server) as pushes:
            self.say("hawserd joins, with an idle program for Envoy")
            self._start_hawser()
            self.lanes = [
                Lane("direct", pushes, "direct", "tls"),
                Lane("hawser", pushes, "agent", self.hawser.xds_socket, self.hawser),
                Lane("plaintext", pushes, "direct-plain", "plain"),
            ]
            if not self._stock_wanted and not (istiod.cache_dir() / "bin" / "pilot-agent").exists():
                self.say("pilot-agent isn't built: ./dev bench relay --vs-istio builds it")
                self._measure()
                return
            host = self.world.lab.add_host("stock", STOCK_IP, STOCK_IP6)
            services.start_vm_app(host)
            with relay.Pushes(host, server) as theirs:
                self.say("pilot-agent starts")
                self._start_stock(host)
                self.lanes.insert(2, Lane("stock", theirs, "agent", Stock.xds_socket, self.stock, True))
                self._measure()

    def _measure(self) -> None:
        for lane in self.lanes:
            for variant in reversed(VARIANTS):  # delta is last, and what memory is measured with
                if lane.use(variant):
                    continue
                self.say(f"{lane.name} serves no {variant}")
                if variant == "delta":
                    raise RuntimeError(f"{lane.name} gave its client no clusters")
        for step in (self.idle, self.kept_of_10, self.sizes, self.one_of_many, self.kept_of_50, self.second_proxy):
            self.say((step.__doc__ or "").splitlines()[0])
            step()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def _start_hawser(self) -> None:
        vm = self.world.vm
        vm.cli("proxy", "install", f"{layout.BIN_IN_HOST}/{IDLE_PROXY}")
        # The bundle's address for the control plane's name counts for that name; here it is the CA's alone.
        self.world.host.add_name(facts.MESH_IP, facts.PLANE_NAME)
        settings = (
            f"control_plane.address={relay.PLANE}",
            "control_plane.dial=[127.0.0.1]",
            f"ca.address={facts.PLANE_NAME}:{facts.PLANE_PORT}",
        )
        vm.join(self.world.bundle, *settings)

    def _start_stock(self, host: typing.Any) -> None:
        self.stock = Stock(host, self.world.bundle, STOCK_IP)
        self.stock.use(f"{layout.BIN_IN_HOST}/{IDLE_PROXY}", relay.PLANE)
        self.stock.start()

    def subjects(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.subject is not None]

    def idle(self) -> None:
        """memory before any large push"""
        time.sleep(SETTLE)
        for lane in self.subjects():
            self.book.note(lane.name, "idle", procfs.memory_mb(lane.subject.pid)["rss"])

    def sizes(self) -> None:
        """pushes of 1, 10 and 50 MB, direct and through"""
        for round_number in range(self.runs + 1):  # the first one warms up: pages, windows, arenas
            for variant in VARIANTS:
                for label, (size, count) in SIZES.items():
                    medians = {lane.name: self._push(lane, variant, label, size, count, round_number > 0) for lane in self.lanes}
                    for lane in self.subjects():
                        if round_number > 0 and medians[lane.name] is not None:
                            ratio = medians[lane.name] / medians["direct"]
                            self.book.note(lane.name, f"{variant} {label} ratio", ratio)

    def _push(self, lane: Lane, variant: str, label: str, size: int, count: int, note: bool) -> float | None:
        if not lane.use(variant):
            return None
        pid = lane.subject.pid if lane.subject else None
        before = procfs.cpu_ms(pid) if pid else 0.0
        took = statistics.median(lane.pushes.push(lane.client_of(variant), size, count))
        if pid:
            time.sleep(AFTERWARDS)
        if note:
            self.book.note(lane.name, f"{variant} {label} ms", took)
            if pid:
                cpu = procfs.cpu_ms(pid) - before
                self.book.note(lane.name, f"{variant} {label} cpu", cpu / (size * count / 1e6))
        return took

    def one_of_many(self) -> None:
        """one changed cluster among 10,000"""
        for lane in self.lanes:
            lane.use("delta")
            lane.pushes.push(lane.client, CLUSTERS_10K, 1)
        time.sleep(1)
        for _ in range(self.runs):
            direct = None
            for lane in self.lanes:
                took = statistics.median(lane.pushes.one(lane.client, CHANGES))
                self.book.note(lane.name, "one ms", took)
                if lane.name == "direct":
                    direct = took
                elif lane.subject is not None and direct is not None:
                    self.book.note(lane.name, "one added", took - direct)

    def kept_of_10(self) -> None:
        """memory kept after pushes of 10 MB"""
        self._kept("10")

    def kept_of_50(self) -> None:
        """memory kept after pushes of 50 MB"""
        self._kept("50")

    def _kept(self, label: str) -> None:
        self._push_all("agent", label)
        for lane in self.subjects():
            self.book.note(lane.name, f"kept {label}", procfs.memory_mb(lane.subject.pid)["rss"])
        cached = self.hawser.cached_mb()
        kept = self.book.median("hawser", f"kept {label}") or 0
        idle = self.book.median("hawser", "idle") or 0
        self.book.note("hawser", f"cached {label}", cached)
        self.book.note("hawser", f"excess {label}", kept - (idle + 3 + 1.3 * cached))

    def second_proxy(self) -> None:
        """memory with a second proxy"""
        lane = next(lane for lane in self.lanes if lane.name == "hawser")
        if not lane.pushes.connect("agent2", lane.where):
            raise RuntimeError("a second proxy got no clusters")
        time.sleep(2)  # it is sent all that the cache holds
        self._push_all("agent2", "50")
        two = procfs.memory_mb(self.hawser.pid)["rss"]
        self.book.note("hawser", "two", two)
        self.book.note("hawser", "two percent", (two / (self.book.median("hawser", "kept 50") or 1) - 1) * 100)

    def _push_all(self, client: str, label: str) -> None:
        size, _ = SIZES[label]
        for lane in self.subjects():
            if client == "agent" or lane.name == "hawser":
                lane.pushes.push(client, size, 2)
        time.sleep(QUIET)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench relay", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds of each measurement; the medians are shown")
    parser.add_argument("--json", metavar="FILE", help="write medians, goals and all samples there, too")
    parser.add_argument("--vs-istio", action="store_true", help="build pilot-agent if it isn't there")
    options = parser.parse_args()

    def time_is_up(_number: int, _frame: object) -> None:
        raise TimeIsUp(f"not finished within {TIME_LIMIT // 60} minutes")

    signal.signal(signal.SIGALRM, time_is_up)
    signal.alarm(TIME_LIMIT)
    machine = procfs.machine()
    with World(DevmeshPlane(), logs=layout.REPO / ".cache" / "bench-logs") as world:
        bench = Bench(world, options.runs, options.vs_istio)
        try:
            bench.run()
        except BaseException:
            print(f"the programs' logs: {world.keep_logs()}", file=sys.stderr)
            raise
    machine["load_after"] = procfs.machine()["load"]
    print(
        f"medians of {options.runs} runs; {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, "
        f"{machine['memory_mb']} MB; load before {machine['load']}, after {machine['load_after']}"
    )
    print(bench.book.table())
    if options.json:
        report = {"machine": machine, "runs": options.runs, **bench.book.json()}
        pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
