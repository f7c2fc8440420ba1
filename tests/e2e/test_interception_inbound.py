# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What arrives from elsewhere and is redirected, under either backend."""

from __future__ import annotations

import socket
import struct

from lab import facts, poll
from lab.broker_wire import message
from lab.rule_scene import (  # noqa: F401 (fixtures)
    EXTRA,
    INBOUND,
    OUTBOUND,
    PEER,
    PEER6,
    VM,
    VM6,
    interface,
    nothing_left,
    ports_of,
    scene,
)


def test_hbone_and_excluded_ports_are_left_alone_the_rest_is_told_where_it_was_going(scene):
    scene.plan(hbone_port=15008, inbound_exclude=ports_of((8400, 8500)))
    wanted = ((VM, 15008), (VM6, 15008), (VM, 8443), (VM6, 8443))
    assert scene.ports(*wanted, host=scene.peer) == [15008, 15008, 8443, 8443]
    for landed, address in zip(scene.land((VM, 8080), (VM6, 8080), host=scene.peer), (VM, VM6)):
        assert landed["port"] == INBOUND and landed["original"] == [address, 8080]


def test_services_have_their_own_ports(scene):
    services = [message("Service", ports=ports_of(8080)), message("Service", ports=ports_of((8400, 8500), 8080))]
    for service, name in zip(services, ("a", "b")):
        service.name = name
    scene.plan(services=services)
    assert scene.ports((VM, 8080), (VM6, 8443), (VM, 80), host=scene.peer) == [INBOUND, INBOUND, 80]


def test_an_interface_is_left_out(scene):
    with interface(scene, "ext0"):
        scene.plan(exclude_interfaces=["ex*"])
        assert scene.ports((EXTRA, 80), (VM, 80), host=scene.peer) == [80, INBOUND]
        scene.plan(exclude_interfaces=["e"])
        assert scene.ports((EXTRA, 80), host=scene.peer) == [INBOUND]
        scene.ask("remove")


# No service listens there, so that the host answers a stray segment with a reset.
CAPTURED, EXCLUDED, FIN = 8081, 8444, 0x01


def stray_fin(host, address: str, port: int) -> bool:
    """Sends a segment with FIN alone, which no connection has, and says whether the host answered with a reset."""

    def work() -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        source = PEER6 if family == socket.AF_INET6 else PEER
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.settimeout(0.5)
            segment = struct.pack("!HHIIBBHHH", 45454, port, 1000, 0, 5 << 4, FIN, 1024, 0, 0)
            ends = socket.inet_pton(family, source) + socket.inet_pton(family, address)
            words = struct.unpack(f"!{len(ends + segment) // 2}H", ends + segment)
            total = sum(words) + socket.IPPROTO_TCP + len(segment)
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            raw.sendto(segment[:16] + struct.pack("!H", ~total & 0xFFFF) + segment[18:], (address, 0))
            try:
                while True:
                    answer = raw.recv(2048)
                    tcp = answer if family == socket.AF_INET6 else answer[(answer[0] & 15) * 4 :]
                    if struct.unpack("!HH", tcp[:4]) == (port, 45454):
                        return bool(tcp[13] & 0x04)
            except TimeoutError:
                return False

    return host.call(work)


def test_segments_of_no_connection_are_dropped_where_inbound_is_captured(scene):
    asked = {"inbound_exclude": ports_of(EXCLUDED)}
    scene.plan(**asked)
    assert stray_fin(scene.peer, VM, CAPTURED) and stray_fin(scene.peer, VM6, CAPTURED), "else the test proves nothing"
    scene.plan(**asked, drop_invalid=True)
    assert not stray_fin(scene.peer, VM, CAPTURED) and not stray_fin(scene.peer, VM6, CAPTURED)
    assert stray_fin(scene.peer, VM, EXCLUDED) and stray_fin(scene.peer, VM6, EXCLUDED)
    assert scene.counters()["in_invalid"] == 2
    assert scene.ports((VM, 80), (VM6, 80), host=scene.peer) == [INBOUND, INBOUND]


def test_a_family_without_listeners_is_left_alone_both_ways(scene):
    scene.plan(ipv6=False)
    assert scene.ports((VM, 80), (VM6, 80), host=scene.peer) == [INBOUND, 80]
    assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND, 80]
    scene.plan(ipv4=False)
    assert scene.ports((VM, 80), (VM6, 80), host=scene.peer) == [80, INBOUND]


def test_a_host_with_ipv6_switched_off(scene):
    """Last: the addresses go with it, and come back in another order."""
    scene.vm.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
    try:
        scene.plan(ipv6=False)
        assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND, "none"]
        assert scene.ports((VM, 80), host=scene.peer) == [INBOUND]
        scene.ask("remove")
    finally:
        scene.vm.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0"])
        scene.vm.run(["ip", "address", "add", f"{facts.VM_IP6}/{facts.PREFIX6}", "dev", "eth0", "nodad"])
        poll.until("addresses are back", lambda: "fe80" in scene.vm.run(["ip", "address"]).stdout)
        scene.before = scene.state()
