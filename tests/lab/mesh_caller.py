# SPDX-License-Identifier: Apache-2.0
"""A caller that learns of the VM from the control plane alone: a real Envoy on the host `mesh`, fed by ADS.

What it is asked on 127.0.0.1:PORT it sends to the endpoints that the plane names, by mTLS as `reviews`, without retries.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile
import typing

from devmesh.envoy_driver import Envoy, SecretServer, bootstrap
from lab import facts, poll, services

if typing.TYPE_CHECKING:
    from lab.world import World

PORT = 7010
CLUSTER = f"outbound|{facts.VM_PORT}||{facts.VM_HOST}"
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


class MeshCaller:
    """Use as a context manager."""

    def __init__(self, world: World) -> None:
        self._host = world.mesh
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="mesh-caller-"))
        self._directory.chmod(0o755)
        shutil.chown(self._directory, facts.UID_PROXY)
        identity = world.plane.issue(facts.REVIEWS_SA)
        self._secrets = SecretServer(self._directory / "sds.sock", identity)
        config = bootstrap(
            token="", roots=identity.roots, address=facts.MESH_IP, api_type="DELTA_GRPC", directory=self._directory
        )
        config["node"]["id"] = f"sidecar~{facts.MESH_IP}~caller.{facts.NAMESPACE}~{facts.NAMESPACE}.svc.cluster.local"
        metadata = {"NAMESPACE": facts.NAMESPACE, "SERVICE_ACCOUNT": facts.REVIEWS_SA, "INSTANCE_IPS": facts.MESH_IP}
        config["node"]["metadata"] = {**metadata, "CLUSTER_ID": facts.CLUSTER_ID, "ISTIO_VERSION": "1.31.0"}
        grpc = config["dynamic_resources"]["ads_config"]["grpc_services"][0]
        grpc["initial_metadata"] = [{"key": "clusterid", "value": facts.CLUSTER_ID}]  # the certificate says who we are
        plane = config["static_resources"]["clusters"][0]["transport_socket"]["typed_config"]["common_tls_context"]
        plane["tls_certificates"] = [
            {"certificate_chain": {"inline_string": identity.chain}, "private_key": {"inline_string": identity.key}}
        ]
        config["static_resources"]["listeners"] = [_listener()]
        # only what calls: the plane's own listeners would want ports of the host
        del config["dynamic_resources"]["lds_config"]
        self._envoy = Envoy(world.mesh, self._directory, config)
        poll.until("the caller's Envoy listens", lambda: world.mesh.tcp("127.0.0.1", PORT), 15)

    def endpoints(self) -> dict[str, str]:
        """Address → health, of the VM's service as this Envoy knows it now."""
        for line in json.loads(self._envoy.get("/clusters?format=json"))["cluster_statuses"]:
            if line["name"] == CLUSTER:
                hosts = line.get("host_statuses", [])
                return {h["address"]["socket_address"]["address"]: str(h.get("health_status")) for h in hosts}
        return {}

    def without_endpoint(self) -> int:
        """Requests that this Envoy answered 503 by itself, because the plane names nobody."""
        stats = json.loads(self._envoy.get("/stats?format=json&filter=upstream_cx_none_healthy"))["stats"]
        return sum(s["value"] for s in stats if CLUSTER in s["name"])

    def wait_for(self, *addresses: str, timeout: float = 15) -> None:
        poll.until(f"the caller knows {addresses}", lambda: sorted(self.endpoints()) == sorted(addresses), timeout)

    def load(self, name: str, **how: typing.Any) -> services.Load:
        return services.Load(self._host, name, f"http://127.0.0.1:{PORT}/load", **how)

    def ask(self, path: str = "/") -> services.Answer:
        return services.curl(self._host, f"http://127.0.0.1:{PORT}{path}")

    def close(self) -> None:
        self._envoy.stop()
        self._secrets.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> MeshCaller:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()


def _listener() -> dict[str, typing.Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": CLUSTER, "timeout": "0s"}}
    manager = {
        "@type": _HCM,
        "stat_prefix": "caller",
        "route_config": {
            "virtual_hosts": [{"name": "vm", "domains": ["*"], "routes": [route]}],
            "validate_clusters": False,
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    return {
        "name": "caller",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": PORT}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
