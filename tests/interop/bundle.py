# SPDX-License-Identifier: Apache-2.0
"""The five files of `istioctl x workload entry configure --autoregister`, made from the cluster's own objects."""

from __future__ import annotations

import json
import pathlib

import yaml

FILE_MODE = 0o744  # istioctl's, for every file and the token too

# ssh, and the agent's and Envoy's own ports
EXCLUDED_PORTS = "22,15090,15021,15020"


def write(directory: pathlib.Path, *, group: dict, mesh: dict, cluster: str, root: str, token: str, hosts: str) -> None:
    """`group` is the WorkloadGroup, `mesh` the mesh configuration; the directory is made if it isn't there."""
    directory.mkdir(parents=True, exist_ok=True)
    proxy = proxy_config(group, mesh, cluster)
    _write(directory / "mesh.yaml", yaml.safe_dump({"defaultConfig": proxy}))
    _write(directory / "cluster.env", cluster_env(group, proxy["proxyMetadata"]))
    _write(directory / "root-cert.pem", root)
    _write(directory / "istio-token", token)
    _write(directory / "hosts", hosts)


def parse_mesh(text: str) -> dict:
    """The mesh configuration as the ConfigMap has it."""
    return yaml.safe_load(text)


def proxy_config(group: dict, mesh: dict, cluster: str) -> dict:
    spec, name = group["spec"], group["metadata"]["name"]
    template = spec["template"]
    labels = {**spec.get("metadata", {}).get("labels", {}), **template.get("labels", {})}
    service, revision = _canonical(labels, name)
    labels |= {"service.istio.io/canonical-name": service, "service.istio.io/canonical-revision": revision}
    config = dict(mesh["defaultConfig"])
    metadata = {
        **config.get("proxyMetadata", {}),
        "CANONICAL_SERVICE": service,
        "CANONICAL_REVISION": revision,
        "POD_NAMESPACE": group["metadata"]["namespace"],
        "SERVICE_ACCOUNT": template["serviceAccount"],
        "TRUST_DOMAIN": mesh["trustDomain"],
        "ISTIO_META_CLUSTER_ID": cluster,
        "ISTIO_META_MESH_ID": config["meshId"],
        "ISTIO_META_NETWORK": template.get("network", ""),
        "ISTIO_META_WORKLOAD_NAME": name,
        "ISTIO_METAJSON_LABELS": _compact(dict(sorted(labels.items()))),
        "ISTIO_META_DNS_CAPTURE": "true",
        "ISTIO_META_AUTO_REGISTER_GROUP": name,
    }
    if ports := template.get("ports"):
        pod_ports = [{"name": n, "containerPort": p, "protocol": ""} for n, p in sorted(ports.items())]
        metadata["ISTIO_META_POD_PORTS"] = _compact(pod_ports)
    config["proxyMetadata"] = metadata
    if probe := spec.get("probe"):
        config["readinessProbe"] = probe
    return config


def cluster_env(group: dict, metadata: dict[str, str]) -> str:
    name, namespace = group["metadata"]["name"], group["metadata"]["namespace"]
    template = group["spec"]["template"]
    values = {
        **metadata,
        "ISTIO_INBOUND_PORTS": ",".join(str(p) for p in template.get("ports", {}).values()) or "*",
        "ISTIO_NAMESPACE": namespace,
        "ISTIO_SERVICE": f"{name}.{namespace}",
        "ISTIO_SERVICE_CIDR": "*",
        "ISTIO_LOCAL_EXCLUDE_PORTS": EXCLUDED_PORTS,
        "SERVICE_ACCOUNT": template["serviceAccount"],
    }
    return "".join(line + "\n" for line in sorted(f"{k}={_quote(v)}" for k, v in values.items()))


def _canonical(labels: dict[str, str], fallback: str) -> tuple[str, str]:
    names = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
    revisions = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
    service = next((labels[n] for n in names if n in labels), fallback)
    return service, next((labels[n] for n in revisions if n in labels), "latest")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _quote(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


def _write(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(FILE_MODE)
