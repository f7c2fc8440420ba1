# SPDX-License-Identifier: Apache-2.0
"""The plane alone, without hawserd: what istiod, the API server and etcd promise to a workload that joins."""

from __future__ import annotations

import os
import pathlib
import time
import typing

import pytest
import yaml
from cryptography import x509

from interop import kube, manifests, pki
from interop.agent import Agent, node
from interop.istiod import IstiodPlane
from lab import facts, plane, poll
from lab.host import Host

pytestmark = pytest.mark.timeout(180)

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
HEALTH = "type.googleapis.com/istio.v1.HealthInformation"
ENTRY = f"{facts.VM_GROUP}-{facts.VM_IP}-{facts.NETWORK}"
GRACE = 10.0  # istiod's, between a workload's disconnect and its removal
OUTBOUND_REVIEWS = f"outbound|{facts.REVIEWS_PORT}||{facts.REVIEWS_HOST}"
OUTBOUND_VM = f"outbound|{facts.VM_PORT}||{facts.VM_HOST}"


def entry(istiod: IstiodPlane) -> plane.Workload | None:
    return next((w for w in istiod.workloads() if w.name == ENTRY), None)


def test_is_up_in_time(istiod: IstiodPlane) -> None:
    print("seconds:", {k: round(v, 1) for k, v in istiod.start_seconds.items()}, "KiB:", istiod.memory_kib())
    assert sum(istiod.start_seconds.values()) < 60
    assert set(istiod.memory_kib()) == {"etcd", "kube-apiserver", "istiod"}
    assert istiod.workloads() == []


def test_a_token_of_the_tokenrequest_api_gets_its_own_identity_certified(istiod: IstiodPlane) -> None:
    identity = istiod.issue(facts.VM_SA)
    leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
    assert pki.spiffe_id(identity.chain) == facts.spiffe(facts.VM_SA)
    assert leaf.public_key() == _private_key(identity.key).public_key()
    roots = x509.load_pem_x509_certificates(identity.roots.encode())
    leaf.verify_directly_issued_by(roots[0])
    assert identity.roots.strip() == istiod.root().strip()


def _private_key(text: str) -> typing.Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(text.encode(), None)


def test_no_token_and_a_token_for_somebody_else_are_refused(istiod: IstiodPlane) -> None:
    csr = pki.csr_pem(pki.new_key())
    assert istiod.create_certificate(csr, None)["code"] == "UNAUTHENTICATED"
    other_audience = istiod.token(facts.VM_SA, audience="vault")
    assert istiod.create_certificate(csr, other_audience)["code"] == "UNAUTHENTICATED"


def test_a_lifetime_of_more_than_90_days_is_refused(istiod: IstiodPlane) -> None:
    answer = istiod.create_certificate(pki.csr_pem(pki.new_key()), istiod.token(facts.VM_SA), seconds=91 * 86400)
    assert answer["code"] == "INVALID_ARGUMENT"


def test_the_bundle_is_what_istioctl_writes(istiod: IstiodPlane, tmp_path: pathlib.Path) -> None:
    istiod.write_bundle(tmp_path / "bundle")
    files = {p.name: p.read_text() for p in (tmp_path / "bundle").iterdir()}
    assert set(files) == {"root-cert.pem", "istio-token", "cluster.env", "mesh.yaml", "hosts"}
    assert {os.stat(tmp_path / "bundle" / n).st_mode & 0o777 for n in files} == {0o744}
    assert files["hosts"] == f"{facts.MESH_IP} {facts.PLANE_NAME}\n"
    config = yaml.safe_load(files["mesh.yaml"])["defaultConfig"]
    assert config["discoveryAddress"] == f"{facts.PLANE_NAME}:{facts.PLANE_PORT}"
    assert config["readinessProbe"]["httpGet"] == {"path": facts.VM_HEALTH_PATH, "port": facts.VM_PORT}
    assert config["proxyMetadata"]["ISTIO_META_AUTO_REGISTER_GROUP"] == facts.VM_GROUP
    assert config["proxyMetadata"]["ISTIO_META_NETWORK"] == facts.NETWORK
    assert "ISTIO_INBOUND_PORTS='*'\n" in files["cluster.env"]
    labels = '{"app":"vm-app","service.istio.io/canonical-name":"vm-app","service.istio.io/canonical-revision":"latest"}'
    assert f"ISTIO_METAJSON_LABELS='{labels}'\n" in files["cluster.env"]
    answer = istiod.create_certificate(pki.csr_pem(pki.new_key()), files["istio-token"])
    assert pki.spiffe_id(answer["chain"][0]) == facts.spiffe(facts.VM_SA)


