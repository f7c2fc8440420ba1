# SPDX-License-Identifier: Apache-2.0
"""Whom a host trusts: the mesh's root is replaced while two hosts talk all the time; roots of the control plane; what the
operator drops; revocation lists, as the real Envoy takes them.

The second host is as complete as the first: hawserd, broker, Envoy. Both call the service that both of them serve.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import ssl
import tempfile
import typing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from devmesh.ca import CertificateAuthority, pem
from lab import envoy_config, facts, poll, services
from lab.hawser import HawserHost
from lab.plane import Identity

pytestmark = pytest.mark.incremental

PEER_IP, PEER_IP6 = "10.77.0.21", "fd77::21"
VIP = "10.77.100.20"
SETTINGS = "/etc/hawser/conf.d/60-trust.yaml"
CRL = "/etc/hawser/crl.pem"


@pytest.fixture(scope="module")
def peer(world) -> typing.Iterator[HawserHost]:
    """The second host, joined as the first one is; the first joins here, too."""
    world.plane.change(lambda data: data["services"][1].update(vip=VIP))
    host = world.lab.add_host("peer", PEER_IP, PEER_IP6)
    services.start_vm_app(host)
    other = HawserHost(host)
    other.start()
    other.install_envoy()
    bundle = world.lab.directory / "bundle-peer"
    bundle.mkdir(mode=0o700)
    world.plane.write_bundle(bundle)
    for hawser, place in ((world.vm, world.bundle), (other, bundle)):
        hawser.host.add_name(VIP, facts.VM_HOST)
        hawser.join(place)
    for hawser in (world.vm, other):
        hawser.wait("REGISTERED")
    yield other
    other.stop()


@pytest.fixture(scope="module")
def traffic(world, peer) -> typing.Iterator[dict[str, services.Load]]:
    """Each host asks both of them, from here to the end of the rotation."""
    url = f"http://{facts.VM_HOST}:{facts.VM_PORT}/load"
    for host in (world.host, peer.host):
        poll.until(f"{host.name} reaches the service", lambda h=host: services.curl(h, url).status == 200, 20)
    loads = {host.name: services.Load(host, f"trust-{host.name}", url, rate=20) for host in (world.host, peer.host)}
    yield loads
    for load in loads.values():
        load.stop()


def certificates(world, **changes: typing.Any) -> None:
    world.plane.change(lambda data: data.setdefault("certificates", {}).update(changes))


def reconnect(*hosts: HawserHost, world) -> None:
    """The plane drops all connections: the next ones see its present certificate."""
    before = {h: h.status()["control_plane"]["streams_opened"] for h in hosts}
    world.plane.faults(drop_connections=True)
    for h, count in before.items():

        def back(h: HawserHost = h, count: int = count) -> bool:
            plane = h.status()["control_plane"]
            return plane["connected"] and plane["streams_opened"] > count

        poll.until(f"{h.host.name} is connected again", back, 40)


def trust(hawser: HawserHost) -> dict[str, typing.Any]:
    return json.loads(hawser.cli("trust", "show", "--json").stdout)


def states(hawser: HawserHost) -> dict[str, str]:
    """Root's name → state."""
    return {root["subject"].split(",")[0].removeprefix("CN="): root["state"] for root in trust(hawser)["roots"]}


def issuer(hawser: HawserHost) -> str:
    return hawser.cert()["issuer"].split(",")[0].removeprefix("CN=")


def item(hawser: HawserHost, name: str) -> dict[str, typing.Any]:
    return next((i for i in hawser.status()["items"] if i["name"] == name), {})


def more(traffic: dict[str, services.Load]) -> None:
    for load in traffic.values():
        load.more(40)
        assert load.report().failed == 0, load.report().describe_failures()


def test_both_know_the_old_root_alone(world, peer, traffic):
    for hawser in (world.vm, peer):
        assert states(hawser) == {"Root CA": "trusted"}
        assert issuer(hawser) == "Root CA"
        assert item(hawser, "trust")["state"] == "ok", item(hawser, "trust")
    more(traffic)


def test_the_ca_announces_the_new_root(world, peer, traffic):
    certificates(world, roots=[0, 1])
    for hawser in (world.vm, peer):
        hawser.renew()
        assert states(hawser) == {"Root CA": "trusted", "Root CA 1": "trusted"}
        assert issuer(hawser) == "Root CA"
    more(traffic)


def test_one_host_has_a_certificate_by_the_new_root_the_other_by_the_old(world, peer, traffic):
    certificates(world, signer=1)
    world.vm.renew()
    assert (issuer(world.vm), issuer(peer)) == ("Root CA 1", "Root CA")
    more(traffic)


def test_the_plane_moves_to_the_new_root_though_another_is_configured(world, peer, traffic):
    certificates(world, serving=1)
    assert "Root CA 1" not in pinned_root(world.vm)
    reconnect(world.vm, peer, world=world)
    more(traffic)


def pinned_root(hawser: HawserHost) -> str:
    text = hawser.host.run(["cat", "/etc/hawser/conf.d/50-join.yaml"]).stdout
    block = "".join(line.strip() + "\n" for line in text.splitlines() if line.startswith("    "))
    found = x509.load_pem_x509_certificates(block[block.index("-----BEGIN") :].encode())
    return " ".join(c.subject.rfc4514_string() for c in found)


