# SPDX-License-Identifier: Apache-2.0
"""Who certifies the host (ca.type): the legacy Citadel, Mesh CA, and a program of the operator's. Each test joins and leaves."""

from __future__ import annotations

import json
import pathlib
import typing

import pytest

from lab import facts, handshake, poll, services, steps
from lab.joined import joined

DROP_IN = "/etc/hawser/conf.d/60-ca.yaml"
HOOK = "/etc/hawser/sign"
FOLDER = "/run/lab-ca"
HEAD = """#!/bin/sh
set -eu
echo "$HAWSER_SPIFFE_ID $HAWSER_TTL_SECONDS $HAWSER_CLUSTER_ID" >> /run/lab-ca/calls
cd /run/lab-ca
if [ -e broken ]; then echo 'the signer is sealed' >&2; exit 2; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/csr.pem"
"""
# What docs/identity.md shows for a lab, with the mesh's own root as the CA.
OPENSSL = """
cat > "$folder/extensions" <<END
subjectAltName=critical,URI:$HAWSER_SPIFFE_ID
extendedKeyUsage=serverAuth,clientAuth
keyUsage=critical,digitalSignature,keyEncipherment
basicConstraints=critical,CA:false
END
openssl x509 -req -in "$folder/csr.pem" -CA ca.pem -CAkey ca-key.pem -days 1 -extfile "$folder/extensions"
cat ca.pem
"""
# A CA that has nothing in common with us: GnuTLS reads our request, and we its certificate.
CERTTOOL = """
cat > "$folder/template" <<END
uri = "$HAWSER_SPIFFE_ID"
expiration_days = 1
signing_key
encryption_key
tls_www_server
tls_www_client
END
certtool --generate-certificate --load-request "$folder/csr.pem" --template "$folder/template" \\
  --load-ca-certificate ca.pem --load-ca-privkey ca-key.pem --outfile "$folder/leaf.pem"
cat "$folder/leaf.pem" ca.pem
"""


def csr(world) -> dict[str, typing.Any]:
    return world.plane.debug()["csr"]


def identity_item(world) -> dict[str, typing.Any]:
    return next(item for item in world.vm.status()["items"] if item["name"] == "identity")


def renewed(world) -> int:
    """The new serial number, once Envoy presents that certificate."""
    old = world.vm.cert()["serial"]
    world.vm.renew()
    assert world.vm.cert()["serial"] != old
    new = int(world.vm.cert()["serial"], 16)
    poll.until("Envoy presents the new certificate", lambda: handshake.serial(world) == new, 10)
    return new


def test_a_test_that_fails_leaves_no_host_in_the_mesh(world):
    """Else each test after it would fail as well."""
    with pytest.raises(AssertionError), joined(world, DROP_IN, "identity: {ttl: 90s}\n"):
        raise AssertionError
    assert "not joined" in world.vm.cli("leave").stdout and not world.host.exists(DROP_IN)


@pytest.mark.parametrize("ca", ["citadel", "mesh-ca"])
def test_a_certificate_of_another_service(world, ca):
    address = f"{facts.PLANE_NAME}:{facts.PLANE_PORT}"
    settings = f"ca: {{type: {ca}, address: '{address}', location: europe-west1, headers: {{X-Tenant: blue}}}}\n"
    with joined(world, DROP_IN, settings + "identity: {ttl: 90s}\n"):
        steps.outbound(world)
        poll.until("reviews gets an answer of the VM", lambda: ratings(world) == 200, steps.PUSH_TIMEOUT)
        first = csr(world)["last"]
        assert (first["service"], first["how"]) == (ca, "token"), first
        serial = renewed(world)
        last = csr(world)["last"]
        # As numbers: Python writes no zero in front, where X.509's tools (and we) write whole bytes.
        assert last["how"] == "certificate" and int(last["serial"], 16) == serial, last
        if ca == "citadel":
            assert last["validity"] == 120, "whole minutes, and never less than asked for"
        else:
            assert last["params"] == "location=locations/europe-west1" and last["validity"] == 90
            assert last["request_id"] != first["request_id"], "another request"


@pytest.mark.parametrize("tool", [OPENSSL, CERTTOOL], ids=["openssl", "certtool"])
def test_a_program_signs(world, tool):
    state = world.plane.config_file.parent / "state"
    world.host.mkdir(FOLDER, 0o700, facts.UID_AGENT, facts.UID_AGENT)
    for name, source in (("ca.pem", "root-cert.pem"), ("ca-key.pem", "root-key.pem")):
        text = (state / source).read_text()
        world.host.write(f"{FOLDER}/{name}", text, 0o600, facts.UID_AGENT, facts.UID_AGENT)
    world.host.run(["rm", "-f", f"{FOLDER}/calls", f"{FOLDER}/broken"])
    world.host.write(HOOK, HEAD + tool, 0o755)
    before = csr(world)["issued"]
    with joined(world, DROP_IN, f"ca: {{type: exec, command: [{HOOK}]}}\n"):
        steps.outbound(world)
        renewed(world)
        assert csr(world)["issued"] == before, "the plane's CA wasn't asked"
        calls = world.host.read(f"{FOLDER}/calls").splitlines()
        assert set(calls) == {f"{facts.spiffe(facts.VM_SA)} 86400 {facts.CLUSTER_ID}"}

        world.host.write(f"{FOLDER}/broken", "")
        done = world.vm.cli("cert", "renew", check=False)
        assert done.returncode != 0 and "HWS-CA-020" in done.stderr, done
        assert f"{HOOK} exited with 2: the signer is sealed" in done.stderr
        item = identity_item(world)
        assert item["state"] == "degraded" and "HWS-CA-020" in json.dumps(item), item
        assert services.curl(world.host, f"http://{facts.REVIEWS_HOST}/").status == 200

        world.host.call(lambda: pathlib.Path(f"{FOLDER}/broken").unlink())
        world.vm.renew()
        poll.until("it is well again", lambda: identity_item(world)["state"] == "ok", 40)


def ratings(world) -> int:
    return services.curl(world.mesh, world.reviews.url(world.reviews.RATINGS)).status
