# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Another mesh's rules on the host. What the real pilot-agent makes is in tests/interop/test_takeover.py."""

from __future__ import annotations

import pytest

from lab.broker_wire import Refused
from lab.rule_scene import (  # noqa: F401 (fixtures)
    INBOUND,
    OUTBOUND,
    PEER,
    PEER6,
    VM,
    difference,
    nothing_left,
    scene,
)

MESHES = {"Linkerd": "PROXY_INIT_OUTPUT", "Kuma": "KUMA_MESH_OUTBOUND", "Consul": "CONSUL_PROXY_OUTPUT"}


def theirs(scene, engine: str, *arguments: str, family: str = "iptables") -> None:
    scene.vm.run([f"{family}-{engine}", "-t", "nat", *arguments])


@pytest.fixture(params=["legacy", "nft"])
def engine(request, scene):
    yield request.param
    for family in ("iptables", "ip6tables"):
        theirs(scene, request.param, "-F", family=family)
        theirs(scene, request.param, "-X", family=family)
        if request.param == "nft":
            ip = "ip" if family == "iptables" else "ip6"
            scene.vm.run(["nft", "delete", "table", ip, "nat"], check=False)


@pytest.mark.parametrize("mesh", MESHES)
def test_it_is_refused_by_name_and_nothing_is_changed(scene, engine, mesh):
    theirs(scene, engine, "-N", MESHES[mesh])
    before = scene.state()
    with pytest.raises(Refused, match=f"{mesh} .*HWS-NF-054"):
        scene.plan()
    assert difference(before, scene.state()) == []


def test_with_takeover_exactly_theirs_go(scene, engine):
    """Theirs leads to 9000 here; the operator's own rule, to 8443."""
    for family in ("iptables", "ip6tables"):
        own = ("-p", "tcp", "--dport", "2200", "-j", "REDIRECT", "--to", "8443")
        theirs(scene, engine, "-A", "OUTPUT", *own, family=family)
    before = scene.state()
    for family in ("iptables", "ip6tables"):
        theirs(scene, engine, "-N", "PROXY_INIT_OUTPUT", family=family)
        redirect = ("-p", "tcp", "-m", "owner", "--uid-owner", "65534", "-j", "REDIRECT", "--to", "9000")
        theirs(scene, engine, "-A", "PROXY_INIT_OUTPUT", *redirect, family=family)
        theirs(scene, engine, "-I", "OUTPUT", "-j", "PROXY_INIT_OUTPUT", family=family)
    assert scene.ports((PEER, 80), (PEER6, 80)) == [9000, 9000]
    scene.ask("plan", intent=scene.intent(), takeover=True)
    assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND, OUTBOUND]
    assert scene.ports((VM, 80), host=scene.peer) == [INBOUND]
    scene.ask("remove")
    assert difference(before, scene.state()) == []
    assert scene.ports((PEER, 2200)) == [8443]
