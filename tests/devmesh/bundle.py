# SPDX-License-Identifier: Apache-2.0
"""The five files that `istioctl x workload entry configure --autoregister` writes for a workload group."""

from __future__ import annotations

import json
import pathlib
import typing

import yaml

from devmesh import ca
from devmesh.config import Config, ConfigError, Group
from devmesh.tokens import TokenIssuer

_LOCAL_EXCLUDE = "22,15090,15021,15020"


def write(config: Config, directory: pathlib.Path, group_name: str | None = None, *, token_ttl: float | None = None) -> None:
    group = next((g for g in config.groups if group_name in (None, g.name)), None)
    if group is None:
        raise ConfigError(f"no workload group {group_name or ''}".rstrip())
    authority = ca.CertificateAuthority.of(config)
    ttl = config.certificates.token_ttl if token_ttl is None else token_ttl
    token = TokenIssuer(config.state_dir).issue(group.namespace, group.service_account, ttl)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "root-cert.pem").write_text(authority.roots_pem)
    (directory / "cluster.env").write_text(_environment(config, group))
    (directory / "mesh.yaml").write_text(yaml.safe_dump({"defaultConfig": _proxy_config(config, group)}))
    (directory / "hosts").write_text(f"{config.plane_address} {config.plane_name}\n")
    ca.write_private(directory / "istio-token", token)


def _metadata(config: Config, group: Group) -> dict[str, str]:
    ports = [{"name": p.name, "containerPort": p.number, "protocol": "TCP"} for p in group.ports]
    network = group.network if group.network is not None else config.mesh.network
    return {
        "CANONICAL_REVISION": group.labels.get("version", "latest"),
        "CANONICAL_SERVICE": group.labels.get("app", group.name),
        "ISTIO_META_AUTO_REGISTER_GROUP": group.name,
        "ISTIO_META_CLUSTER_ID": config.mesh.cluster_id,
        "ISTIO_META_DNS_CAPTURE": "true",
        "ISTIO_META_MESH_ID": config.mesh.mesh_id,
        "ISTIO_META_NETWORK": network,
        "ISTIO_META_POD_PORTS": json.dumps(ports, separators=(",", ":")),
        "ISTIO_META_WORKLOAD_NAME": group.name,
        "ISTIO_METAJSON_LABELS": json.dumps(group.labels, separators=(",", ":"), sort_keys=True),
        "POD_NAMESPACE": group.namespace,
        "SERVICE_ACCOUNT": group.service_account,
        "TRUST_DOMAIN": config.mesh.trust_domain,
    }


def _proxy_config(config: Config, group: Group) -> dict[str, typing.Any]:
    proxy: dict[str, typing.Any] = {
        "discoveryAddress": f"{config.plane_name}:{config.plane_port}",
        "proxyMetadata": _metadata(config, group),
    }
    if group.probe:
        proxy["readinessProbe"] = group.probe
    return proxy


def _environment(config: Config, group: Group) -> str:
    values = {
        **_metadata(config, group),
        "ISTIO_INBOUND_PORTS": ",".join(str(p.number) for p in group.ports) or "*",
        "ISTIO_LOCAL_EXCLUDE_PORTS": _LOCAL_EXCLUDE,
        "ISTIO_NAMESPACE": group.namespace,
        "ISTIO_SERVICE": f"{group.name}.{group.namespace}",
        "ISTIO_SERVICE_CIDR": "*",
    }
    return "".join(f"{key}='{values[key]}'\n" for key in sorted(values))
