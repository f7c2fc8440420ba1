# SPDX-License-Identifier: Apache-2.0
"""A joined host whose questions for names go to whoever answers on port 15053 as the agent's user.

hawserd has no DNS server yet; dnsmasq stands where it will be. The network's server is another one.
"""

from __future__ import annotations

import subprocess

import pytest

from lab import facts, poll, services, steps

pytestmark = pytest.mark.incremental
PORT = 15053
OF_AGENT, OF_SERVER = "192.0.2.1", "192.0.2.2"
NAME = "names.test"
SETTINGS = "/etc/hawser/conf.d/60-test.yaml"
# hawserd looks every two seconds whether somebody answers there
NOTICED = 8


def dnsmasq(host, *options: str, uid: int | None = None) -> subprocess.Popen:
    common = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file="]
    user = ["--user=root"] if uid is None else ["--user="]
    return host.popen(["dnsmasq", *common, "--cache-size=0", *user, *options], log="dnsmasq.log", uid=uid)


def ask(world, server: str = facts.OUTSIDE_IP, protocol: str = "udp") -> str:
    program = services.program("dns_client", protocol, server, NAME)
    return world.host.run(program, uid=facts.UID_APP, gid=facts.GID_APP, timeout=20, check=False).stdout.strip()


def verify(world) -> str:
    return world.vm.cli("intercept", "verify").stdout


def test_joins(world):
    steps.join(world)
    dnsmasq(world.outside, f"--address=/{NAME}/{OF_SERVER}")
    poll.until("the network's server answers", lambda: ask(world) == OF_SERVER)


def test_where_nobody_answers_names_are_asked_as_before(world):
    world.host.write(SETTINGS, "interception: {dns: {capture: all}}\n")
    world.vm.cli("intercept", "apply")
    assert [ask(world, protocol=protocol) for protocol in ("udp", "tcp")] == [OF_SERVER] * 2
    assert "dns4" not in verify(world)


def test_questions_go_to_the_agents_port_as_soon_as_somebody_answers_there(world):
    world.agents_dns = dnsmasq(
        world.host,
        f"--port={PORT}",
        "--listen-address=127.0.0.1,::1",
        "--bind-interfaces",
        f"--address=/{NAME}/{OF_AGENT}",
        uid=facts.UID_AGENT,
    )
    poll.until("captured", lambda: ask(world) == OF_AGENT, timeout=NOTICED)
    assert [ask(world, facts.OUTSIDE_IP6), ask(world, protocol="tcp")] == [OF_AGENT] * 2
    assert f"answered by port {PORT}" in verify(world)


def test_a_restart_of_hawserd_changes_nothing_of_it(world):
    world.vm.kill_agent()
    assert ask(world) == OF_AGENT
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=30)
    assert ask(world) == OF_AGENT


def test_who_dies_is_asked_no_more(world):
    world.host.stop(world.agents_dns)
    poll.until("asked directly", lambda: ask(world) == OF_SERVER, timeout=NOTICED)
    assert ask(world, protocol="tcp") == OF_SERVER
    steps.outbound(world)
