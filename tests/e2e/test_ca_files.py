# SPDX-License-Identifier: Apache-2.0
"""A host whose certificate somebody else keeps in files: followed as they're swapped, under traffic."""

from __future__ import annotations

import pytest
from cryptography import x509

from lab import cert_folder, facts, handshake, poll, steps

pytestmark = pytest.mark.incremental
FOLDER = "/run/workload-certs"


@pytest.fixture(scope="module")
def files(world) -> cert_folder.CertFolder:
    return cert_folder.CertFolder(world.host, FOLDER, cert_folder.CERT_MANAGER)


def serial_of(identity) -> int:
    return x509.load_pem_x509_certificates(identity.chain.encode())[0].serial_number


def item(world) -> dict:
    return next(item for item in world.vm.status()["items"] if item["name"] == "identity")


def test_what_is_not_there_is_named(world, files):
    world.vm.join(world.bundle, "ca.type=files", f"ca.folder={FOLDER}")
    told = poll.until("status names the folder", lambda: item(world) if item(world)["state"] == "failed" else None, 15)
    assert told["id"] == "HWS-CA-040" and FOLDER in told["detail"] and "ca.folder" in told["fix"], told


def test_the_host_joins_when_the_files_come(world, files):
    identity = world.plane.issue(facts.VM_SA)
    files.put(identity)
    world.vm.wait("REGISTERED")
    assert int(world.vm.cert()["serial"], 16) == serial_of(identity)
    steps.outbound(world)
    steps.inbound(world)
    assert handshake.serial(world) == serial_of(identity)


def test_nothing_of_it_is_kept_on_our_disk(world):
    found = world.host.run(["find", "/var/lib/hawser/identity", "-name", "*.pem"]).stdout
    assert found == ""


def test_a_swap_is_taken_under_traffic(world, files):
    with world.traffic() as traffic:
        traffic.more(20)
        for _ in range(3):
            identity = world.plane.issue(facts.VM_SA)
            files.put(identity)
            poll.until("Envoy presents the new one", lambda: handshake.serial(world) == serial_of(identity), 10)
            traffic.more(20)
        traffic.finish()


def test_a_set_that_does_not_fit_changes_nothing_and_is_named(world, files):
    before = world.vm.cert()["serial"]
    one, other = world.plane.issue(facts.VM_SA), world.plane.issue(facts.VM_SA)
    files.put(type(one)(key=one.key, chain=other.chain, roots=one.roots))
    told = poll.until("status tells it", lambda: item(world) if item(world)["state"] == "degraded" else None, 30)
    assert told["id"] == "HWS-CA-042" and f"{FOLDER}/tls.key isn't the key of {FOLDER}/tls.crt" in told["detail"], told
    assert world.vm.cert()["serial"] == before
    steps.outbound(world)
    files.put(one)
    poll.until("the next set that fits is taken", lambda: handshake.serial(world) == serial_of(one), 10)
    poll.until("and all is well", lambda: item(world)["state"] == "ok", 5)


def test_there_is_nothing_to_export_by_hand(world):
    done = world.vm.cli("cert", "export", "--to", "/run/exported", "--layout", "pem", check=False)
    assert done.returncode == 78 and "exports:" in done.stderr and "HWS-XP-005" in done.stderr, done


def test_a_restart_reads_them_again(world):
    before = world.vm.cert()["serial"]
    world.vm.restart_agent()
    world.vm.wait("REGISTERED", timeout=30)
    assert world.vm.cert()["serial"] == before
    steps.outbound(world)