def test_a_stream_registers_the_workload_and_its_end_removes_it(istiod: IstiodPlane, mesh_host: Host) -> None:
    with Agent(mesh_host, istiod) as agent:
        agent.ask(CDS)
        clusters = agent.answer("type", CDS)["names"]
        assert OUTBOUND_REVIEWS in clusters
        agent.ask(LDS)
        listeners = agent.answer("type", LDS)["names"]
        assert {"virtualInbound", "virtualOutbound", f"0.0.0.0_{facts.REVIEWS_PORT}"} <= set(listeners)

        registered = poll.until("a WorkloadEntry for the VM", lambda: entry(istiod))
        assert registered.address == facts.VM_IP
        assert registered.service_account == facts.VM_SA
        assert registered.labels["app"] == facts.VM_GROUP
        assert registered.connected
        assert registered.healthy is None

        agent.ask(HEALTH)
        poll.until("the workload is healthy", lambda: entry(istiod).healthy is True)
        agent.ask(HEALTH, error="503 Service Unavailable")
        poll.until("the workload is unhealthy", lambda: entry(istiod).healthy is False)
        agent.ask(HEALTH)
        poll.until("the workload is healthy again", lambda: entry(istiod).healthy is True)

    closed = time.monotonic()
    poll.until("the workload counts as disconnected", lambda: not entry(istiod).connected)
    poll.until("the WorkloadEntry is gone", lambda: entry(istiod) is None, timeout=3 * GRACE)
    assert time.monotonic() - closed > GRACE / 2


def test_a_node_that_contradicts_its_token_is_refused(istiod: IstiodPlane, mesh_host: Host) -> None:
    with Agent(mesh_host, istiod, node=node(NAMESPACE="elsewhere")) as agent:
        agent.ask(CDS)
        assert agent.answer("closed")["closed"] == "PERMISSION_DENIED"


def test_a_group_that_does_not_exist_is_refused(istiod: IstiodPlane, mesh_host: Host) -> None:
    with Agent(mesh_host, istiod, node=node(AUTO_REGISTER_GROUP="no-such-group")) as agent:
        agent.ask(CDS)
        assert agent.answer("closed")["closed"] == "FAILED_PRECONDITION"


def test_a_stream_without_a_token_is_refused(istiod: IstiodPlane, mesh_host: Host) -> None:
    with Agent(mesh_host, istiod, token=None) as agent:
        agent.ask(CDS)
        assert agent.answer("closed")["closed"] == "UNAUTHENTICATED"


def test_callers_can_be_listed_and_the_list_removed(istiod: IstiodPlane) -> None:
    istiod.allow_callers([facts.REVIEWS_SA])
    policy = istiod.kube.get("AuthorizationPolicy", manifests.CALLERS_POLICY, facts.NAMESPACE)
    source = policy["spec"]["rules"][0]["from"][0]["source"]
    assert source["principals"] == [f"{facts.TRUST_DOMAIN}/ns/{facts.NAMESPACE}/sa/{facts.REVIEWS_SA}"]
    istiod.allow_callers([])
    policy = istiod.kube.get("AuthorizationPolicy", manifests.CALLERS_POLICY, facts.NAMESPACE)
    assert not policy["spec"].get("rules")
    for _ in range(2):  # the second time there is none
        istiod.allow_callers(None)
    assert istiod.kube.get("AuthorizationPolicy", manifests.CALLERS_POLICY, facts.NAMESPACE) is None


def test_an_outage_ends_streams_and_keeps_what_is_stored(istiod: IstiodPlane, mesh_host: Host) -> None:
    root = istiod.root()
    with Agent(mesh_host, istiod) as agent:
        agent.ask(CDS)
        agent.answer("type", CDS)
        poll.until("a WorkloadEntry for the VM", lambda: entry(istiod))
        istiod.stop()
        assert agent.answer("closed")["closed"] == "UNAVAILABLE"
    assert not mesh_host.tcp(facts.MESH_IP, facts.PLANE_PORT)
    assert not entry(istiod).connected

    istiod.start(mesh_host)
    assert istiod.root() == root
    assert not entry(istiod).connected  # the entry has outlived istiod, the stream hasn't
    with Agent(mesh_host, istiod) as agent:
        agent.ask(CDS)
        assert OUTBOUND_REVIEWS in agent.answer("type", CDS)["names"]
        poll.until("the workload is connected again", lambda: entry(istiod).connected)


def test_an_api_refusal_has_its_status_and_reason(istiod: IstiodPlane) -> None:
    with pytest.raises(kube.ApiError, match="no-such-account") as refusal:
        istiod.token("no-such-account")
    assert refusal.value.status == 404
