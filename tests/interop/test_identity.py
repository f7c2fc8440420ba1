# SPDX-License-Identifier: Apache-2.0
"""An identity by a real istiod: each proof, other kinds of keys, tokens of a real API server, and a root that is replaced."""

from __future__ import annotations

import json

import pytest

from interop import pki
from interop.istiod import IstiodPlane
from lab import facts, fixtures, poll, steps
from lab.hawser import AGENT

pytestmark = pytest.mark.incremental
IDENTITY = "/var/lib/hawser/identity"
DROP_IN = "/etc/hawser/conf.d/60-test.yaml"
KUBECONFIG = "/etc/hawser/kubeconfig"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    with fixtures.world(request, IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true", "ISTIO_MULTIROOT_MESH": "true"})) as made:
        yield made


def renewed(world) -> dict:
    before = world.vm.cert()["serial"]
    world.vm.renew()
    now = world.vm.cert()
    assert now["serial"] != before
    return now


def start_anew(world, *lost: str, config: str | None = None) -> None:
    """hawserd without what it lost."""
    world.vm.stop_agent()
    world.host.run(["sh", "-c", "; ".join(f"rm -rf {IDENTITY}/{name}" for name in lost) or "true"])
    if config is not None:
        world.host.write(DROP_IN, config)
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=60)


def test_joins_by_the_token(world):
    steps.join(world)


def test_renews_by_certificate_and_token(world):
    renewed(world)


def test_renews_by_the_certificate_alone(world):
    world.host.run(["rm", f"{IDENTITY}/token"])
    renewed(world)
    steps.outbound(world)


def test_comes_back_by_a_new_token_alone(world):
    before = world.vm.cert()["serial"]
    world.vm.stop_agent()
    world.host.run(["sh", "-c", f"rm -rf {IDENTITY}/current {IDENTITY}/gen-*"])
    world.vm.start_agent()
    world.vm.cli("identity", "prove", "--token-file", "-", input=world.plane.token(facts.VM_SA))
    world.vm.wait("REGISTERED", timeout=60)
    assert world.vm.cert()["serial"] != before


@pytest.mark.parametrize("kind, text", [("ec-p384", "EC secp384r1"), ("rsa-2048", "RSA 2048"), ("ec-p256", "EC prime256v1")])
def test_certifies_other_kinds_of_keys(world, kind, text):
    start_anew(world, config=f"identity: {{key: {kind}}}\n")
    assert renewed(world)["chain"][0]["key"] == text
    steps.outbound(world)


def test_tokens_come_from_the_api_server(world):
    world.host.write(KUBECONFIG, world.plane.kubeconfig(), mode=0o600, uid=AGENT, gid=AGENT)
    source = f"identity: {{token: {{source: kubernetes, kubeconfig: {KUBECONFIG}}}}}\n"
    start_anew(world, "current", "gen-*", "token", config=source)
    assert world.vm.cert()["spiffe_id"] == facts.spiffe(facts.VM_SA)
    shown = json.loads(world.vm.cli("identity", "show", "--json").stdout)
    assert shown["proof"]["source"] == "kubernetes" and shown["proof"]["attests_again"] is True, shown


def test_the_meshs_root_is_replaced_and_the_host_follows(world):
    """istiod's own certificate moves to a root that the host wasn't joined with."""
    old, new = world.plane.authority, pki.authority("Istio's second root")
    both = old.certificate_pem + new.certificate_pem
    issuers = []
    for authority, roots in ((old, both), (new, both), (new, new.certificate_pem)):
        world.plane.replace_authority(authority, roots)
        poll.until("the stream is back", lambda: world.vm.status()["control_plane"]["connected"], 60)
        issuers.append(renewed(world)["issuer"])
    assert "second" not in issuers[0] and "second" in issuers[1] and "second" in issuers[2], issuers
    shown = json.loads(world.vm.cli("trust", "show", "--json").stdout)
    retired = [root["subject"] for root in shown["roots"] if root.get("retired_until")]
    assert len(shown["roots"]) == 2 and len(retired) == 1 and "second" not in retired[0], shown


def test_a_root_that_the_mesh_trusts_besides_comes_from_the_control_plane(world):
    """istio.mesh.v1alpha1.ProxyConfig, which istiod sends where ISTIO_MULTIROOT_MESH is on."""
    other = pki.authority("The root of a mesh next door")
    shown = lambda: json.loads(world.vm.cli("trust", "show", "--json").stdout)["roots"]  # noqa: E731
    next_door = lambda: [root for root in shown() if "next door" in root["subject"]]  # noqa: E731
    assert not next_door()
    world.plane.trust_besides(other.certificate_pem)
    told = poll.until("the control plane's root is trusted", next_door, 60)[0]
    assert told["sources"] == ["control-plane"], told
    steps.outbound(world)
    world.plane.trust_besides(None)
    poll.until("it is left out again", lambda: not next_door() or next_door()[0].get("retired_until"), 60)
