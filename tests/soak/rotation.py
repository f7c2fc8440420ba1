# SPDX-License-Identifier: Apache-2.0
"""`./dev soak --rotation`: certificates of a minute under traffic in both directions, for a quarter of an hour.

Nothing may fail, and nobody may be shown a certificate that has ended: status 1 else.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from devmesh.plane import DevmeshPlane
from lab import layout, rotation
from lab.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak --rotation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    logs = layout.REPO / ".cache" / "test-logs/soak"
    with World(DevmeshPlane(), logs=logs) as world:
        world.vm.join(world.bundle, *rotation.JOIN)
        world.vm.wait("REGISTERED")
        try:
            seen = rotation.watch(world, options.minutes * 60)
        except AssertionError as failure:
            print(f"{failure}\nlogs: {world.keep_logs()}", file=sys.stderr)
            return 1
    figures = {
        "minutes": options.minutes,
        "certificates": len(seen.serials),
        "handshakes": seen.handshakes,
        "least_left_seconds": round(seen.least_left, 1),
        "requests": seen.requests,
        "failed": 0,
    }
    print(
        f"{seen.requests:,} requests, 0 failed; {seen.handshakes:,} handshakes by hand saw {len(seen.serials)} certificates, "
        f"the oldest with {seen.least_left:.1f} s to live"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
