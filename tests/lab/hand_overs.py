# SPDX-License-Identifier: Apache-2.0
"""One hand-over of the proxy after the other under a load that doesn't retry, and everything that may not happen then."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import statistics
import time
import typing

from devmesh.plane import DevmeshPlane
from lab import echo, poll, services, steps
from lab.generations import Unavailable, Watcher, counters, leftovers, restart, wait_alone
from lab.host import Host
from lab.world import World

TOO_EARLY = 2.0  # seconds before the predecessor's time is over, in which a stream may end already
COLD_OUTAGE_MS = 1000
SETTLE = 0.5  # after a hand-over, before what is seen counts as steady


@dataclasses.dataclass(frozen=True)
class Options:
    kind: str = ""  # of the hand-over, as `hawser proxy restart --hand-over` takes it; "": hawserd's choice
    count: int = 50
    mix: echo.Mix = echo.Mix()
    drain: int = 3  # seconds
    leaves: int = 6  # seconds that a predecessor may stay
    canary: int = 1  # seconds in which both serve, side by side
    steady: float = 2.0  # seconds between two
    renew_every: float = 0.0  # seconds; 0: certificates aren't renewed on purpose
    binaries: tuple[str, ...] = ()  # to go to and fro between; empty: the same again
    limit: float = 3600.0  # seconds for all

    def settings(self) -> tuple[str, ...]:
        times = {"drain": self.drain, "parent_shutdown": self.leaves, "canary": self.canary, "start_timeout": 15}
        return (*(f"proxy.{name}={seconds}s" for name, seconds in times.items()), "proxy.hand_overs_per_hour=0")


@dataclasses.dataclass(frozen=True)
class HandOver:
    """Times are time.monotonic()."""

    asked: float
    live: float  # the command has ended
    alone: float  # the predecessor is gone and reaped
    took_ms: float  # as hawserd says
    binary: str


def world(logs: pathlib.Path, say: typing.Callable[[str], None] = lambda text: None) -> World:
    return World(DevmeshPlane(edit=echo.add_services), logs=logs, say=say)


def move_queues(scene: World, kind: str) -> None:
    """As the kernel has to be for hawserd to choose side by side by itself: docs/supervision.md."""
    scene.host.sysctl(f"net.ipv4.tcp_migrate_req={int(kind == 'side-by-side')}")


def join(scene: World, options: Options) -> None:
    """The VM joins, and the echo services answer through its proxy."""
    echo.serve(scene.mesh)
    move_queues(scene, options.kind)
    scene.vm.join(scene.bundle, *options.settings())
    scene.vm.wait("REGISTERED")
    for service in (echo.HTTP, echo.GRPC, echo.TCP):
        scene.host.add_name(service.vip, service.host)
    url = f"http://{echo.HTTP.host}/load"
    poll.until("the echo service answers", lambda: services.curl(scene.host, url).body == "ok\n", 30)
    poll.until("reviews reaches the VM", lambda: steps._ok(scene, scene.reviews.POOLED), steps.PUSH_TIMEOUT)


class Run:
    """After run(): what was seen, and what of it may not be."""

    def __init__(
        self,
        scene: World,
        options: Options,
        say: typing.Callable[[str], None] = lambda text: None,
        client: Host | None = None,
    ) -> None:
        """`client` is where the load runs, if not in the VM itself: a host in its network."""
        self._scene = scene
        self._client = client or scene.host
        self._options = options
        self._say = say
        self.done: list[HandOver] = []
        self.backwards: dict[str, int] = {}  # counters that went back, and how often
        self.refused: list[str] = []  # hand-overs that hawserd refused or called off
        self.leaks: list[str] = []
        self.begun = 0.0

    def run(self) -> Run:
        scene, options = self._scene, self._options
        wait_alone(scene, options.leaves + 15)
        before = leftovers(scene)
        with contextlib.ExitStack() as stack:
            load = stack.enter_context(echo.Load(self._client, options.mix))
            mesh = stack.enter_context(scene.traffic())
            mesh.more(10)
            self.watcher = stack.enter_context(Watcher(scene, options.renew_every))
            self.begun = time.monotonic()
            time.sleep(options.steady + SETTLE)
            for number in range(options.count):
                if time.monotonic() - self.begun > options.limit:
                    self.refused.append(f"only {number} of {options.count} in {options.limit:.0f} s")
                    break
                self._one(number)
            mesh.more(10)
            self.ended = time.monotonic()
            self.mesh = {name: each.stop() for name, each in mesh.loads.items()}
            self.seen = load.finish()
        after = leftovers(scene)
        self.leaks = [f"{name}: {count} → {after[name]}" for name, count in before.items() if after[name] != count]
        return self

    def _one(self, number: int) -> None:
        scene, options = self._scene, self._options
        binary = ""
        if options.binaries:
            binary = options.binaries[number % len(options.binaries)]
            scene.vm.cli("proxy", "install", binary)
        counted = counters(scene)
        time.sleep(options.steady)  # reading and hashing binaries isn't steady
        asked = time.monotonic()
        try:
            answer = restart(scene, options.kind)
        except RuntimeError as error:
            if isinstance(error, Unavailable):
                raise
            self.refused.append(str(error))
            return
        live = time.monotonic()
        wait_alone(scene, options.leaves + 30)
        alone = time.monotonic()
        self.done.append(HandOver(asked, live, alone, answer.get("took_ms", (live - asked) * 1000), binary))
        now = counters(scene)
        for series, value in counted.items():
            if now.get(series, value) < value:
                self.backwards[series] = self.backwards.get(series, 0) + 1
        self._say(f"{number + 1}/{options.count}: LIVE after {1000 * (live - asked):.0f} ms, alone after {alone - asked:.1f} s")
        time.sleep(SETTLE)

    # -- what it means ---------------------------------------------------------------------------------------------

    def during(self) -> list[echo.Window]:
        return [(each.asked, each.alone) for each in self.done]

    def steady(self) -> list[echo.Window]:
        return [(each.asked - self._options.steady, each.asked) for each in self.done]

    def early_ends(self) -> list[str]:
        """Streams and TCP connections that ended before the predecessor's time was over."""
        found = []
        stays = self._options.leaves - min(TOO_EARLY, self._options.leaves / 2)
        for end in self.seen.ends:
            last = next((each for each in reversed(self.done) if each.asked <= end.at), None)
            if last is None or not (last.live + stays <= end.at <= last.alone + TOO_EARLY):
                since = "before any hand-over" if last is None else f"{end.at - last.live:+.2f} s from LIVE"
                found.append(f"{end.kind}, {since}: {end.what}")
        return found

    def outages(self) -> list[float]:
        """Seconds a hand-over in which no new connection was served."""
        return [self.seen.longest_gap(each.asked, each.alone) for each in self.done]

    def document(self) -> dict[str, typing.Any]:
        seen = self.seen
        steady, during = (seen.quantile(0.99, windows) for windows in (self.steady(), self.during()))
        switch = seen.quantile(0.99, [(each.asked, each.live + 1) for each in self.done])
        live = [each.live - each.asked for each in self.done] or [0.0]
        return {
            "kind": self._options.kind or "default",
            "hand_overs": len(self.done),
            "not_done": self.refused,
            "seconds": round(self.ended - self.begun, 1),
            "rate": round(seen.rate(), 1),
            "requests": seen.requests(),
            "by_kind": seen.kinds,
            "failed": seen.failed(),
            "why": seen.why(),
            "refused_connects": sum(count for what, count in seen.why().items() if "connect: " in what),
            "ends": len(seen.ends),
            "early_ends": self.early_ends(),
            "p99_ms": {"steady": steady, "hand_over": during, "around_live": switch},
            "p50_ms": {"steady": seen.quantile(0.5, self.steady()), "hand_over": seen.quantile(0.5, self.during())},
            "to_live_ms": {"median": 1000 * statistics.median(live), "max": 1000 * max(live)},
            "outage_ms": [round(1000 * gap, 1) for gap in self.outages()],
            "mesh": {name: {"sent": each.sent, "failed": each.failed} for name, each in self.mesh.items()},
            "mesh_failures": [failure for each in self.mesh.values() for failure in each.failures][:10],
            "counters_backwards": self.backwards,
            "most_proxies": self.watcher.most_proxies,
            "looks": self.watcher.looks,
            "certificates": len(set(self.watcher.seen.serials)),
            "least_left_s": round(self.watcher.seen.least_left, 1),
            "handshakes": self.watcher.seen.handshakes,
            "renewals": self.watcher.renewals,
            "watch_errors": self.watcher.errors[:10],
            "leaks": self.leaks,
        }


