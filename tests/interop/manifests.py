# SPDX-License-Identifier: Apache-2.0
"""The cluster's objects: what an operator would have applied before a VM joins."""

from __future__ import annotations

import yaml

from lab import facts

ISTIO_NAMESPACE = "istio-system"
APP_LABEL = {"app": facts.VM_GROUP}
CALLERS_POLICY = "vm-app-callers"


def mesh_config(metrics: bool, also_trusted: str | None = None) -> dict:
    """The mesh's settings as an operator writes them (istioctl copies defaultConfig into a bundle).

    `metrics`: with the provider that Istio's installation switches on, which makes istiod send `istio.stats`.
    `also_trusted`: a root besides the CA's own.
    """
    return {
        "trustDomain": facts.TRUST_DOMAIN,
        "rootNamespace": ISTIO_NAMESPACE,
        "defaultConfig": {
            "discoveryAddress": f"{facts.PLANE_NAME}:{facts.PLANE_PORT}",
            "meshId": facts.MESH_ID,
        },
        **({"defaultProviders": {"metrics": ["prometheus"]}} if metrics else {}),
        **({"caCertificates": [{"pem": also_trusted}]} if also_trusted else {}),
    }


def config_map(metrics: bool, also_trusted: str | None = None) -> dict:
    """From where istiod reads them, and goes on reading them."""
    data = {"mesh": yaml.safe_dump(mesh_config(metrics, also_trusted)), "meshNetworks": "networks: {}\n"}
    return {**_core("ConfigMap", "istio", ISTIO_NAMESPACE), "data": data}


def before_istiod(metrics: bool) -> list[dict]:
    """Namespaces, accounts, and the ConfigMap that istiod reads its mesh configuration from."""
    return [
        _core("Namespace", ISTIO_NAMESPACE),
        _core("Namespace", facts.NAMESPACE),
        config_map(metrics),
        *(service_account(name) for name in (facts.VM_SA, facts.REVIEWS_SA, facts.OTHER_SA)),
    ]


def service_account(name: str) -> dict:
    return _core("ServiceAccount", name, facts.NAMESPACE)


def mesh() -> list[dict]:
    """Everything in Istio's own kinds: reviews, the VM's group and service, STRICT mTLS."""
    return [strict(), reviews(), workload_group(), vm_service()]


def strict() -> dict:
    return _istio("security", "PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}})


def reviews() -> dict:
    endpoint = {"address": facts.MESH_IP, "serviceAccount": facts.REVIEWS_SA, "labels": {"app": "reviews"}}
    port = {
        "number": facts.REVIEWS_PORT,
        "name": "http",
        "protocol": "HTTP",
        "targetPort": facts.REVIEWS_MTLS_PORT,
    }
    spec = {
        "hosts": [facts.REVIEWS_HOST],
        "addresses": [facts.REVIEWS_VIP],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [port],
        "endpoints": [endpoint],
        "subjectAltNames": [facts.spiffe(facts.REVIEWS_SA)],
    }
    return _istio("networking", "ServiceEntry", "reviews", spec)


def workload_group() -> dict:
    probe = {"periodSeconds": 1, "httpGet": {"path": facts.VM_HEALTH_PATH, "port": facts.VM_PORT}}
    spec = {
        "metadata": {"labels": APP_LABEL},
        "template": {"serviceAccount": facts.VM_SA, "network": facts.NETWORK},
        "probe": probe,
    }
    return _istio("networking", "WorkloadGroup", facts.VM_GROUP, spec)


def vm_service() -> dict:
    spec = {
        "hosts": [facts.VM_HOST],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": facts.VM_PORT, "name": "http", "protocol": "HTTP"}],
        "workloadSelector": {"labels": APP_LABEL},
    }
    return _istio("networking", "ServiceEntry", facts.VM_GROUP, spec)


def callers(service_accounts: list[str]) -> dict:
    """Only these may call the VM's service; an ALLOW policy without rules allows nobody."""
    principals = [f"{facts.TRUST_DOMAIN}/ns/{facts.NAMESPACE}/sa/{name}" for name in service_accounts]
    rules = [{"from": [{"source": {"principals": principals}}]}] if principals else []
    spec = {"selector": {"matchLabels": APP_LABEL}, "action": "ALLOW", "rules": rules}
    return _istio("security", "AuthorizationPolicy", CALLERS_POLICY, spec)


def _core(kind: str, name: str, namespace: str | None = None) -> dict:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _istio(group: str, kind: str, name: str, spec: dict) -> dict:
    return {
        "apiVersion": f"{group}.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": facts.NAMESPACE},
        "spec": spec,
    }
