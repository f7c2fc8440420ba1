# SPDX-License-Identifier: Apache-2.0
"""A CSR in, a chain with the caller's identity out: IstioCertificateService, and two other protocols of the same CA."""

from __future__ import annotations

import asyncio
import typing

import grpc

from devmesh import protos
from devmesh.ca import BadRequest

if typing.TYPE_CHECKING:
    from devmesh.server import Devmesh

_GARBAGE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class CertificateService:
    def __init__(self, mesh: Devmesh):
        self._mesh = mesh
        self.counts = {"issued": 0, "refused": 0}
        self.last: dict[str, typing.Any] = {}  # what the last request said, for tests

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        return (
            _handler(protos.SERVICE, "CreateCertificate", self._create, protos.CertificateRequest),
            _handler(protos.CITADEL_SERVICE, "HandleCSR", self._handle_csr, protos.CsrRequest),
            _handler(protos.MESHCA_SERVICE, "CreateCertificate", self._create_mesh, protos.MeshCertificateRequest),
        )

    async def _create(self, request, context: grpc.aio.ServicerContext):
        said = dict(request.metadata)
        entries = await self._issue(context, request.csr, request.validity_duration, {"service": "istio", "metadata": said})
        return protos.CertificateResponse(cert_chain=entries)

    async def _handle_csr(self, request, context: grpc.aio.ServicerContext):
        """As before istiod: the chain doesn't say where it ends, and the root may be missing."""
        said = {"service": "citadel", "credential_type": request.credential_type}
        leaf, *rest = await self._issue(context, request.csr_pem.decode(), request.requested_ttl_minutes * 60, said)
        chain = "".join(rest[:-1]).encode()
        return protos.CsrResponse(is_approved=True, signed_cert=leaf.encode(), cert_chain=chain)

    async def _create_mesh(self, request, context: grpc.aio.ServicerContext):
        sent = dict(context.invocation_metadata() or ())
        said = {"service": "mesh-ca", "request_id": request.request_id, "params": sent.get("x-goog-request-params")}
        entries = await self._issue(context, request.csr, request.validity.seconds, said)
        return protos.MeshCertificateResponse(cert_chain=entries)

    async def _issue(
        self, context: grpc.aio.ServicerContext, csr: str, validity: int, said: dict[str, typing.Any]
    ) -> list[str]:
        """Leaf, intermediates, roots; or the RPC ends."""
        self.counts["refused"] += 1  # until it is issued
        caller = await self._mesh.authenticate(context)
        faults, limits = self._mesh.faults, self._mesh.config.certificates
        self.last = {
            "caller": f"{caller.namespace}/{caller.service_account}",
            "how": caller.how,
            "validity": validity,
            "clusterid": dict(context.invocation_metadata() or ()).get("clusterid"),
            **said,
        }
        if faults.csr_delay:
            await asyncio.sleep(faults.csr_delay)
        if code := faults.take_csr_code():
            await context.abort(code, "refused by request of the test")
        if said.get("metadata", {}).get("ImpersonatedIdentity"):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        ttl = float(validity) if validity > 0 else limits.default_ttl
        if ttl > limits.max_ttl:
            text = f"requested TTL {ttl:.0f}s is greater than the max allowed {limits.max_ttl:.0f}s"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        ttl = ttl if faults.csr_ttl is None else faults.csr_ttl
        spiffe = faults.csr_spiffe or self._mesh.config.spiffe(caller.namespace, caller.service_account)
        try:
            leaf = self._mesh.authority.sign_csr(csr, ttl, spiffe)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        entries = self._mesh.authority.chain_entries(leaf)
        if faults.csr_single_entry:
            entries = entries[:1]
        if faults.csr_garbage:
            entries = [_GARBAGE, _GARBAGE]
        self.counts["refused"] -= 1
        self.counts["issued"] += 1
        self.last["serial"] = f"{leaf.serial_number:x}"
        return entries


def _handler(service: str, name: str, behaviour, request) -> grpc.GenericRpcHandler:
    method = grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    return grpc.method_handlers_generic_handler(service, {name: method})
