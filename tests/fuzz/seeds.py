# SPDX-License-Identifier: Apache-2.0
"""Writes the fuzzers' first inputs into tests/fuzz/corpus: `PYTHONPATH=tests .venv/bin/python tests/fuzz/seeds.py`.

Whatever else is in those folders a fuzzer has found. Inputs are small: a fuzzer changes small ones faster.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.service.discovery.v3 import discovery_pb2

from devmesh.ca import CertificateAuthority, pem

CORPUS = pathlib.Path(__file__).with_name("corpus")
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def write(target: str, name: str, data: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def other_settings() -> None:
    """Lines of a file, then "--", then an argument a line."""
    istio = b'ISTIO_INBOUND_PORTS="*"\nISTIO_SERVICE_CIDR=10.0.0.0/8,fd00::/8\nexport INVALID_DROP=true # x\n'
    write("other_settings", "environment", istio)
    write("other_settings", "flags", b"\n--\n-b\n80,90-95\n-i\n*\n-x10.1.0.0/16\n--redirect-dns\n-u\n0,1337\n-m=TPROXY\n")
    write("other_settings", "both", istio + b"\n--\n-c\neth1,docker+\n-q\n443\n-o\n443\n-d\n22\n-g\nroot\n-e\n15018\n")
    write("other_settings", "director", b"SERVICE_CIDR='*'\nENVOY_DNS_PORT=53\nBACKEND_INBOUND_PORTS=80\n\n--\nclean\n-h\n")


def key_store() -> None:
    """Where `current` leads, then files: which, the length in two bytes, the content."""
    authority = CertificateAuthority(pathlib.Path(tempfile.mkdtemp()))
    leaf = authority.issue(3600, spiffe_id="spiffe://cluster.local/ns/vms/sa/web")
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in
               (("key.pem", leaf.key), ("cert-chain.pem", leaf.chain), ("roots.pem", leaf.roots))}  # fmt: skip
    meta = {"schema_version": 2, "min_reader": 1, "machine": {"id": "", "instance": ""}, "renewal": 1, "sha256": digests}

    def file(which: int, text: str) -> bytes:
        return bytes([which, len(text) % 256, len(text) // 256]) + text.encode()

    whole = file(0, leaf.key) + file(1, leaf.chain) + file(2, leaf.roots) + file(3, json.dumps(meta))
    write("key_store", "whole", b"\0" + whole)
    write("key_store", "newer", b"\0" + whole + file(3, json.dumps({**meta, "schema_version": 9, "min_reader": 9})))
    write("key_store", "meta", b"\0" + file(3, json.dumps({"schema_version": 1, "sha256": {}})))
    write("key_store", "second", b"\1" + whole + file(4, "{}") + file(133, leaf.key))
    write("key_store", "nothing", b"\2")


def response(*names: str, removed: tuple[str, ...] = (), version: str = "") -> discovery_pb2.DeltaDiscoveryResponse:
    message = discovery_pb2.DeltaDiscoveryResponse(type_url=CDS, nonce="n1", system_version_info="1")
    for name in names:
        resource = message.resources.add(name=name, version=version)
        resource.resource.Pack(cluster_pb2.Cluster(name=name))
    message.removed_resources.extend(removed)
    return message


def responses() -> None:
    """The first byte says how the rest is cut into pieces."""
    full = response("a", "b", removed=("gone",), version="v7")
    full.resources[0].aliases.append("alias")
    full.resources[1].ttl.FromSeconds(5)
    heartbeat = response("a")
    heartbeat.resources[0].ClearField("resource")
    seeds = {
        "clusters": response("a", "b"),
        "full": full,
        "heartbeat": heartbeat,
        "nothing": response(),
        "removed": response(removed=("a", "b")),
    }
    for name, message in seeds.items():
        write("response", name, b"\x06" + message.SerializeToString())
    body = response("a").SerializeToString()
    write("response", "unknown-fields", b"\x02" + body + b"\x78\x96\x01" + b"\x7d\x01\x02\x03\x04")
    write("response", "length-beyond-the-end", b"\x02" + body + b"\x12\xff\xff\xff\xff\x07")
    write("response", "a-group", b"\x02" + body + b"\x7b\x08\x01\x7c")


def request(**fields: object) -> bytes:
    body = discovery_pb2.DeltaDiscoveryRequest(**fields).SerializeToString(deterministic=True)
    return len(body).to_bytes(2, "little") + body


def requests() -> None:
    """Several requests of a stream, each after its length."""
    first = request(type_url=CDS, node={"id": "sidecar~10.0.0.1~vm.demo~demo.svc.cluster.local", "cluster": "c"})
    endpoints = request(type_url=EDS, resource_names_subscribe=["a", "b"])
    held = request(type_url=CDS, initial_resource_versions={"a": "1", "z": "2"})
    rejected = request(type_url=CDS, response_nonce="h1", error_detail={"code": 3, "message": "no"})
    write("request", "all-clusters", first)
    write("request", "endpoints", first + endpoints + request(type_url=EDS, resource_names_unsubscribe=["a"]))
    write("request", "wildcard", request(type_url=CDS, resource_names_subscribe=["*", "a"]) + request(type_url=CDS, resource_names_unsubscribe=["*"]))
    write("request", "held", held + request(type_url=CDS, response_nonce="h1"))
    write("request", "rejected", first + rejected)
    write("request", "not-a-request", b"\x03\x00\xff\xff\xff" + first)


def field(number: int, value: bytes | int) -> bytes:
    """One field of a small message: lengths and numbers below 128. `hawser/snapshot.proto` has no module in Python."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def framed(*payloads: bytes) -> bytes:
    return b"".join(len(payload).to_bytes(2, "little") + payload for payload in payloads)


