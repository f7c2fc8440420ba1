# SPDX-License-Identifier: Apache-2.0
"""`hawser proxy restart`: one Envoy takes over from another."""

from __future__ import annotations

import json
import subprocess
import typing

from lab import facts, layout, poll

STORE = "/var/lib/hawser/proxy/bin"
LEAVES = 6  # seconds that a predecessor may stay
SETTINGS = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=3s", "proxy.start_timeout=5s", "proxy.canary=2s")

# What may be put in the place of an Envoy.
SLEEPS = "exec sleep 3600"
# attaches to its parent, takes its admin interface away, and waits for a relay that isn't there
WAITS = f"""
sed s,xds.sock,none.sock, "$2" > /run/hawser/proxy/deaf.json
shift 2
exec {STORE}/REAL/envoy -c /run/hawser/proxy/deaf.json "$@"
"""


def proxy(world) -> dict[str, typing.Any]:
    return world.vm.status()["proxy"]


def restart(world, *options: str, check: bool = True) -> subprocess.CompletedProcess:
    return world.vm.cli("proxy", "restart", "--json", *options, check=check)


def begin_restart(world, log: str, *options: str) -> subprocess.Popen:
    return world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "proxy", "restart", "--json", *options], log=log)


def restarted(world, *options: str) -> dict[str, typing.Any]:
    return json.loads(restart(world, *options).stdout)


def gates(answer: dict[str, typing.Any]) -> dict[str, bool]:
    return {gate["name"]: gate["passed"] for gate in answer["gates"]}


def envoys(world) -> set[int]:
    """Pids of the processes of the proxy's user."""
    listed = world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} envoy || true"]).stdout
    return {int(pid) for pid in listed.split()}


def wait_until_alone(world, pid: int) -> None:
    poll.until("the predecessor has ended", lambda: envoys(world) == {pid}, LEAVES + 10)
    records = lambda: world.host.run(["sh", "-c", "ls /var/lib/hawser/proxy/run"]).stdout.split()  # noqa: E731
    poll.until("and is reaped", lambda: len(records()) == 1, 15)


def install_fake(world, serve: str) -> None:
    """A program that passes for an Envoy until it should serve: it is accepted by the broker, and never LIVE."""
    script = f"""
set -e
real=$(readlink {STORE}/current)
echo "$real" > {layout.LAB_DIR}/real-envoy
cat > {layout.LAB_DIR}/fake.sh <<'EOF'
#!/bin/sh
case " $* " in *" --version "*|*" --mode "*|*" --hot-restart-version "*) exec {STORE}/REAL/envoy "$@";; esac
{serve}
EOF
sed -i "s/REAL/$real/g" {layout.LAB_DIR}/fake.sh
sum=$(sha256sum {layout.LAB_DIR}/fake.sh | cut -d' ' -f1)
mkdir -p -m 755 {STORE}/$sum
install -m 755 {layout.LAB_DIR}/fake.sh {STORE}/$sum/envoy
ln -sfn $sum {STORE}/current
"""
    world.host.run(["sh", "-c", script])


def reinstall(world) -> None:
    world.host.run(["sh", "-c", f"ln -sfn $(cat {layout.LAB_DIR}/real-envoy) {STORE}/current"])
