# SPDX-License-Identifier: Apache-2.0
"""`./dev bench --vs-istio`: the stock agent and Hawser, measured in one run with the same Envoy and the same istiod.

Each agent has a host of its own in the lab and its turn in each round, so that what else the machine does hits both.
docs/benchmarks.md says how each figure is taken.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import pathlib
import signal
import statistics
import sys
import time
import typing

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bench import procfs, relay
from bench.figures import Book
from bench.subjects import IDLE_PROXY, Hawser, Stock, wait_ready
from interop import istiod, manifests, pki
from lab import facts, layout, planes, poll, services
from lab.world import World

STOCK_IP, STOCK_IP6 = "10.77.0.21", "fd77::21"
CLUSTERS = 1000
SETTLE = 10.0  # after a start, before memory is read
QUIET = 20.0  # after pushes
IDLE_WINDOW = 15.0
PUSHES = {"1": (1_050_000, 15), "10": (10_500_000, 6)}  # bytes, pushes in a round
CONNECTIONS = 8
TIME_LIMIT = 20 * 60


class TimeIsUp(Exception):
    """The whole run takes too long."""


class Bench:
    def __init__(self, world: World, runs: int) -> None:
        self.world = world
        self.runs = runs
        self.book = Book()
        self._began = time.monotonic()
        for probe in world.ssh_probes:  # they are load, too
            probe.stop()
        # The lab's program is probed once a second, for quick tests; a mesh's default is 10 s.
        mesh = world.bundle / "mesh.yaml"
        mesh.write_text(mesh.read_text(encoding="utf-8").replace("periodSeconds: 1\n", "periodSeconds: 10\n"), "utf-8")
        host = world.lab.add_host("stock", STOCK_IP, STOCK_IP6)
        services.start_vm_app(host)
        host.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
        self.stock = Stock(host, world.bundle, STOCK_IP)
        self.hawser = Hawser(world.vm)
        self.subjects: tuple[Stock | Hawser, ...] = (self.stock, self.hawser)

    def run(self) -> None:
        for step in (self.join, self.starts, self.idle, self.restarts, self.clusters, self.relay):
            self.say((step.__doc__ or "").splitlines()[0])
            step()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def join(self) -> None:
        """both join, for the first time"""
        self.stock.intercept()
        self.stock.start()
        wait_ready(self.stock.host)
        self.world.vm.join(self.world.bundle)
        self.world.vm.wait(timeout=60)
        wait_ready(self.hawser.host)

    def starts(self) -> None:
        """start until ready, and stop"""
        self.stock.stop()
        self.hawser.stop_all()
        for _ in range(self.runs):
            for key, probing in (("start_none_ms", False), ("start_probing_ms", True)):
                took, cpu = self._start(self.stock, probing)
                self.book.note("stock", key, took)
                if not probing:
                    self.book.note("stock", "start_cpu_ms", cpu)
                time.sleep(1)
                self.book.note("stock", "stop_ms", self.stock.stop() * 1000)
            self.world.vm.start_broker()
            took, cpu = self._start(self.hawser)
            self.book.note("hawser", "start_ms", took)
            self.book.note("hawser", "start_cpu_ms", cpu)
            self.world.vm.wait(timeout=60)
            time.sleep(1)
            self.book.note("hawser", "stop_ms", self.hawser.stop() * 1000)
            took, cpu = self._start(self.hawser)
            self.book.note("hawser", "adopt_ms", took)
            self.book.note("hawser", "adopt_cpu_ms", cpu)
            self.world.vm.wait(timeout=60)
            self.hawser.stop_all()

    def _start(self, subject: Stock | Hawser, probing: bool = False) -> tuple[float, float]:
        """Milliseconds from exec to a 200 of the readiness port, and of CPU until then."""
        begin = time.monotonic()
        subject.start(probing)
        wait_ready(subject.host)
        return (time.monotonic() - begin) * 1000, procfs.cpu_ms(subject.pid)

    def _start_both(self) -> None:
        self.stock.start()
        self.world.vm.start_broker()
        self.hawser.start()
        wait_ready(self.stock.host)
        wait_ready(self.hawser.host)
        self.world.vm.wait(timeout=60)

    def idle(self) -> None:
        """memory and CPU when nothing happens"""
        self._start_both()
        time.sleep(SETTLE)
        for _ in range(self.runs):
            before = [(s, procfs.cpu_ms(s.pid), procfs.switches(s.pid)) for s in self.subjects]
            begin = time.monotonic()
            time.sleep(IDLE_WINDOW)
            for subject, cpu, switches in before:
                elapsed = time.monotonic() - begin
                self.book.note(subject.name, "idle_cpu_percent", (procfs.cpu_ms(subject.pid) - cpu) / elapsed / 10)
                self.book.note(subject.name, "idle_wakeups", (procfs.switches(subject.pid) - switches) / elapsed)
                self._note_memory("idle", subject)
            for kind, value in procfs.memory_mb(self.hawser.broker_pid).items():
                self.book.note("hawser", f"broker_{kind}_mb", value)

    def _note_memory(self, what: str, subject: Stock | Hawser) -> None:
        for kind, value in procfs.memory_mb(subject.pid).items():
            self.book.note(subject.name, f"{what}_{kind}_mb", value)

    def restarts(self) -> None:
        """restart under load"""
        url = f"http://{facts.REVIEWS_HOST}/load"
        for subject in self.subjects:
            poll.until(f"{subject.name}: traffic passes", lambda s=subject: services.curl(s.host, url).status == 200)
        for _ in range(self.runs):
            for subject in self.subjects:
                report = self._load_over(subject, url)
                self.book.note(subject.name, "restart_failed", report["failed"])
                self.book.note(subject.name, "restart_sent", report["sent"])
                self.book.note(subject.name, "restart_gap_ms", report["longest_gap_ms"])

    def _load_over(self, subject: Stock | Hawser, url: str) -> dict[str, float]:
        script = layout.in_host(pathlib.Path(__file__).with_name("closed_loop.py"))
        log = subject.host.log_dir / "closed-loop.log"
        log.unlink(missing_ok=True)
        argv = [layout.PYTHON, "-I", script, url, str(CONNECTIONS)]
        load = subject.host.popen(argv, log=log.name, **services.AS_APP)
        time.sleep(1)
        subject.restart()
        wait_ready(subject.host)
        time.sleep(2)
        subject.host.stop(load, signal.SIGTERM, timeout=15)
        return json.loads(log.read_text(encoding="utf-8").strip().splitlines()[-1])

    def clusters(self) -> None:
        """memory with 1,000 clusters"""
        kube = typing.cast(istiod.IstiodPlane, self.world.plane).kube
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: kube.apply(_service_entry(number)), range(CLUSTERS)))
        self.say("  applied")
        for _ in range(self.runs):
            self.stock.stop()
            self.hawser.stop_all()
            self._start_both()
            for subject in self.subjects:
                what = f"{subject.name} has {CLUSTERS} clusters"
                poll.until(what, lambda s=subject: s.clusters() >= CLUSTERS, 60, every=0.5)
            time.sleep(SETTLE)
            for subject in self.subjects:
                self._note_memory("clusters", subject)

    def relay(self) -> None:
        """relay of large pushes, without Envoy"""
        self.stock.stop()
        self.world.vm.leave()
        self.hawser.stop_all()
        fake = f"{layout.BIN_IN_HOST}/{IDLE_PROXY}"
        server = relay.server_of(self._mesh_authority())
        with relay.Pushes(self.stock.host, server) as theirs, relay.Pushes(self.hawser.host, server) as ours:
            self.stock.use(fake, relay.PLANE)
            self.stock.start()
            self.world.vm.start()
            self.world.vm.cli("proxy", "install", fake)
            # The bundle's address for the control plane's name counts for that name; here it is the CA's alone.
            self.world.host.add_name(facts.MESH_IP, facts.PLANE_NAME)
            settings = (f"control_plane.address={relay.PLANE}", "control_plane.dial=[127.0.0.1]", f"ca.address={facts.PLANE_NAME}:{facts.PLANE_PORT}")
            self.world.vm.join(self.world.bundle, *settings)
            pushes = {"stock": theirs, "hawser": ours}
            for subject in self.subjects:
                pushes[subject.name].connect("direct")
                _connect(pushes[subject.name], subject)
            for round_number in range(self.runs + 1):
                for subject in self.subjects:
                    for label, (size, count) in PUSHES.items():
                        # the first round warms up: pages, windows, arenas
                        self._push(pushes[subject.name], subject, label, size, count, note=round_number > 0)
            time.sleep(QUIET)
            for subject in self.subjects:
                self._note_memory("pushed", subject)
            cached = self.hawser.cached_mb()
            self.book.note("hawser", "pushed_cached_mb", cached)
            idle = self.book.median("hawser", "idle_rss_mb") or 0
            rss = self.book.median("hawser", "pushed_rss_mb") or 0
            self.book.note("hawser", "pushed_excess_mb", rss - (idle + 3 + 1.3 * cached))

    def _push(self, pushes: relay.Pushes, subject: Stock | Hawser, label: str, size: int, count: int, note: bool) -> None:
        direct = statistics.median(pushes.push("direct", size, count))
        before = procfs.cpu_ms(subject.pid)
        through = statistics.median(pushes.push("agent", size, count))
        time.sleep(0.5)  # what the agent does with it afterwards counts as well
        cpu = procfs.cpu_ms(subject.pid) - before
        if note:
            self.book.note(subject.name, f"relay_{label}_direct_ms", direct)
            self.book.note(subject.name, f"relay_{label}_ms", through)
            self.book.note(subject.name, f"relay_{label}_ratio", through / direct)
            self.book.note(subject.name, f"relay_{label}_cpu", cpu / (size * count / 1e6))

    def _mesh_authority(self) -> pki.Pair:
        files = f"{istiod.FILES}/cacerts"
        certificate = x509.load_pem_x509_certificate(self.world.mesh.read(f"{files}/ca-cert.pem").encode())
        key = serialization.load_pem_private_key(self.world.mesh.read(f"{files}/ca-key.pem").encode(), None)
        return pki.Pair(certificate, typing.cast(typing.Any, key))


def _connect(pushes: relay.Pushes, subject: Stock | Hawser) -> None:
    poll.until(f"{subject.name} serves {subject.xds_socket}", lambda: subject.host.exists(subject.xds_socket), 30)
    if not pushes.connect("agent", subject.xds_socket):
        raise RuntimeError(f"{subject.name} gave its client no clusters")


def _service_entry(number: int) -> dict:
    entry = manifests.reviews()
    entry["metadata"] = {"name": f"bench-{number}", "namespace": facts.NAMESPACE}
    entry["spec"] |= {
        "hosts": [f"bench-{number}.demo.svc.cluster.local"],
        "addresses": [f"10.78.{number // 250}.{number % 250 + 1}"],
    }
    return entry


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench --vs-istio", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds of each measurement; the medians are shown")
    parser.add_argument("--json", metavar="FILE", help="write medians, goals and all samples there, too")
    options = parser.parse_args()

    def time_is_up(_number: int, _frame: object) -> None:
        raise TimeIsUp(f"not finished within {TIME_LIMIT // 60} minutes")

    signal.signal(signal.SIGALRM, time_is_up)
    signal.alarm(TIME_LIMIT)
    machine = procfs.machine()
    logs = layout.REPO / ".cache" / "bench-logs"
    with World(planes.make_plane("istiod"), logs=logs) as world:
        bench = Bench(world, options.runs)
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
        report = bench.book.json(machine, options.runs)
        pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