def test_the_old_root_is_kept_for_the_peers_that_still_have_it(world, peer, traffic):
    certificates(world, roots=[1])
    world.vm.renew()
    assert states(world.vm) == {"Root CA": "retired", "Root CA 1": "trusted"}
    assert issuer(peer) == "Root CA"
    more(traffic)


def test_a_restart_in_the_middle_changes_nothing(world, peer, traffic):
    before = trust(world.vm)
    world.vm.restart_agent()
    world.vm.wait("REGISTERED")
    after = trust(world.vm)
    assert states(world.vm) == {"Root CA": "retired", "Root CA 1": "trusted"}
    until = [next(r["retired_until"] for r in seen["roots"] if r["state"] == "retired") for seen in (before, after)]
    assert until[0][:15] == until[1][:15], "the same moment, but for what a clock creeps"
    reconnect(world.vm, peer, world=world)
    more(traffic)


def test_the_other_host_follows(world, peer, traffic):
    peer.renew()
    assert issuer(peer) == "Root CA 1"
    assert states(peer) == {"Root CA": "retired", "Root CA 1": "trusted"}
    more(traffic)


def test_the_operator_ends_the_overlap_for_good(world, peer, traffic):
    roots = {root["subject"].split(",")[0]: root["sha256"] for root in trust(world.vm)["roots"]}
    refused = world.vm.cli("trust", "drop", roots["CN=Root CA 1"], check=False)
    assert refused.returncode != 0 and "HWS-TR-007" in refused.stderr, refused
    for hawser in (world.vm, peer):
        hawser.cli("trust", "drop", roots["CN=Root CA"])
        assert states(hawser) == {"Root CA 1": "trusted"}
    certificates(world, roots=[0, 1])
    world.vm.renew()
    assert states(world.vm) == {"Root CA": "excluded", "Root CA 1": "trusted"}
    world.vm.restart_agent()
    world.vm.wait("REGISTERED")
    assert states(world.vm)["Root CA"] == "excluded"
    certificates(world, roots=[1])
    more(traffic)


def test_nobody_noticed(world, peer, traffic):
    for name, load in traffic.items():
        report = load.stop()
        assert report.sent > 300 and report.failed == 0, f"{name}: {report.describe_failures()}"


# -- whom else the mesh trusts -----------------------------------------------------------------------------------------


def authority(world, signer: int) -> CertificateAuthority:
    config = world.plane.authority()
    config.use(signer, [signer])
    return config


def caller(world, number: int) -> tuple[Identity, x509.Certificate]:
    """Another workload, certified by this root; it believes whoever the mesh certifies now."""
    leaf = authority(world, number).issue(3600, spiffe_id=facts.spiffe(facts.REVIEWS_SA))
    roots = pem(world.plane.authority().root_of(1)[1])
    return Identity(leaf.key, leaf.chain, roots), x509.load_pem_x509_certificates(leaf.chain.encode())[0]


def answer(world, identity: Identity) -> str:
    """The first line that the VM's proxy answers this caller, or how it refuses."""

    def ask() -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=identity.roots)
        context.set_alpn_protocols(envoy_config.CLIENT_ALPN)
        with tempfile.NamedTemporaryFile("w", dir=world.lab.directory) as file:
            file.write(identity.key + identity.chain)
            file.flush()
            context.load_cert_chain(file.name)
        try:
            with socket.create_connection((facts.VM_IP, facts.VM_PORT), timeout=5) as plain:
                with context.wrap_socket(plain, server_hostname=envoy_config.VM_SNI) as tls:
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {facts.VM_HOST}\r\nConnection: close\r\n\r\n".encode())
                    return tls.recv(4096).decode().partition("\r\n")[0]
        except (ssl.SSLError, ConnectionError) as error:
            return f"refused: {error}"

    return world.mesh.call(ask)


OK = "HTTP/1.1 200 OK"


def until_answer(world, identity: Identity, expected: str) -> None:
    poll.until(f"the VM answers {expected!r}", lambda: answer(world, identity).startswith(expected), 15)


def test_the_control_plane_tells_of_another_root(world, peer):
    stranger, _ = caller(world, 2)
    assert answer(world, stranger).startswith("refused")
    certificates(world, distributed=[2])
    poll.until("the root is trusted", lambda: states(world.vm).get("Root CA 2") == "trusted", 15)
    sources = {r["subject"].split(",")[0]: r["sources"] for r in trust(world.vm)["roots"]}
    assert sources["CN=Root CA 2"] == ["control-plane"]
    until_answer(world, stranger, OK)
    seen = world.plane.debug()["types"]["type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"]
    assert seen["acks"] >= 1 and seen["nacks"] == 0, seen
    dump = world.vm.cli("xds", "status", "--json").stdout
    assert "istio.mesh" in dump and "proxy rejected" not in dump


