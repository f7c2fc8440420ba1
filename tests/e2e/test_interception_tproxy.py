# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Inbound without a change of addresses (TPROXY), under either backend."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from lab import facts, poll
from lab.broker_wire import Refused
from lab.rule_scene import (  # noqa: F401 (fixtures)
    INBOUND,
    OUTBOUND,
    PEER,
    PEER6,
    VM,
    VM6,
    difference,
    nothing_left,
    owner,
    ports_of,
    scene,
)

TPROXY, MARK = 1, 1337
BOTH = ((VM, 8080), (VM6, 8080))


@pytest.fixture(scope="module", autouse=True)
def transparent(scene):
    scene.start_servers(scene.vm, transparent=(str(INBOUND),))


def plan(scene, **changes):
    return scene.plan(inbound_mode=TPROXY, **changes)


def test_the_proxy_sees_the_true_source_and_the_true_destination(scene):
    plan(scene)
    for landed, (address, port) in zip(scene.land(*BOTH, host=scene.peer), BOTH):
        assert landed["port"] == INBOUND
        assert landed["from"] == landed["mine"], "the caller's own address"
        assert landed["to"] == [address, port], "where it was going"


def test_probes_from_outside_reach_the_proxy(scene):
    details = {p.name: p.detail for p in plan(scene).probes}
    assert details["in4"] == details["in6"] == f"reached the listener on port {INBOUND}"


def test_outbound_is_redirected_as_ever(scene):
    plan(scene)
    assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND, OUTBOUND]


def test_what_is_never_captured_isnt(scene):
    plan(scene, hbone_port=15008, inbound_exclude=ports_of(8443))
    direct = (22, 15008, 15020, 8443)
    assert scene.ports(*((VM, port) for port in direct), host=scene.peer) == list(direct)
    assert scene.ports(*((VM6, port) for port in direct), host=scene.peer) == list(direct)
    assert scene.ports(*BOTH, ("127.0.0.1", 8080)) == [8080] * 3, "the host's own call"


def test_the_proxy_calls_the_program_with_the_callers_address(scene):
    """From an address of another host, so the program's answer has to be brought back."""
    plan(scene)
    calls = [{"address": VM, "port": 8080, "source": PEER, "mark": MARK}]
    calls += [{"address": VM6, "port": 8080, "source": PEER6, "mark": MARK}]
    for landed, source in zip(scene.land(*calls, uid=None), (PEER, PEER6)):
        assert landed["port"] == 8080 and landed["from"][0] == source


def test_what_the_proxy_sends_to_its_own_host_is_somebodys_call(scene):
    plan(scene, self_call=True, proxy=owner(uids=[facts.UID_PROXY]))
    assert scene.ports(*BOTH, uid=facts.UID_PROXY) == [INBOUND, INBOUND]
    passed_on = [{"address": VM, "port": 8080, "source": "127.0.0.6"}, {"address": VM6, "port": 8080, "source": "::6"}]
    assert scene.ports(*passed_on, uid=facts.UID_PROXY) == [8080, 8080]


def test_a_connection_outlives_a_plan_that_is_applied_anew(scene):
    plan(scene)

    def work():
        client = socket.create_connection((VM, 8080), timeout=5)
        return client, client.recv(4096)

    client, told = scene.peer.call(work)
    with client:
        assert f'"port": {INBOUND}'.encode() in told
        plan(scene, inbound_exclude=ports_of(8443))
        client.sendall(b"still there")
        assert client.recv(64) == b"still there"


def call_with_address(scene, address: str, source: str) -> socket.socket:
    """As the proxy's: from its caller's address, with the mark that brings the answers back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    level, option = (socket.SOL_IP, 19) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 75)  # IP(V6)_TRANSPARENT

    def work() -> socket.socket:
        client = socket.socket(family)
        client.settimeout(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        client.setsockopt(level, option, 1)
        client.bind((source, 0))
        client.connect((address, 8080))
        return client

    client = scene.vm.call(work)
    assert b'"port": 8080' in client.recv(4096)
    return client


def test_calls_with_the_callers_address_outlive_a_withdrawal(scene):
    if scene.backend == "xtables":
        pytest.skip("docs/backends.md: they end at once")
    plan(scene)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(call_with_address(scene, *ends)) for ends in ((VM, PEER), (VM6, PEER6))]
        removal = threading.Thread(target=scene.ask, args=("remove",))
        removal.start()
        poll.until("new ones go direct", lambda: scene.ports(*BOTH, host=scene.peer) == [8080, 8080])
        for client in held:
            client.sendall(b"still there")
            assert client.recv(64) == b"still there"
    removal.join(timeout=10)
    assert not removal.is_alive(), "what ended isn't waited for"


def test_a_mark_that_another_program_uses_is_refused_by_name_and_nothing_is_changed(scene):
    scene.vm.run(["ip", "rule", "add", "fwmark", str(MARK), "lookup", "200"])
    try:
        before = scene.state()
        with pytest.raises(Refused, match="ip rule .*mark 0x539.*HWS-NF-053"):
            plan(scene)
        assert difference(before, scene.state()) == []
    finally:
        scene.vm.run(["ip", "rule", "delete", "fwmark", str(MARK), "lookup", "200"])
