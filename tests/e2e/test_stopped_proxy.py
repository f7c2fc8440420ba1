# SPDX-License-Identifier: Apache-2.0
"""An Envoy that no longer reads: the relay slows the control plane down and stays small, and nothing is lost."""

from __future__ import annotations

import typing

from lab import facts, poll, standing
from lab.replacing import stopped

SERVICES = 500
CHANGES = 8
MEMORY_KIB = 16 * 1024  # over what it has with the first set: a set is about 2 MB in three types


def bulk(port: int) -> list[dict[str, typing.Any]]:
    endpoints = [{"address": facts.MESH_IP, "port": facts.REVIEWS_MTLS_PORT}]
    return [
        {
            "host": f"bulk-{i}.demo.svc.cluster.local",
            "vip": f"10.99.{i // 250}.{i % 250 + 1}",
            "service_account": facts.REVIEWS_SA,
            "ports": [{"number": port}],
            "endpoints": endpoints,
        }
        for i in range(SERVICES)
    ]


def clusters(world) -> str:
    generation = world.vm.status()["proxy"]["generation"]
    argv = ["curl", "-sS", "--max-time", "3", "--unix-socket", f"/run/hawser/proxy/{generation}.admin.sock", "http://envoy/clusters"]
    return world.host.run(argv, uid=facts.UID_PROXY, gid=facts.GID_PROXY).stdout


def test_a_stopped_envoy_costs_no_memory_and_gets_the_last_state_when_it_goes_on(world):
    world.vm.join(world.bundle, "proxy.wedge_after=0s")  # else it would be ended as one that hangs
    world.vm.wait("REGISTERED")

    def offer(port: int) -> None:
        world.plane.change(lambda config: config.update(services=[s for s in config["services"] if "bulk-" not in s["host"]] + bulk(port)))

    offer(7000)
    poll.until("the first set is there", lambda: f"|7000||bulk-{SERVICES - 1}." in clusters(world), 20)
    proxy = world.vm.status()["proxy"]
    with standing.cost(world.vm.agent.pid) as spent:
        before = standing.memory_kib(world.vm.agent.pid)
        with stopped(world, proxy["pid"]):
            for change in range(1, CHANGES + 1):
                offer(7000 + change)
            # Also a proxy that doesn't read holds the plane up for a bounded time only: the cache follows.
            last = f"bulk-{SERVICES - 1}.demo.svc.cluster.local"
            held = poll.until(
                "the cache has the last set",
                lambda: world.vm.cli("xds", "status", check=False).returncode == 0 and stalled(world),
                20,
            )
            assert held, "the log says that the proxy doesn't read"
        poll.until("Envoy has the last set", lambda: f"|{7000 + CHANGES}||{last}" in clusters(world), 30)
    text = clusters(world)
    assert all(f"|{7000 + change}||bulk-" not in text for change in range(CHANGES)), "and nothing older"
    now = world.vm.status()["proxy"]
    assert (now["pid"], now["generation"]) == (proxy["pid"], proxy["generation"])
    assert spent.peak_kib <= before + MEMORY_KIB, (before, spent)
    world.vm.leave()


def stalled(world) -> bool:
    return "doesn't read its configuration stream" in (world.host.log_dir / "hawserd.log").read_text(errors="replace")
