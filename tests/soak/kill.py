# SPDX-License-Identifier: Apache-2.0
"""`./dev soak`: kill -9 of hawserd (or of the broker) many times under traffic; ends with a table and, if asked, JSON.

Exit status 0: no request failed and nothing leaked. With --broker a stand-in for systemd keeps the broker's
descriptors; with --no-store as well, requests that fall into a gap are counted, and only a long gap is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import random
import sys
import time

from lab import layout, planes, steps
from lab.fd_store import FdStore
from lab.world import World
from soak import crashes

GAP_LIMIT = 2.5  # seconds: hawserd looks at the rules every two


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="at least so many")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--broker", action="store_true", help="kill the broker in place of hawserd")
    parser.add_argument("--no-store", action="store_true", help="with --broker: nobody keeps its descriptors")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the figures")
    parser.add_argument("--plane", choices=planes.NAMES, default="devmesh")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    logs = layout.REPO / ".cache" / "test-logs" / "soak"
    with World(planes.make_plane(options.plane), logs=logs, say=say) as world:
        steps.join(world)
        steps.inbound(world)
        world.vm.renew()
        try:
            document = run(world, options)
        except BaseException:
            print(f"logs of all programs: {world.keep_logs()}", file=sys.stderr)
            raise
        bad = verdict(document, gaps=options.broker and options.no_store)
        if bad:
            print(f"logs of all programs: {world.keep_logs()}", file=sys.stderr)
    print(crashes.table(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    for line in bad:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if bad else 0


def run(world: World, options: argparse.Namespace) -> dict:
    with contextlib.ExitStack() as stack:
        if not options.broker:
            killer = crashes.AgentKiller(world, options.seed)
        elif options.no_store:
            killer = crashes.BrokerKiller(world, options.seed)
        else:
            killer = crashes.BrokerKiller(world, options.seed, stack.enter_context(FdStore(world.host)))
            stack.callback(lambda: world.host.stop(world.vm.broker))
        return measure(world, killer, options)


def measure(world: World, killer: crashes.AgentKiller | crashes.BrokerKiller, options: argparse.Namespace) -> dict:
    with world.traffic() as traffic:
        traffic.more(20)
        before = crashes.remains(world)
        begin = told = time.monotonic()
        while killer.outcome.total < options.kills:
            killer.kill()
            if time.monotonic() - told > 10:
                told = time.monotonic()
                now = [load.report() for load in traffic.loads.values()]
                sent, failed = sum(report.sent for report in now), sum(report.failed for report in now)
                done = f"{killer.outcome.total}/{options.kills} kills in {told - begin:.0f} s"
                say(f"{done}; {sent} requests, {failed} failed")
        traffic.more(20)
        leaks = before.leaks(crashes.remains(world))
        reports = {name: load.stop() for name, load in traffic.loads.items()}
    program = "hawser-broker" if options.broker else "hawserd"
    return {"program": program, **crashes.report(killer.outcome, reports, leaks)}


def verdict(document: dict, gaps: bool) -> list[str]:
    bad = [f"leaked: {leak}" for leak in document["leaks"]]
    failed = sum(load["failed"] for load in document["traffic"].values())
    if gaps:
        if document["gap_ms"]["max"] > 1000 * GAP_LIMIT:
            bad.append(f"the rules were away for {document['gap_ms']['max']} ms")
    elif failed:
        bad.append(f"{failed} requests: {document['failures'][:3]}")
    return bad


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
