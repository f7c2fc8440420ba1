# SPDX-License-Identifier: Apache-2.0
"""`./dev soak --reapply`: rules are applied again and again, in three ways and by both backends, while an ordinary user
connects without a pause. One connection that meets a host without rules ends it with status 1.

The ways: the same plan; a plan that changes each time; a broker that is killed (-9) and started again, with the store of
descriptors that systemd keeps for nftables.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import time

from lab import facts, hawser, layout
from lab.broker_wire import call, intent, message
from lab.fd_store import FdStore
from lab.host import Host
from lab.network import Lab

PROGRAM = f"{layout.BIN_IN_HOST}/bench-netfilter"
BACKENDS = ("nftables", "xtables")
WAYS = ("same", "changed", "restart")
HOSTS = (facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
PROXY_PORTS = (15001, 15006)
UNGUARDED = ("--guardian-wait", "600000")  # nobody renews a lease here


class Reapply:
    def __init__(self, lab: Lab, connects: int) -> None:
        self.connects = connects
        self.vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        self.peer = lab.add_host("peer", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        for port in PROXY_PORTS:
            serve(self.vm, port)
        serve(self.peer, 80)
        self.hawser = hawser.HawserHost(self.vm)

    def plan(self, number: int = 0) -> None:
        exclude = [message("PortRange", first=7000 + number % 1000, last=7000 + number % 1000)]
        done = call(self.vm, "plan", intent=intent(outbound_exclude=exclude), confirm_seconds=0).plan
        call(self.vm, "confirm", digest=done.digest)

    def run(self, backend: str, way: str) -> dict[str, object]:
        with FdStore(self.vm) as store:
            start = lambda: self.hawser.start_broker("--backend", backend, *UNGUARDED, **store.launching())  # noqa: E731
            start()
            self.plan()
            seen, times = {}, 0
            command = [PROGRAM, "tally", str(self.connects), *HOSTS]
            begun = time.monotonic()
            load = self.vm.popen(command, uid=facts.UID_APP, gid=facts.GID_APP, stdout=subprocess.PIPE, text=True)
            while load.poll() is None:
                times += 1
                if way == "restart":
                    self.hawser.broker.kill()
                    self.hawser.broker.wait(5)
                    start()
                self.plan(0 if way == "same" else times)
            seen = json.loads(load.stdout.read())
            took = time.monotonic() - begun
            call(self.vm, "remove")
            self.vm.stop(self.hawser.broker)
        leaked = sum(number for name, number in seen.items() if name != str(PROXY_PORTS[0]))
        return {"backend": backend, "way": way, "connects": sum(seen.values()), "applied": times, "leaked": leaked,
                "seen": seen, "seconds": round(took, 1)}  # fmt: skip


def serve(host: Host, port: int) -> None:
    server = host.popen([PROGRAM, "listen", str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "up\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak --reapply", description=__doc__)
    parser.add_argument("--connects", type=int, default=100_000, help="for each backend and way")
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    results = []
    with contextlib.ExitStack() as stack:
        scene = Reapply(stack.enter_context(Lab()), options.connects)
        for backend in options.backend or BACKENDS:
            for way in options.way or WAYS:
                results.append(scene.run(backend, way))
                print(
                    "{backend:<10} {way:<8} {connects:>9,} connects, {applied:>6,} times applied, {leaked} leaked, "
                    "{seconds} s".format(**results[-1]),
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    for result in results:
        if result["leaked"]:
            print(f"leaked: {result}", file=sys.stderr)
    return 1 if any(result["leaked"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
