# SPDX-License-Identifier: Apache-2.0
"""`./dev bench proxy`: the proxy is replaced under thousands of requests a second that nobody repeats, in each way that
there is; then it is killed, and stopped. With --vs-istio the stock agent is restarted under the same load.
docs/benchmarks.md says how each figure is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import sys
import time
import typing

from bench import procfs, proxy_table
from lab import admin_wire, echo, generations, hand_overs, layout, poll
from lab.world import World

TIME_LIMIT = 40 * 60
IDLE_WINDOW = 15.0
SETTLE = 5.0
NOTICE_LIMIT = 20.0
STOCK_RESTARTS = 10


class TimeIsUp(Exception):
    """The whole run takes too long."""


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.book = proxy_table.Book()
        self.documents: dict[str, dict[str, typing.Any]] = {}
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def run(self) -> None:
        logs = layout.REPO / ".cache" / "bench-logs"
        wanted = self._wanted("")
        with hand_overs.world(logs) as world:
            try:
                for probe in world.ssh_probes:  # they are load, too
                    probe.stop()
                hand_overs.join(world, wanted)
                for kind in self.options.kind or proxy_table.KINDS:
                    self._kind(world, kind)
                self._failures(world)
                self._idle(world)
            except BaseException:
                print(f"the programs' logs: {world.keep_logs()}", file=sys.stderr)
                raise
        if self.options.vs_istio:
            from bench import proxy_stock  # needs Istio's own programs

            self.say("the stock agent, restarted under the same load")
            count = min(self.options.count, STOCK_RESTARTS)
            self.book.figures[proxy_table.STOCK] = proxy_stock.measure(logs, wanted.mix, count)

    def _wanted(self, kind: str) -> hand_overs.Options:
        return hand_overs.Options(
            kind=kind,
            count=self.options.count,
            mix=echo.Mix.of(self.options.rps),
            drain=1,
            leaves=2,
            steady=1.0,
            limit=self.options.limit,
        )

    def _kind(self, world: World, kind: str) -> None:
        self.say(f"{self.options.count} hand-overs: {kind}")
        hand_overs.move_queues(world, kind)
        try:
            document = hand_overs.Run(world, self._wanted(kind)).run().document()
        except generations.Unavailable as error:
            self.book.missing[kind] = str(error)
            return
        self.documents[kind] = document
        self.book.figures[kind] = proxy_table.figures_of(document)
        if document["not_done"]:
            self.book.missing[kind] = f"{len(document['not_done'])} weren't done, the first: {document['not_done'][0]}"

    def _failures(self, world: World) -> None:
        """A proxy that dies, and one that hangs."""
        self.say("kill -9, and SIGSTOP, of the proxy")
        for _ in range(self.options.runs):
            self.book.note("death", self._until_noticed(world, signal.SIGKILL))
            self.book.note("death_live", self._until_live())
        for _ in range(min(self.options.runs, 2)):
            with contextlib.suppress(AssertionError):  # then the figure is missing, and says so
                self.book.note("wedge", self._until_noticed(world, signal.SIGSTOP))
            self._end_stopped(world)
            self._until_live()

    def _until_noticed(self, world: World, number: int) -> float:
        """Milliseconds until hawserd tells that this proxy isn't LIVE any more, or that there's another."""
        self._world = world
        before = self._proxy()
        [pid] = generations.envoys(world)
        self._at = time.monotonic()
        os.kill(pid, number)

        def noticed() -> bool:
            now = self._proxy()
            return now["pid"] != before["pid"] or now["state"] != "LIVE"

        poll.until("hawserd notices", noticed, NOTICE_LIMIT, every=0.002)
        self._before = before
        return (time.monotonic() - self._at) * 1000

    def _until_live(self) -> float:
        def live() -> bool:
            now = self._proxy()
            return now["state"] == "LIVE" and now["pid"] not in (0, self._before["pid"])

        poll.until("another proxy is LIVE", live, 60, every=0.002)
        took = (time.monotonic() - self._at) * 1000
        generations.wait_alone(self._world, 30)
        time.sleep(SETTLE)  # so that a crash budget sees no loop
        return took

    def _proxy(self) -> dict[str, typing.Any]:
        return admin_wire.call(self._world.host, "status")["proxy"]

    def _end_stopped(self, world: World) -> None:
        """Where nobody noticed it, or nobody ended it yet."""
        for pid in generations.envoys(world):
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                os.kill(pid, signal.SIGKILL)

    def _idle(self, world: World) -> None:
        """hawserd while nothing happens but supervision."""
        self.say("idle")
        time.sleep(SETTLE)
        assert world.vm.agent is not None
        pid = world.vm.agent.pid
        for _ in range(self.options.runs):
            cpu, switches, begin = procfs.cpu_ms(pid), procfs.switches(pid), time.monotonic()
            time.sleep(IDLE_WINDOW)
            elapsed = time.monotonic() - begin
            self.book.note("idle_cpu", (procfs.cpu_ms(pid) - cpu) / elapsed / 10)
            self.book.note("idle_wakeups", (procfs.switches(pid) - switches) / elapsed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench proxy", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="hand-overs of each kind")
    parser.add_argument("--runs", type=int, default=5, help="rounds of everything else; the medians are shown")
    parser.add_argument("--rps", type=float, default=2200, help="requests a second")
    parser.add_argument("--kind", action="append", choices=proxy_table.KINDS)
    parser.add_argument("--limit", type=float, default=270, help="seconds for the hand-overs of a kind, at most")
    parser.add_argument("--vs-istio", action="store_true", help="also the stock agent")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()

    def time_is_up(_number: int, _frame: object) -> None:
        raise TimeIsUp(f"not finished within {TIME_LIMIT // 60} minutes")

    signal.signal(signal.SIGALRM, time_is_up)
    signal.alarm(TIME_LIMIT)
    machine = procfs.machine()
    bench = Bench(options)
    bench.run()
    machine["load_after"] = procfs.machine()["load"]
    print(
        f"{options.count} hand-overs of each kind; {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, "
        f"{machine['memory_mb']} MB; load before {machine['load']}, after {machine['load_after']}"
    )
    print(bench.book.table())
    for kind, document in bench.documents.items():
        if document["why"]:
            print(f"{kind}: what failed: {document['why']}")
        if document["mesh_failures"]:
            print(f"{kind}: of mutual TLS: {document['mesh_failures'][:3]}")
    if options.json:
        report = {"machine": machine, **bench.book.json(), "runs": bench.documents}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
