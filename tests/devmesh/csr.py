# SPDX-License-Identifier: Apache-2.0
"""istio.v1.auth.IstioCertificateService: a CSR in, a chain with the caller's identity out."""

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

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(
            self._create,
            request_deserializer=protos.CertificateRequest.FromString,
            response_serializer=protos.CertificateResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(protos.SERVICE, {"CreateCertificate": method})

    async def _create(self, request, context: grpc.aio.ServicerContext):
        self.counts["refused"] += 1  # until it is issued
        caller = await self._mesh.authenticate(context)
        faults, limits = self._mesh.faults, self._mesh.config.certificates
        self.last = {
            "caller": f"{caller.namespace}/{caller.service_account}",
            "how": caller.how,
            "validity": request.validity_duration,
            "metadata": dict(request.metadata),
            "clusterid": dict(context.invocation_metadata() or ()).get("clusterid"),
        }
        if faults.csr_delay:
            await asyncio.sleep(faults.csr_delay)
        if code := faults.take_csr_code():
            await context.abort(code, "refused by request of the test")
        if dict(request.metadata).get("ImpersonatedIdentity"):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        ttl = float(request.validity_duration) if request.validity_duration > 0 else limits.default_ttl
        if ttl > limits.max_ttl:
            text = f"requested TTL {ttl:.0f}s is greater than the max allowed {limits.max_ttl:.0f}s"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        ttl = ttl if faults.csr_ttl is None else faults.csr_ttl
        spiffe = faults.csr_spiffe or self._mesh.config.spiffe(caller.namespace, caller.service_account)
        try:
            leaf = self._mesh.authority.sign_csr(request.csr, ttl, spiffe)
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
        return protos.CertificateResponse(cert_chain=entries)
