# SPDX-License-Identifier: Apache-2.0
"""`./dev soak --hand-overs`: the proxy is replaced again and again, by another version each time, under thousands of
requests a second that nobody repeats, with certificates that change all the while.

Status 1: a request failed, a stream ended before its time, a counter went back, a third proxy ran, something was left.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
import typing

from lab import echo, hand_overs, layout, services


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak --hand-overs", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--kind", default="", help="hot-restart, side-by-side, …; without it hawserd chooses")
    parser.add_argument("--rps", type=float, default=2000)
    parser.add_argument("--drain", type=int, default=3, help="seconds")
    parser.add_argument("--leaves", type=int, default=6, help="seconds that a predecessor may stay")
    parser.add_argument("--renew-every", type=float, default=10, help="seconds; 0: never")
    parser.add_argument("--one-version", action="store_true", help="the same binary each time")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    binaries = () if options.one_version else (services.older_envoy_binary(), services.envoy_binary())
    wanted = hand_overs.Options(
        kind=options.kind,
        count=options.count,
        mix=echo.Mix.of(options.rps),
        drain=options.drain,
        leaves=options.leaves,
        renew_every=options.renew_every,
        binaries=binaries,
    )
    with hand_overs.world(layout.REPO / ".cache" / "test-logs" / "soak", say) as scene:
        try:
            hand_overs.join(scene, wanted)
            document = hand_overs.Run(scene, wanted, say).run().document()
        except BaseException:
            print(f"logs of all programs: {scene.keep_logs()}", file=sys.stderr)
            raise
        bad = hand_overs.verdict(document)
        if bad:
            print(f"logs of all programs: {scene.keep_logs()}", file=sys.stderr)
    print(table(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    for line in bad:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if bad else 0


def table(document: dict[str, typing.Any]) -> str:
    p99, live = document["p99_ms"], document["to_live_ms"]
    rows = [("hand-overs", f"{document['hand_overs']} ({document['kind']}) in {document['seconds']:.0f} s")]
    rows.append(("requests", f"{document['requests']:,} at {document['rate']:,.0f} a second, {document['failed']} failed"))
    for kind, seen in document["by_kind"].items():
        rows.append((f"  {kind}", f"{seen['good']:,} good, {seen['failed']} failed, {seen['ended']} ended by the proxy"))
    for name, seen in document["mesh"].items():
        rows.append((f"  {name}", f"{seen['sent']:,} sent, {seen['failed']} failed (mutual TLS)"))
    rows += [
        ("too early", f"{len(document['early_ends'])} of {document['ends']} streams and connections"),
        ("p99", f"{p99['steady']:.1f} ms steady, {p99['hand_over']:.1f} ms in a hand-over, {p99['around_live']:.1f} ms around LIVE"),
        ("command to LIVE", f"median {live['median']:.0f} ms, at most {live['max']:.0f} ms"),
        ("proxies at once", f"at most {document['most_proxies']} in {document['looks']:,} looks"),
        ("certificates", f"{document['certificates']} in {document['handshakes']:,} handshakes, {document['renewals']} renewals, "
                         f"the oldest with {document['least_left_s']:.0f} s to live"),
        ("counters", f"{len(document['counters_backwards'])} went back"),
        ("leaks", "; ".join(document["leaks"]) or "none"),
    ]  # fmt: skip
    return "\n".join(f"  {name:<16} {text}" for name, text in rows)


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
