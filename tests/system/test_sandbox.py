# SPDX-License-Identifier: Apache-2.0
"""The proxy's sandbox follows root's word: Lua runs where it's allowed, and doesn't end the proxy where it isn't; an end
at the limit of memory is told as one."""

from __future__ import annotations

import json

import pytest

from lab import facts, layout, poll, services
from system import hawser, machine, scene

pytestmark = pytest.mark.incremental
SILENT_PORT = 9999


def by_lua(world) -> bool:
    return services.curl(world.host, f"http://{facts.REVIEWS_HOST}/lua").body == "by Lua"


def rejected(world) -> bool:
    item = next((item for item in world.vm.status().get("items", []) if item["name"] == "proxy-config"), {})
    return item.get("id") == "HWS-XDS-053"


def relaxed(world) -> dict[str, str]:
    (unit,) = world.vm.proxy_units()
    return {name: world.host.unit(unit)[name] for name in ("MemoryDenyWriteExecute", "SystemCallFilter")}


def configure(world, line: str) -> None:
    world.host.write("/etc/hawser/broker.env", f"{line}\n")
    world.host.systemctl("restart", "hawser-broker.service")
    world.vm.ready()
    world.vm.cli("proxy", "restart", "--hand-over", "planned-cold")
    poll.until("the proxy is alone", lambda: len(world.vm.proxy_units()) == 1, 20)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_joins(world):
    world.vm.join(world.bundle, "proxy.drain=1s")
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_a_push_of_lua_does_not_end_the_proxy(world):
    assert relaxed(world)["MemoryDenyWriteExecute"] == "yes"
    pid = world.vm.proxy_pid()
    world.plane.faults(lua=True)
    poll.until("the proxy rejects it", lambda: rejected(world), 20)
    assert scene.in_mesh(world) and not by_lua(world)
    assert world.vm.proxy_pid() == pid


def test_by_roots_leave_lua_serves(world):
    world.plane.faults(lua=False)
    poll.until("nothing is rejected", lambda: not rejected(world), 20)
    before = relaxed(world)["SystemCallFilter"]
    configure(world, "HAWSER_PROXY_ALLOW=lua")
    assert relaxed(world) == {"MemoryDenyWriteExecute": "no", "SystemCallFilter": before}
    pid = world.vm.proxy_pid()
    world.plane.faults(lua=True)
    poll.until("Lua answers", lambda: by_lua(world), 20)
    assert scene.in_mesh(world) and not rejected(world)
    assert world.vm.proxy_pid() == pid


def test_an_adopted_proxy_keeps_its_leave(world):
    """hawserd asks the broker before it serves a proxy that runs already."""
    pid = world.vm.proxy_pid()
    world.vm.restart_agent()
    world.vm.ready()
    world.plane.faults(lua=False)
    poll.until("Lua is gone", lambda: not by_lua(world), 20)
    world.plane.faults(lua=True)
    poll.until("Lua answers", lambda: by_lua(world), 20)
    assert world.vm.proxy_pid() == pid and not rejected(world)


SILENT = f"""
import socket
server = socket.create_server(("0.0.0.0", {SILENT_PORT}), backlog=1024)
held = []
while True:
    held.append(server.accept())
"""
# Fills what the proxy buffers for each connection, until there's no proxy.
BOMB = f"""
import socket
held = []
while True:
    try:
        held.append(socket.create_connection(({facts.OUTSIDE_IP!r}, {SILENT_PORT}), timeout=2))
    except OSError:
        break
    held[-1].setblocking(False)
    for each in held:
        try:
            while each.send(bytes(1 << 16)):
                pass
        except OSError:
            pass
"""


@pytest.mark.skipif(not machine.memory_is_limited(), reason="no cgroup v2 with a memory controller")
def test_an_end_at_the_limit_of_memory_is_told_as_one(world):
    configure(world, "HAWSER_PROXY_MEMORY_MAX=160M")
    pid = world.vm.proxy_pid()
    programs = {unit: world.vm.main_pid(unit) for unit in hawser.SERVICES}
    server = world.outside.popen([layout.PYTHON, "-c", SILENT], log="silent.log")
    bomb = world.host.popen([layout.PYTHON, "-c", BOMB], log="bomb.log")
    try:
        poll.until("the kernel ends the proxy", lambda: world.vm.proxy_pid() not in (0, pid), 60)
    finally:
        world.host.stop(bomb)
        world.outside.stop(server)
    world.vm.ready()
    assert {unit: world.vm.main_pid(unit) for unit in hawser.SERVICES} == programs
    entries = json.loads(world.vm.cli("proxy", "history", "--json").stdout)["entries"]
    assert any("out of memory" in entry.get("reason", "") for entry in entries), entries
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    assert 'hawser_proxy_crashes_total{cause="out_of_memory"} 1' in metrics
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