def verdict(
    document: dict[str, typing.Any], p99_ratio: float = 2.0, cold_outage_ms: float = COLD_OUTAGE_MS
) -> list[str]:
    """Why the run isn't good; empty if it is."""
    bad = [f"not done: {text}" for text in document["not_done"][:3]]
    bad += [f"leaked: {leak}" for leak in document["leaks"]]
    if document["most_proxies"] > 2:
        bad.append(f"{document['most_proxies']} proxies ran at once")
    if document["counters_backwards"]:
        bad.append(f"{len(document['counters_backwards'])} counters went back: {list(document['counters_backwards'])[:3]}")
    if document["kind"] == "planned-cold":  # then nobody listens for a moment
        late = max(document["outage_ms"], default=0.0)
        return bad + ([f"no new connection was served for {late:.0f} ms"] if late > cold_outage_ms else [])
    failed = document["failed"] + sum(each["failed"] for each in document["mesh"].values())
    if failed:
        bad.append(f"{failed} requests failed: {document['why']} {document['mesh_failures'][:2]}")
    if document["early_ends"]:
        bad.append(f"{len(document['early_ends'])} streams ended too early: {document['early_ends'][:3]}")
    if document["least_left_s"] <= 0:
        bad.append("a certificate was shown that had ended")
    p99 = document["p99_ms"]
    if not p99["hand_over"] <= p99_ratio * p99["steady"]:
        bad.append(f"p99 {p99['hand_over']:.1f} ms in a hand-over, {p99['steady']:.1f} ms else")
    return bad + [f"watching: {e}" for e in document["watch_errors"]]