def test_it_vouches_for_no_control_plane(world, peer):
    """A root for peers must not be one for the plane: else whoever has it could take the plane's place."""
    certificates(world, serving=2)
    world.plane.faults(drop_connections=True)
    poll.until("the plane is refused", lambda: item(world.vm, "control-plane").get("id") == "HWS-XDS-002", 30)
    certificates(world, serving=1)
    poll.until("connected", lambda: world.vm.status()["control_plane"]["connected"], 40)


def test_a_root_that_is_withdrawn_stays_for_the_overlap(world, peer):
    certificates(world, distributed=[])
    poll.until("the root is retired", lambda: states(world.vm).get("Root CA 2") == "retired", 15)
    stranger, _ = caller(world, 2)
    assert answer(world, stranger).startswith(OK)


def test_a_root_is_excluded_by_configuration(world, peer):
    digest = next(r["sha256"] for r in trust(world.vm)["roots"] if "Root CA 2" in r["subject"])
    with settings(world, f"trust: {{exclude: [{digest.upper()}]}}\n"):
        stranger, _ = caller(world, 2)
        until_answer(world, stranger, "refused")


@contextlib.contextmanager
def settings(world, text: str) -> typing.Iterator[None]:
    world.host.write(SETTINGS, text)
    try:
        world.vm.restart_agent()
        world.vm.wait("REGISTERED")
        yield
    finally:
        world.host.call(lambda: pathlib.Path(SETTINGS).unlink(missing_ok=True))


# -- revocation --------------------------------------------------------------------------------------------------------


def test_a_revoked_peer_is_refused_and_others_pass(world, peer):
    good, _ = caller(world, 1)
    bad, certificate = caller(world, 1)
    ca = authority(world, 1)
    world.host.write(CRL, ca.crl(certificate, number=1), mode=0o644)
    with settings(world, f"trust: {{crl: {CRL}, overlap: 1s}}\n"):
        poll.until("the lists are in force", lambda: trust(world.vm)["crl"]["in_force"], 15)
        until_answer(world, bad, "refused")
        until_answer(world, good, OK)

        world.host.write(CRL, ca.crl(number=1), mode=0o644)
        until_answer(world, bad, OK)

        # A list that came late: Envoy would refuse everybody by it, so it isn't given to it, and that is said.
        world.host.write(CRL, ca.crl(certificate, number=1, ttl=-60), mode=0o644)
        poll.until("it is said", lambda: item(world.vm, "trust").get("id") == "HWS-TR-010", 15)
        until_answer(world, good, OK)

        world.host.write(CRL, ca.crl(certificate, number=0), mode=0o644)
        poll.until("it is said", lambda: item(world.vm, "trust").get("id") == "HWS-TR-011", 15)
        assert answer(world, good).startswith(OK)

        world.host.write(CRL, "nonsense\n", mode=0o644)
        poll.until("it is said", lambda: item(world.vm, "trust").get("id") == "HWS-TR-009", 15)
        assert answer(world, good).startswith(OK)


# -- looking at it -----------------------------------------------------------------------------------------------------


def test_certificates_are_verified_offline(world, peer):
    good, _ = caller(world, 1)
    place = world.lab.directory / "leaf.pem"
    place.write_text(good.chain + good.key)
    done = world.vm.cli("cert", "verify", place)
    assert "leads to CN=Root CA 1" in done.stdout and "the private key is its own" in done.stdout
    place.write_bytes(x509.load_pem_x509_certificate(good.chain.encode()).public_bytes(Encoding.DER))
    assert world.vm.cli("cert", "verify", place).returncode == 0
    stranger, _ = caller(world, 3)
    place.write_text(stranger.chain)
    refused = world.vm.cli("cert", "verify", place, "--json", check=False)
    told = json.loads(refused.stdout)
    assert refused.returncode == 1 and not told["good"]
    assert [f["check"] for f in told["findings"] if not f["good"]] == ["roots"]


def test_an_identity_is_shown_and_reset(world, peer):
    shown = json.loads(world.vm.cli("identity", "show", "--json").stdout)
    assert shown["spiffe_id"] == facts.spiffe(facts.VM_SA) and shown["proof"]["source"] == "file"
    assert shown["store"]["generations"] and not shown["proof"]["attests_again"]
    token = world.host.run(["cat", "/var/lib/hawser/identity/token"]).stdout.strip()
    assert token and token not in json.dumps(shown)
    assert "needs a new token" in world.vm.cli("identity", "show").stdout

    old = world.vm.cert()["serial"]
    refused = world.vm.cli("identity", "reset", "--yes", check=False)
    assert "HWS-AD-006" in refused.stderr and world.vm.cert()["serial"] == old
    assert "HWS-CLI-022" in world.vm.cli("identity", "reset", check=False).stderr

    fresh = world.lab.directory / "bundle-fresh"
    fresh.mkdir(mode=0o700)
    world.plane.write_bundle(fresh)
    good, _ = caller(world, 1)
    assert answer(world, good).startswith(OK)
    world.vm.cli("identity", "reset", "--yes", "--token-file", fresh / "istio-token")
    world.vm.wait("REGISTERED")
    assert world.vm.cert()["serial"] != old
    until_answer(world, good, OK)
