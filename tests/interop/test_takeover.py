# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A host that Istio's own pilot-agent intercepts, in each form that it can, and Hawser in its place."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import pytest

from interop.istiod import cache_dir
from lab import facts, services
from lab.broker_wire import Refused
from lab.network import Lab
from lab.rule_scene import INBOUND, OUTBOUND, PEER, PEER6, VM, VM6, RuleScene, difference

THEIR_OUTBOUND, THEIR_INBOUND = 15101, 15106
FORMS = {
    "legacy": ["--force-iptables-binary", "legacy"],
    "nft-compat": ["--force-iptables-binary", "nft"],
    "native": ["--native-nftables"],
}
TPROXY = 1  # proto/hawser/broker.proto: InboundMode


@pytest.fixture(scope="module")
def pilot_agent() -> str:
    program = cache_dir() / "bin" / "pilot-agent"
    if not os.access(program, os.X_OK):
        pytest.fail("pilot-agent isn't built: run tests/interop/build.sh --with-agent", pytrace=False)
    return str(program)


@pytest.fixture(scope="module", params=["nftables", "xtables"])
def scene(request):
    with Lab() as lab:
        made = RuleScene(lab, request.param)
        made.start_servers(made.vm, transparent=(str(INBOUND), str(THEIR_INBOUND)))
        yield made


@pytest.fixture(autouse=True)
def nothing_left(scene):
    yield
    scene.ask("remove")
    # iptables-nft makes tables with empty built-in chains, and nobody removes them again; so for a test that failed
    for family in ("ip", "ip6"):
        for table in ("nat", "raw", "mangle", "filter"):
            scene.vm.run(["nft", "delete", "table", family, table], check=False)
    assert difference(scene.before, scene.state()) == []


def istio(scene, program: str, form: str, mode: str) -> None:
    flags = ["-p", str(THEIR_OUTBOUND), "-z", str(THEIR_INBOUND), "-u", "1337", "-g", "1337", "-m", mode]
    flags += ["-i", "*", "-b", "*", "-x", "10.99.0.0/16", "-d", "22,15090", "-c", "eth9", "--dual-stack"]
    flags += ["--redirect-dns", "--capture-all-dns", "--drop-invalid"]
    scene.vm.run([program, "istio-iptables", *flags, *FORMS[form]], timeout=60)


@contextlib.contextmanager
def load(host, *targets: tuple[str, int], seen: dict[str, int]):
    words = [word for address, port in targets for word in (address, str(port))]
    program = services.program("landing_load", *words)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = host.popen(program, uid=facts.UID_APP, gid=facts.GID_APP, **pipes)
    assert process.stdout.readline() == "up\n"
    try:
        yield
    finally:
        process.stdin.close()
        for port, count in json.loads(process.stdout.read()).items():
            seen[port] = seen.get(port, 0) + count
        process.wait(10)


def leftover_of_istio(scene) -> list[str]:
    return [line for lines in scene.state().values() for line in lines if "istio" in line.lower() or "1337" in line]


@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY"])
@pytest.mark.parametrize("form", FORMS)
def test_its_rules_are_replaced_without_a_connection_that_passes_both(scene, pilot_agent, form, mode):
    istio(scene, pilot_agent, form, mode)
    assert scene.ports((PEER, 80), (PEER6, 80)) == [THEIR_OUTBOUND] * 2
    assert scene.ports((VM, 8080), (VM6, 8080), host=scene.peer) == [THEIR_INBOUND] * 2
    before = scene.state()
    with pytest.raises(Refused, match="Istio.*HWS-NF-054"):
        scene.plan()
    assert difference(before, scene.state()) == []

    seen_out: dict[str, int] = {}
    seen_in: dict[str, int] = {}
    with load(scene.vm, (PEER, 80), (PEER6, 80), seen=seen_out):
        with load(scene.peer, (VM, 8080), (VM6, 8080), seen=seen_in):
            scene.ask("plan", intent=scene.intent(), takeover=True)
            assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND] * 2
            assert scene.ports((VM, 8080), (VM6, 8080), host=scene.peer) == [INBOUND] * 2
    assert set(seen_out) <= {str(THEIR_OUTBOUND), str(OUTBOUND)}, seen_out
    assert set(seen_in) <= {str(THEIR_INBOUND), str(INBOUND)}, seen_in
    assert leftover_of_istio(scene) == []


def test_its_routing_becomes_ours_where_both_use_tproxy(scene, pilot_agent):
    istio(scene, pilot_agent, "native", "TPROXY")
    seen: dict[str, int] = {}
    with load(scene.peer, (VM, 8080), (VM6, 8080), seen=seen):
        scene.ask("plan", intent=scene.intent(inbound_mode=TPROXY), takeover=True)
        landed = scene.land((VM, 8080), (VM6, 8080), host=scene.peer)
    assert [one["port"] for one in landed] == [INBOUND] * 2 and all(one["from"] == one["mine"] for one in landed)
    # One that begins in the milliseconds in which both mark packets may be lost; none gets past.
    assert set(seen) <= {str(THEIR_INBOUND), str(INBOUND), "TimeoutError"} and seen.get("TimeoutError", 0) <= 2, seen
    assert all("proto 147" in line for line in scene.vm.run(["ip", "rule"]).stdout.splitlines() if "fwmark" in line)