def snapshots() -> None:
    """Kind of file, a bit to turn around in two bytes, payloads."""
    header = field(1, CDS.encode()) + field(2, b"1") + field(3, b"node") + field(4, 7) + field(5, 1)
    one = field(1, b"a") + field(2, b"v") + field(3, b"\x1a\x01a")
    two = field(1, b"b") + field(3, b"")
    file = field(1, CDS.encode()) + field(2, b"clusters.pb") + field(4, 100) + field(5, 2) + field(7, 7)
    name = field(1, b"plane.example") + field(2, b"10.0.0.1") + field(2, b"fd00::1") + field(3, 7)
    for kind, data in {
        "type": b"\x02" + b"\x05\x00" + framed(header + field(6, 2), one, two),
        "empty-type": b"\x02" + b"\x00\x01" + framed(header),
        "twice": b"\x02" + b"\x05\x00" + framed(header + field(6, 2), one, one),
        "manifest": b"\x00" + b"\x07\x00" + framed(field(1, b"node") + field(3, 7) + field(5, file)),
        "addresses": b"\x01" + b"\x01\x00" + framed(field(1, name)),
        "not-framed": b"\x82" + b"\x00\x00" + b"HWSXDS\n2" + framed(header),
    }.items():
        write("snapshot", kind, data)


def listener() -> listener_pb2.Listener:
    """With two of Istio's own HTTP filters, one of its network filters, and others that stay."""
    manager = hcm_pb2.HttpConnectionManager(stat_prefix="s")
    for name in ("stats.PluginConfig", "io.istio.http.peer_metadata.Config", "envoy.extensions.filters.http.router.v3.Router"):
        manager.http_filters.add(name=name).typed_config.type_url = f"type.googleapis.com/{name}"
    out = listener_pb2.Listener(name="l")
    chain = out.filter_chains.add()
    exchange = "envoy.tcp.metadataexchange.config.MetadataExchange"
    chain.filters.add(name="exchange").typed_config.type_url = f"type.googleapis.com/{exchange}"
    chain.filters.add(name="http").typed_config.Pack(manager)
    return out


def strips() -> None:
    """What the proxy lacks, which kind of message, the message."""
    delta = discovery_pb2.DeltaDiscoveryResponse(type_url=LDS, nonce="n")
    delta.resources.add(name="l", version="1").resource.Pack(listener())
    world = discovery_pb2.DiscoveryResponse(type_url=LDS, nonce="n", version_info="1")
    world.resources.add().Pack(listener())
    write("strip", "delta", b"\x0f\x00" + delta.SerializeToString())
    write("strip", "only-one", b"\x08\x00" + delta.SerializeToString())
    write("strip", "world", b"\x0f\x01" + world.SerializeToString())
    write("strip", "resource", b"\x0f\x02" + delta.resources[0].SerializeToString())


def worlds() -> None:
    """State-of-the-world requests."""
    node = {"id": "program", "cluster": "c", "metadata": {"CLUSTER_ID": "other", "AUTO_REGISTER_GROUP": "g"}}
    for name, fields in {
        "first": {"type_url": LDS, "node": node, "resource_names": ["a:80"]},
        "answer": {"type_url": LDS, "version_info": "1", "response_nonce": "n"},
        "rejected": {"type_url": CDS, "node": node, "response_nonce": "n", "error_detail": {"code": 3, "message": "no"}},
    }.items():
        write("world", name, discovery_pb2.DiscoveryRequest(**fields).SerializeToString(deterministic=True))


