# SPDX-License-Identifier: Apache-2.0
"""The bundle's texts against what istioctl writes for the same group; no control plane is needed."""

from __future__ import annotations

import pytest

from interop import bundle

GROUP = {
    "metadata": {"name": "foo", "namespace": "bar"},
    "spec": {
        "metadata": {"labels": {"version": "v2"}},
        "template": {"serviceAccount": "vm", "network": "far", "ports": {"http": 8080}},
        "probe": {"httpGet": {"port": 8080}},
    },
}
MESH = {
    "trustDomain": "td",
    "defaultConfig": {"discoveryAddress": "istiod:15012", "meshId": "m", "proxyMetadata": {"EXTRA": "it's"}},
}


@pytest.fixture
def proxy() -> dict:
    return bundle.proxy_config(GROUP, MESH, "Kubernetes")


def test_cluster_env_is_sorted_and_quoted_for_a_shell(proxy: dict) -> None:
    labels = '{"service.istio.io/canonical-name":"foo","service.istio.io/canonical-revision":"v2","version":"v2"}'
    expected = [
        "CANONICAL_REVISION='v2'",
        "CANONICAL_SERVICE='foo'",
        "EXTRA='it'\"'\"'s'",
        f"ISTIO_METAJSON_LABELS='{labels}'",
        "ISTIO_INBOUND_PORTS='8080'",
        "ISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15020'",
        "ISTIO_META_AUTO_REGISTER_GROUP='foo'",
        "ISTIO_META_CLUSTER_ID='Kubernetes'",
        "ISTIO_META_DNS_CAPTURE='true'",
        "ISTIO_META_MESH_ID='m'",
        "ISTIO_META_NETWORK='far'",
        'ISTIO_META_POD_PORTS=\'[{"name":"http","containerPort":8080,"protocol":""}]\'',
        "ISTIO_META_WORKLOAD_NAME='foo'",
        "ISTIO_NAMESPACE='bar'",
        "ISTIO_SERVICE='foo.bar'",
        "ISTIO_SERVICE_CIDR='*'",
        "POD_NAMESPACE='bar'",
        "SERVICE_ACCOUNT='vm'",
        "TRUST_DOMAIN='td'",
    ]
    assert bundle.cluster_env(GROUP, proxy["proxyMetadata"]).splitlines() == sorted(expected)


def test_the_groups_probe_and_the_meshs_defaults_go_into_the_proxy_config(proxy: dict) -> None:
    assert proxy["readinessProbe"] == {"httpGet": {"port": 8080}}
    assert proxy["discoveryAddress"] == "istiod:15012"
    assert MESH["defaultConfig"]["proxyMetadata"] == {"EXTRA": "it's"}  # a copy was changed, not the mesh's
