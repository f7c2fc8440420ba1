# SPDX-License-Identifier: Apache-2.0
"""Which certificate the VM's Envoy presents, found by a TLS handshake as another workload of the mesh makes it."""

from __future__ import annotations

import os
import pathlib
import socket
import ssl
import tempfile
import typing

from cryptography import x509

from lab import envoy_config, facts
from lab.plane import Identity

if typing.TYPE_CHECKING:
    from lab.world import World


def peer_certificate(address: str, port: int, identity: Identity, sni: str, directory: pathlib.Path) -> x509.Certificate:
    """Verifies the chain against the mesh's roots; names aren't checked, the caller looks at them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=identity.roots)
    context.set_alpn_protocols(envoy_config.CLIENT_ALPN)
    # load_cert_chain reads files only
    descriptor, path = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(identity.key + identity.chain)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    with socket.create_connection((address, port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=sni) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def serial(world: World) -> int:
    certificate = world.mesh.call(
        peer_certificate,
        facts.VM_IP,
        facts.VM_PORT,
        world.reviews.identity,
        envoy_config.VM_SNI,
        world.lab.directory,
    )
    return certificate.serial_number
