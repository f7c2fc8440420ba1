# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""DNS goes to the agent, with a real resolver (dnsmasq) in the agent's place and another as the network's server."""

from __future__ import annotations

import signal

import pytest

from lab import facts, poll, services
from lab.broker_wire import Refused, message
from lab.rule_scene import (  # noqa: F401 (fixtures)
    OUTBOUND,
    PEER,
    PEER6,
    nothing_left,
    owner,
    scene,
)

PORT = 15053
OF_AGENT, OF_SERVER, UPSTREAM = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SAME_PORT = 44444
RESOLVERS, ALL = 1, 2


def dnsmasq(host, log: str, *options: str, uid: int | None = None):
    common = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file="]
    user = ["--user=root"] if uid is None else ["--user="]
    return host.popen(["dnsmasq", *common, "--cache-size=0", *user, *options], log=log, uid=uid)


@pytest.fixture(scope="module", autouse=True)
def resolvers(scene):
    """The agent's forwards what it doesn't know to the server that programs ask, as its own user."""
    agent = dnsmasq(
        scene.vm,
        "agent-dns.log",
        f"--port={PORT}",
        "--listen-address=127.0.0.1,::1",
        "--bind-interfaces",
        f"--server={PEER}",
        f"--address=/agent.test/{OF_AGENT}",
        uid=facts.UID_AGENT,
    )
    known = (f"--address=/agent.test/{OF_SERVER}", f"--address=/up.test/{UPSTREAM}")
    server = dnsmasq(scene.peer, "server-dns.log", *known)
    for address in (PEER, PEER6):
        poll.until("the server answers", lambda address=address: ask(scene, "udp", address) == OF_SERVER)
    poll.until("the agent's listens", lambda: f":{PORT} " in scene.vm.run(["ss", "-Hltn"]).stdout)
    assert agent.poll() is None and server.poll() is None
    return agent


def ask(scene, protocol: str, server: str, name: str = "agent.test", port: int = 0, uid: int = facts.UID_APP) -> str:
    program = services.program("dns_client", protocol, server, name, *([str(port)] if port else []))
    return scene.vm.run(program, uid=uid, gid=uid, timeout=20).stdout.strip()


def plan(scene, capture: int = ALL, **dns):
    fields = {"capture": capture, "port": PORT, "ipv4": True, "ipv6": True, "agent": owner(uids=[facts.UID_AGENT])}
    return scene.plan(dns=message("Dns", **{**fields, **dns}))


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_questions_go_to_the_agent_in_both_families(scene, protocol):
    plan(scene)
    assert [ask(scene, protocol, server) for server in (PEER, PEER6)] == [OF_AGENT, OF_AGENT]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_what_the_agent_asks_reaches_the_real_server_and_does_not_go_in_circles(scene, protocol):
    plan(scene)
    assert ask(scene, protocol, PEER, "up.test") == UPSTREAM
    assert ask(scene, protocol, PEER, uid=facts.UID_AGENT) == OF_SERVER


def test_the_same_source_port_is_no_reason_to_mix_the_two_up(scene):
    """Within the time for which connection tracking remembers the first question, and in either order."""
    plan(scene)
    for server in (PEER, PEER6):
        for uid, answer in ((facts.UID_APP, OF_AGENT), (facts.UID_AGENT, OF_SERVER), (facts.UID_APP, OF_AGENT)):
            assert ask(scene, "udp", server, port=SAME_PORT, uid=uid) == answer, (server, uid)
    for uid, answer in ((facts.UID_AGENT, OF_SERVER), (facts.UID_APP, OF_AGENT)):
        assert ask(scene, "udp", PEER, port=SAME_PORT + 1, uid=uid) == answer


def test_only_the_servers_that_are_named(scene):
    plan(scene, RESOLVERS, resolvers=["10.77.0.99", PEER6])
    assert ask(scene, "udp", PEER) == OF_SERVER
    assert scene.ports((PEER, 53)) == [OUTBOUND], "as any other TCP"
    assert [ask(scene, protocol, PEER6) for protocol in ("udp", "tcp")] == [OF_AGENT, OF_AGENT]


def test_the_hosts_own_resolver_asks_its_upstream_directly(scene):
    plan(scene, host_resolver=owner(uids=[997]))
    for protocol in ("udp", "tcp"):
        assert ask(scene, protocol, PEER, uid=997) == OF_SERVER
        assert ask(scene, protocol, PEER) == OF_AGENT


def test_a_family_in_which_the_agent_does_not_listen_is_left_alone(scene):
    plan(scene, ipv6=False)
    assert [ask(scene, "udp", server) for server in (PEER, PEER6)] == [OF_AGENT, OF_SERVER]


def test_without_rules_it_goes_direct_again(scene):
    plan(scene)
    assert ask(scene, "udp", PEER, port=SAME_PORT + 2) == OF_AGENT
    scene.ask("remove")
    assert ask(scene, "udp", PEER) == OF_SERVER


def canary(done) -> dict[str, str]:
    return {p.name: p.detail for p in done.probes if p.name.startswith("dns")}


def test_a_question_of_the_brokers_own_shows_that_names_are_answered(scene):
    assert canary(plan(scene, RESOLVERS, resolvers=[PEER, PEER6])) == {
        "dns4": f"asking {PEER}: answered by port {PORT}",
        "dns6": f"asking {PEER6}: answered by port {PORT}",
    }


def test_a_server_that_is_away_is_answered_for_by_the_agent(scene):
    assert canary(plan(scene, resolvers=["10.77.0.99"])) == {"dns4": f"asking 10.77.0.99: answered by port {PORT}"}


def test_a_listener_that_does_not_answer_gets_no_questions(scene, resolvers):
    """Names are asked as before: what would break them is withdrawn before anybody notices."""
    resolvers.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Refused) as refused:
            plan(scene, RESOLVERS, resolvers=[PEER])
        assert "HWS-BR-010" in str(refused.value) and f"port {PORT} didn't answer" in str(refused.value)
        assert ask(scene, "udp", PEER) == OF_SERVER
    finally:
        resolvers.send_signal(signal.SIGCONT)
