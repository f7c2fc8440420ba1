# SPDX-License-Identifier: Apache-2.0
"""`./dev bench netfilter`: what rules cost to apply and to pass, by both backends and by others' tools, side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
import typing

from bench import netfilter_whole, procfs
from bench.netfilter_table import Book
from lab import facts, hawser, layout, poll
from lab.broker_scene import Scene
from lab.broker_wire import call, intent, message
from lab.host import Host
from lab.network import Lab

PROGRAM = f"{layout.BIN_IN_HOST}/bench-netfilter"
AGENT = layout.REPO / ".cache" / "interop" / "bin" / "pilot-agent"
CONNECTS, ROUNDS = 2_000, 9
HEAL_TIMEOUT = 45.0
OWN = ("nftables", "xtables")


class Bench:
    def __init__(self, lab: Lab, runs: int) -> None:
        self.runs = runs
        self.book = Book()
        self.lab = lab
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def timed(self, lane: str, key: str, host: Host, argv: list[str], **how: typing.Any) -> None:
        """A whole command, as a shell would run it: from fork to its end."""
        begun = time.monotonic()
        host.run(argv, timeout=60, **how)
        self.book.note(lane, key, (time.monotonic() - begun) * 1000)

    # -- inside ------------------------------------------------------------------------------------------------

    def inside(self, host: Host) -> None:
        self.say("apply, inside")
        for name, values in json.loads(host.run([PROGRAM, "apply", str(self.runs)], timeout=300).stdout).items():
            lane, _, key = name.partition(" ")
            if lane in OWN:
                self.book.note(lane, key, *values)
            elif name == "plan 10000":
                for own in OWN:
                    self.book.note(own, name, *values)

    # -- whole commands ----------------------------------------------------------------------------------------

    def fork(self, host: Host) -> float:
        """What starting a program in the host costs here, and is no part of anybody's work."""
        samples = []
        for _ in range(self.runs):
            begun = time.monotonic()
            host.run(["/bin/true"])
            samples.append((time.monotonic() - begun) * 1000)
        return sorted(samples)[len(samples) // 2]

    def tools(self, host: Host) -> None:
        self.say("nft -f, iptables-restore")
        host.mkdir("/run/bench", 0o755, 0, 0)
        host.run([PROGRAM, "text", "/run/bench"])
        for _ in range(self.runs):
            for networks, suffix in (("0", ""), ("5000", " 5000")):
                file = f"/run/bench/rules-{networks}"
                self.timed("nft -f", f"whole{suffix}", host, ["nft", "-f", f"{file}.nft"])
                if not suffix:
                    self.timed("nft -f", "whole again", host, ["nft", "-f", f"{file}.nft"])
                self.timed("nft -f", "whole remove" if not suffix else "-", host, ["nft", "flush", "ruleset"])
                both = f"iptables-legacy-restore --noflush <{file}.v4 && ip6tables-legacy-restore --noflush <{file}.v6"
                self.timed("restore", f"whole{suffix}", host, ["sh", "-c", both])
                if not suffix:
                    self.timed("restore", "whole again", host, ["sh", "-c", both])
                out = "for p in ip ip6; do for c in F X; do ${p}tables-legacy -t nat -$c; done; done"
                self.timed("restore", "whole remove" if not suffix else "-", host, ["sh", "-c", out])

    def istio(self, host: Host) -> None:
        if not AGENT.exists():
            self.say("no pilot-agent (tests/interop/build.sh --with-agent): its lane stays empty")
            return
        self.say("pilot-agent istio-iptables")
        target = pathlib.PurePath("/run/bench/pilot-agent")
        host.call(shutil.copy, AGENT, target)
        agent = [str(target), "istio-iptables", "-p", "15001", "-z", "15006", "-u", "882", "-g", "882", "-m", "REDIRECT"]
        agent += ["-i", "*", "-x", "10.200.0.0/16", "-b", "*", "-d", "22,9100,15020,15021,15090", "-o", "3306,5432"]
        for _ in range(self.runs):
            self.timed("istio", "whole", host, agent)
            self.timed("istio", "whole again", host, [*agent, "--force-apply"], check=False)
            self.timed("istio", "whole remove", host, [*agent, "--cleanup-only"])

    # -- the broker --------------------------------------------------------------------------------------------

    def broker(self, backend: str) -> None:
        """A request and its answer over the broker's socket, by a program that runs. Its memory, when it had a second's rest."""
        self.say(f"the broker, {backend}")
        scene = Scene.__new__(Scene)
        scene.vm = self.lab.hosts["vm"]
        scene.hawser = hawser.HawserHost(scene.vm)
        scene.hawser.start_broker("--backend", backend, "--guardian-wait", "600000")  # nobody renews a lease here
        try:
            self._rules_of(scene)
            time.sleep(1)  # what a broker does with its memory, it does half a second after its work
            self.book.note(backend, "rss", procfs.memory_mb(scene.hawser.broker.pid)["rss"])
            for number in range(self.runs):
                self._rules_of(scene, 7000 + number)
            self._flush(scene, backend)
            call(scene.vm, "remove")
        finally:
            scene.vm.stop(scene.hawser.broker)

    def _rules_of(self, scene: Scene, port: int = 3306) -> None:
        exclude = [message("PortRange", first=port, last=port), message("PortRange", first=5432, last=5440)]
        wanted = intent(outbound_exclude=exclude, outbound_exclude_cidrs=["10.200.0.0/16", "fd99::/64"])
        closed = {"inbound_closed": True, "outbound_closed": True}
        time.sleep(netfilter_whole.REST)
        begun = time.monotonic()
        done = call(scene.vm, "plan", intent=wanted, without_proxy=True, on_failure=closed).plan
        if port != 3306:
            took = (time.monotonic() - begun) * 1000
            self.book.note(scene.observe().backend, "asked", took)
        call(scene.vm, "confirm", digest=done.digest)

    def _flush(self, scene: Scene, backend: str) -> None:
        commands = {
            "nftables": "nft flush ruleset",
            "xtables": "for p in ip ip6; do for t in nat filter; do ${p}tables-legacy -t $t -F; done; done",
        }
        scene.vm.run(["sh", "-c", commands[backend]])
        begun = time.monotonic()

        def healed() -> bool:
            seen = call(scene.vm, "observe").observe
            return seen.active and bool(seen.ruleset)

        try:
            poll.until("the rules are back", healed, timeout=HEAL_TIMEOUT)
            self.book.note(backend, "healed", (time.monotonic() - begun) * 1000)
        except AssertionError:
            self.say(f"{backend}: not healed in {HEAL_TIMEOUT:g} s")

    # -- connections -------------------------------------------------------------------------------------------

    def connects(self, vm: Host, peer: Host) -> None:
        self.say("connect latency")
        server = peer.popen([PROGRAM, "listen", "80"], stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "up\n"

        def median() -> float:
            how = {"uid": facts.UID_APP, "gid": facts.GID_APP, "timeout": 60}
            return float(vm.run([PROGRAM, "connect", facts.OUTSIDE_IP, "80", str(CONNECTS)], **how).stdout)

        median()
        for _ in range(ROUNDS):
            none = median()
            with tracked(vm):
                conntrack = median()
            for lane in OWN:
                with held(vm, lane):
                    with_rules = median()
                self.book.note(lane, "connect none", none)
                self.book.note(lane, "connect tracked", conntrack)
                self.book.note(lane, "connect 1000", with_rules)
                self.book.note(lane, "connect ratio", with_rules / none)
                self.book.note(lane, "connect tracked ratio", with_rules / conntrack)
        peer.stop(server)


@contextlib.contextmanager
def tracked(host: Host):
    host.run(["nft", "-f", "-"], input="table inet fw { chain c { type filter hook output priority 0; ct state new; }; }")
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", "inet", "fw"])


@contextlib.contextmanager
def held(host: Host, backend: str):
    """Rules with 1,000 excluded networks; the peer is in one of them."""
    holder = host.popen([PROGRAM, "hold", backend, "999", facts.OUTSIDE_IP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "up\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench netfilter", description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    before = os.getloadavg()
    with Lab() as lab:
        vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        peer = lab.add_host("peer", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        bench = Bench(lab, options.runs)
        bench.inside(vm)
        start = bench.fork(vm)
        bench.tools(vm)
        bench.istio(vm)
        for backend in OWN:
            bench.broker(backend)
        # Last: what it leaves in conntrack's table, each new plan looks through for a while.
        bench.connects(vm, peer)
    for backend in OWN:
        netfilter_whole.measure(backend, options.runs, bench.book, bench.say)
    rounded = [tuple(round(value, 2) for value in loads) for loads in (before, os.getloadavg())]
    print(
        f"medians of {options.runs} runs; {os.cpu_count()} cores, Linux {platform.release()}; "
        f"starting a program takes {start:.1f} ms here; load {rounded[0]} before, {rounded[1]} after"
    )
    print(bench.book.table())
    if options.json:
        options.json.write_text(json.dumps({"start_ms": start, **bench.book.json()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
