# SPDX-License-Identifier: Apache-2.0
"""An identity on the booted Debian: a token in memory outlives a reboot, a systemd credential proves, keys can't be read."""

from __future__ import annotations

import pytest

from lab import facts, poll, steps
from system import scene

pytestmark = pytest.mark.incremental
IN_MEMORY = "/run/lab-tokens/istio-token"
AGENT_SOCKETS = ("hawser-xds.socket", "hawser-sds.socket", "hawser-admin.socket")
DROP_IN = "/etc/systemd/system/hawser.service.d/token.conf"


def test_joins_with_a_token_that_lies_in_memory(world):
    """Where Istio's own files have it: /var/run is a tmpfs."""
    world.host.mkdir("/run/lab-tokens", 0o755)
    world.host.write(IN_MEMORY, world.plane.token(ttl=3600))
    world.host.run(["sh", "-c", f"chown hawser:hawser {IN_MEMORY} && chmod 600 {IN_MEMORY}"])
    root = world.bundle / "root-cert.pem"
    world.host.write("/etc/lab-root.pem", root.read_text())
    world.host.add_name(facts.MESH_IP, facts.PLANE_NAME)
    world.vm.cli(
        "join",
        "--ca",
        f"{facts.PLANE_NAME}:{facts.PLANE_PORT}",
        "--root",
        "/etc/lab-root.pem",
        "--group",
        facts.VM_GROUP,
        "--namespace",
        facts.NAMESPACE,
        "--service-account",
        facts.VM_SA,
        "--network",
        facts.NETWORK,
        "--mesh-id",
        facts.MESH_ID,
        "--set",
        f"identity.token.path={IN_MEMORY}",
    )
    world.vm.ready()
    assert world.vm.status()["identity"]["spiffe_id"] == facts.spiffe(facts.VM_SA)


def test_after_a_reboot_the_token_is_gone_and_the_host_is_still_a_member(world):
    """Its certificate is thrown away as well, so that nothing but the token's copy can prove who it is."""
    old = world.vm.cert()["serial"]
    world.vm.stop_agent()
    world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/identity/current /var/lib/hawser/identity/gen-*"])
    world.host.reboot()
    world.vm.ready()
    assert world.host.run(["test", "-e", IN_MEMORY], check=False).returncode == 1, "that was no memory"
    assert world.vm.cert()["serial"] != old
    steps.outbound(world)


def test_nobody_else_reads_the_keys(world):
    pid = world.vm.main_pid("hawser.service")
    listed = world.host.run(["sh", "-c", "stat -c '%a %U' /var/lib/hawser/identity /var/lib/hawser/identity/gen-*/key.pem"])
    assert set(listed.stdout.split("\n")) - {""} <= {"700 hawser", "600 hawser"}, listed.stdout
    owner = world.host.run(["stat", "-c", "%U", f"/proc/{pid}/mem"]).stdout.strip()
    assert owner == "root", "hawserd can be dumped by its user"
    refused = world.host.run(["setpriv", "--reuid=hawser", "--clear-groups", "cat", f"/proc/{pid}/environ"], check=False)
    assert refused.returncode != 0
    limit = world.host.run(["grep", "Max core file size", f"/proc/{pid}/limits"]).stdout.split()
    assert limit[4:6] == ["0", "0"], limit


def test_a_systemd_credential_proves_who_the_host_is(world):
    world.host.write("/etc/lab-token", world.plane.token(ttl=3600))
    world.host.run(["sh", "-c", "chmod 600 /etc/lab-token && mkdir -p $(dirname " + DROP_IN + ")"])
    world.host.write(DROP_IN, "[Service]\nLoadCredential=hawser-token:/etc/lab-token\n")
    world.host.write("/etc/hawser/conf.d/60-token.yaml", "identity: {token: {source: credential}}\n")
    world.host.systemctl("daemon-reload")
    # with its sockets: the proxy asks on, and would start it again
    world.host.systemctl("stop", "hawser.service", *AGENT_SOCKETS)
    world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/identity/current /var/lib/hawser/identity/gen-* /var/lib/hawser/identity/token"])
    world.host.systemctl("start", *AGENT_SOCKETS, "hawser.service")
    world.vm.ready()
    shown = world.vm.cli("identity", "show").stdout
    assert "credential" in shown, shown
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