def broker() -> None:
    """Frames of broker.sock."""
    from lab import broker_wire  # needs protoc, which the others don't

    def frame(**job: object) -> bytes:
        body = broker_wire.message("Request", **job).SerializeToString(deterministic=True)
        return len(body).to_bytes(4, "big") + body

    message, intent = broker_wire.message, broker_wire.intent
    ports = [message("PortRange", first=80, last=90), message("PortRange", first=90, last=80)]
    busy = intent(inbound_ports=ports[:1], outbound_exclude=ports[:1], outbound_exclude_cidrs=["10.0.0.0/8", "fd00::/8"])
    sessions = [message("Session", peer="10.0.0.9", peer_port=50000, local="10.0.0.1", local_port=22)]
    for name, data in {
        "plan": frame(plan=message("PlanRequest", intent=intent(exempt_uids=[881]), confirm_seconds=30)),
        "busy-plan": frame(plan=message("PlanRequest", intent=busy, sessions=sessions, revert=True)),
        "bad-plan": frame(plan=message("PlanRequest", intent=intent(inbound_ports=ports[1:], outbound_port=70000))),
        "several": frame(observe=message("ObserveRequest")) + frame(remove=message("RemoveRequest", drain_ms=1)),
        "too-long": b"\xff\xff\xff\xff" + b"x" * 8,
        "nothing": b"\0\0\0\0",
    }.items():
        write("broker", name, data)


def jwt(**claims: object) -> bytes:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return b"eyJhbGciOiJFUzI1NiJ9." + body + b".c2ln"


def tokens() -> None:
    """A token, and answers that hold one after a byte of status and one that says who answers."""
    good = jwt(aud="istio-ca", iat=1_700_000_000, exp=1_700_003_600)
    write("jwt", "google", good)
    write("jwt", "kubernetes", jwt(aud=["istio-ca"], exp=1.7e9, iss="https://k", sub="system:serviceaccount:a:b"))
    write("jwt", "odd", jwt(aud={"a": [1]}, exp="x", iat=1e300))
    write("jwt", "opaque", b" s3cret\n")
    write("token_answer", "metadata", b"\x401" + good)
    write("token_answer", "metadata-refused", b"\x841")
    write("token_answer", "token-request", b"\x410" + json.dumps({"status": {"token": good.decode()}}).encode())
    write("token_answer", "forbidden", b"\x830" + json.dumps({"kind": "Status", "message": "no \x1b[31m " + "x" * 80}).encode())
    plugin = {"status": {"token": "t", "clientCertificateData": "C", "clientKeyData": "K"}}
    write("token_answer", "plugin", b"\x400" + json.dumps(plugin).encode())


def kubeconfigs() -> None:
    head = b"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
    cluster = b"clusters: [{name: c, cluster: {server: 'https://k:6443/p', certificate-authority-data: Um9vdA==}}]\n"
    write("kubeconfig", "token", head + cluster + b"users: [{name: u, user: {token: t}}]\n")
    write("kubeconfig", "files", head + cluster + b"users: [{name: u, user: {client-certificate: c, client-key: k}}]\n")
    plugin = b"{apiVersion: client.authentication.k8s.io/v1, command: x, args: [a], env: [{name: A, value: b}]}"
    write("kubeconfig", "plugin", head + cluster + b"users: [{name: u, user: {exec: " + plugin + b"}}]\n")
    write("kubeconfig", "unsafe", head + cluster.replace(b"https", b"http") + b"users: [{name: u, user: {token: &t [*t]}}]\n")


def certificates() -> None:
    """Which kind, then PEM or DER: 0 and 1 certificates, 2 and 3 revocation lists. And the file of trusted roots."""
    with tempfile.TemporaryDirectory() as folder:
        ca = CertificateAuthority(pathlib.Path(folder), intermediate=True)
        leaf = ca.issue(3600, spiffe_id="spiffe://d/ns/n/sa/a")
        lists = ca.crl(ca.signer)
    certificate, root = x509.load_pem_x509_certificates(leaf.chain.encode())[0], pem(ca.root)
    write("certificates", "chain", b"\0" + (leaf.chain + root).encode())
    write("certificates", "leaf-der", b"\1" + certificate.public_bytes(Encoding.DER))
    write("certificates", "root-der", b"\1" + ca.root.public_bytes(Encoding.DER))
    write("certificates", "lists", b"\2" + (root + lists).encode())
    write("certificates", "list-der", b"\3" + x509.load_pem_x509_crl(lists.encode()).public_bytes(Encoding.DER))
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    kept = {"pem": root, "sources": [], "retired_until": 1800000000}
    for name, content in {
        "sent": {"roots": [{"pem": root, "sources": ["ca", "/f"]}], "dropped": [digest], "of_ca": [digest]},
        "retired": {"roots": [kept], "dropped": [], "of_ca": []},
        "nothing": {"roots": [], "dropped": [], "of_ca": []},
    }.items():
        write("trust", name, b"\0" + json.dumps(content).encode())


if __name__ == "__main__":
    certificates()
    other_settings()
    broker()
    key_store()
    responses()
    requests()
    snapshots()
    strips()
    worlds()
    tokens()
    kubeconfigs()
