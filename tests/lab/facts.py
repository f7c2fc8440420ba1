# SPDX-License-Identifier: Apache-2.0
"""The one small mesh that demo, e2e and interop tests use. Addresses exist only in namespaces of the lab."""

TRUST_DOMAIN = "cluster.local"
NAMESPACE = "demo"
CLUSTER_ID = "Kubernetes"
MESH_ID = "mesh1"
NETWORK = "vm-net"

PLANE_NAME = "istiod.istio-system.svc"  # TLS name of control plane and CA
PLANE_PORT = 15012

# addresses on the lab's bridge (v4, v6)
MESH_IP, MESH_IP6 = "10.77.0.10", "fd77::10"  # control plane, and the service `reviews`
VM_IP, VM_IP6 = "10.77.0.20", "fd77::20"  # the host that joins
OUTSIDE_IP, OUTSIDE_IP6 = "10.77.0.30", "fd77::30"  # a host that isn't in the mesh
PREFIX, PREFIX6 = 24, 64

REVIEWS_HOST = "reviews.demo.svc.cluster.local"
REVIEWS_VIP, REVIEWS_PORT = "10.77.100.10", 80  # no route leads to the VIP: only interception reaches it
REVIEWS_MTLS_PORT = 9443  # reviews' own Envoy on MESH_IP, STRICT mTLS
REVIEWS_SA = "reviews"

VM_GROUP = "vm-app"  # WorkloadGroup
VM_SA = "vm-app"
VM_HOST = "vm-app.demo.svc.cluster.local"
VM_PORT = 8080  # the VM's unmodified HTTP server
VM_HEALTH_PATH = "/health"
OTHER_SA = "ratings"  # an identity that an allow-list leaves out

# fixed numeric ids: no user is added to the machine
UID_AGENT = GID_AGENT = 881  # hawser
UID_PROXY = GID_PROXY = 882  # hawser-proxy
GID_ADMIN = 883  # hawser-admin
UID_APP = GID_APP = 65534  # ordinary programs


def spiffe(service_account: str) -> str:
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{service_account}"
