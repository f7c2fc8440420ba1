# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments while the host's traffic goes on, and what must be the same afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import statistics
import threading
import time
import typing

from lab import admin_wire, poll
from lab.fd_store import FdStore
from lab.world import World

START_UP = 0.3  # seconds from exec in which a kill counts as one during start-up
RENEWAL = 0.15  # and from the request for a new certificate in which it is one during rotation
RECOVERY_LIMIT = 30.0
FILE_TREES = ("/run/hawser", "/var/lib/hawser", "/etc/hawser", "/dev/shm")


@dataclasses.dataclass
class Outcome:
    """What a run of kills did to the host."""

    seed: int
    kills: dict[str, int] = dataclasses.field(default_factory=dict)  # by moment
    recovery: list[float] = dataclasses.field(default_factory=list)  # seconds, from exec
    gaps: list[float] = dataclasses.field(default_factory=list)  # seconds without rules, for the broker

    def count(self, moment: str) -> None:
        self.kills[moment] = self.kills.get(moment, 0) + 1

    @property
    def total(self) -> int:
        return sum(self.kills.values())


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95, p99 and max in milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at = {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 95, 99)}
    return {name: round(1000 * value, 1) for name, value in {**at, "max": ordered[-1]}.items()}


class AgentKiller:
    """Kills hawserd while it works, while it starts and while it renews; each time it has to find its proxy again."""

    MOMENTS = ("working", "start-up", "rotation")
    WEIGHTS = (60, 25, 15)

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.outcome = Outcome(seed)
        self.proxy = proxy_pid(world)

    def kill(self) -> None:
        """One kill, or one of a restarted hawserd more; returns when the host is registered again."""
        moment = self.random.choices(self.MOMENTS, self.WEIGHTS)[0]
        if moment == "working":
            time.sleep(self.random.uniform(0, 0.3))
        elif moment == "rotation":
            self._renew()
            time.sleep(self.random.uniform(0, RENEWAL))
        else:
            self._kill("working")
            self.world.vm.spawn_agent()
            time.sleep(self.random.uniform(0, START_UP))
        self._kill(moment)
        self._recover()

    def _kill(self, moment: str) -> None:
        assert self.world.vm.agent.poll() is None, f"hawserd ended by itself with {self.world.vm.agent.returncode}"
        self.world.vm.kill_agent()
        self.outcome.count(moment)

    def _renew(self) -> None:
        def ask() -> None:
            try:
                admin_wire.call(self.world.host, "cert_renew")
            except (OSError, RuntimeError):
                pass  # it's killed meanwhile

        # The lab calls into a host one after the other, so this returns with the connection's end, at the latest.
        threading.Thread(target=ask, daemon=True).start()

    def _recover(self) -> None:
        begin = time.monotonic()
        self.world.vm.spawn_agent()
        poll.until("registered again", self._registered, timeout=RECOVERY_LIMIT, every=0.005)
        self.outcome.recovery.append(time.monotonic() - begin)
        proxy = admin_wire.call(self.world.host, "status")["proxy"]
        assert proxy["pid"] == self.proxy, f"the proxy is another one: {proxy}, it was {self.proxy}"
        assert proxy["adopted"] is True, proxy

    def _registered(self) -> bool:
        if self.world.vm.agent.poll() is not None:
            raise poll.Hopeless(f"hawserd ended with {self.world.vm.agent.returncode}")
        admin_wire.call(self.world.host, "wait", event="REGISTERED", timeout_ms=5000)
        return True


class BrokerKiller:
    """Kills the broker. With a store, as a unit has, its rules outlive it; else hawserd has them applied anew."""

    def __init__(self, world: World, seed: int, store: FdStore | None = None) -> None:
        self.world = world
        self.store = store
        if store is not None:
            world.host.stop(world.vm.broker)
            self._start()
            poll.until("the rules are back", lambda: bool(rules(world)), timeout=RECOVERY_LIMIT)
            poll.until("registered again", self._ok, timeout=RECOVERY_LIMIT)
        self.random = random.Random(seed)
        self.outcome = Outcome(seed)
        self.proxy = proxy_pid(world)
        self.rules = rules(world)

    def kill(self) -> None:
        moment = self.random.choices(("working", "start-up"), (70, 30))[0]
        time.sleep(self.random.uniform(0, 0.5))
        if moment == "start-up":
            self._kill()
            self.outcome.count("working")
            self.world.vm.spawn_broker(**self._launching())
            time.sleep(self.random.uniform(0, START_UP / 3))
        self._kill()
        self.outcome.count(moment)
        begin = time.monotonic()
        self._start()
        self.outcome.recovery.append(time.monotonic() - begin)
        # All of them: those of a direction that fails closed outlive the broker.
        poll.until("the rules are there", lambda: rules(self.world) == self.rules, timeout=RECOVERY_LIMIT)
        self.outcome.gaps.append(time.monotonic() - begin)
        poll.until("registered again", self._ok, timeout=RECOVERY_LIMIT)
        assert proxy_pid(self.world) == self.proxy, "the proxy is another one"

    def _launching(self) -> dict[str, typing.Any]:
        return self.store.launching() if self.store is not None else {}

    def _start(self) -> None:
        self.world.vm.start_broker(**self._launching())

    def _kill(self) -> None:
        self.world.vm.broker.kill()
        self.world.vm.broker.wait(5)

    def _ok(self) -> bool:
        return admin_wire.call(self.world.host, "status")["state"] == "ok"


# -- what must be the same before and after ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Remains:
    """What leaks would show in."""

    rules: list[str]
    files: list[str]
    processes: list[str]
    descriptors: dict[str, int]

    # Connections of the traffic come and go; hawserd's predecessors must have left none behind.
    MORE_DESCRIPTORS: typing.ClassVar[dict[str, int]] = {"envoy": 40, "hawser-broker": 4, "hawserd": 8}

    def leaks(self, later: Remains) -> list[str]:
        """Empty if `later` has no more than this."""
        found = []
        for name in ("rules", "files", "processes"):
            before, after = getattr(self, name), getattr(later, name)
            found += [f"{name}: + {line}" for line in after if after.count(line) > before.count(line)]
            found += [f"{name}: - {line}" for line in before if line not in after]
        for program, count in later.descriptors.items():
            if count > self.descriptors.get(program, 0) + self.MORE_DESCRIPTORS[program]:
                found.append(f"descriptors of {program}: {self.descriptors.get(program)} → {count}")
        return found


def remains(world: World) -> Remains:
    find = ["find", *FILE_TREES, "-printf", "%y %m %U:%G %p\n"]
    return Remains(
        rules=rules(world),
        # a renewed certificate and a rewritten snapshot have other numbers; how many files are kept stays
        files=sorted(re.sub(r"/gen-\d+|(?<=\w)\.\d+(?=\.rec$)", _without_number, line) for line in world.host.run(find).stdout.splitlines()),
        processes=sorted(name for name, _ in _processes(world)),
        descriptors={name: count for name, count in _processes(world) if name in Remains.MORE_DESCRIPTORS},
    )


def _without_number(match: re.Match) -> str:
    return re.sub(r"\d+", "N", match.group())


def rules(world: World) -> list[str]:
    """Hawser's ruleset as lines, without what each look changes; empty while nothing is captured."""
    listing = world.host.run(["nft", "list", "ruleset"]).stdout
    if "inet hawser" not in re.sub(r"hawser_anchor", "", listing):
        return []
    changing = re.compile(r"packets \d+ bytes \d+|# progname .*|# handle \d+")
    return [changing.sub("", line).strip() for line in listing.splitlines()]


def _processes(world: World) -> list[tuple[str, int]]:
    """(name, open descriptors) of the host's programs."""
    script = (
        "for p in /proc/[0-9]*; do n=$(cat $p/comm 2>/dev/null) || continue; "
        "case $n in hawserd|hawser-broker|envoy*) "
        'echo "$n $(ls $p/fd | wc -l) $(tr "\\0" " " <$p/cmdline)";; esac; done'
    )
    found = []
    for line in world.host.run(["sh", "-c", script]).stdout.splitlines():
        name, count, command = line.split(" ", 2)
        # The holder of a proxy is a hawser-broker as well, and has few descriptors.
        found.append(("holder" if "--hold" in command else name, int(count)))
    return found


def proxy_pid(world: World) -> int:
    return admin_wire.call(world.host, "status")["proxy"]["pid"]


# -- what is told ------------------------------------------------------------------------------------------------------


def report(outcome: Outcome, loads: dict[str, typing.Any], leaks: list[str]) -> dict[str, typing.Any]:
    """A run as a document."""
    return {
        "seed": outcome.seed,
        "kills": outcome.total,
        "by_moment": outcome.kills,
        "recovery_ms": quantiles(outcome.recovery),
        "recovery_over_1s": sum(1 for seconds in outcome.recovery if seconds > 1),
        "recovery_mean_ms": round(1000 * statistics.fmean(outcome.recovery), 1) if outcome.recovery else None,
        "gap_ms": quantiles(outcome.gaps),
        "traffic": {
            name: {key: getattr(load, key) for key in ("sent", "failed", "p50_ms", "p99_ms", "max_ms")}
            for name, load in loads.items()
        },
        "failures": [failure for load in loads.values() for failure in load.failures][:20],
        "leaks": leaks,
        "cpus": os.cpu_count(),
    }


def table(document: dict[str, typing.Any]) -> str:
    rows = [
        ("kills", f"{document['kills']} ({', '.join(f'{n} {m}' for m, n in document['by_moment'].items())})"),
        ("recovery", json.dumps(document["recovery_ms"]) + f" ms, over 1 s: {document['recovery_over_1s']}"),
    ]
    if document["gap_ms"]:
        rows.append(("rules seen after", json.dumps(document["gap_ms"]) + " ms"))
    for name, load in document["traffic"].items():
        times = f"p99 {load['p99_ms']} ms, max {load['max_ms']} ms"
        rows.append((name, f"{load['sent']} sent, {load['failed']} failed, {times}"))
    rows.append(("leaks", "; ".join(document["leaks"]) or "none"))
    rows.append(("seed", str(document["seed"])))
    return "\n".join(f"  {name:<16} {text}" for name, text in rows)
