# SPDX-License-Identifier: Apache-2.0
"""TLS transport sockets whose secrets Envoy asks of `sds-grpc`, as istiod writes them."""

from __future__ import annotations

import typing

from devmesh.snapshot import named

_TLS = "envoy.extensions.transport_sockets.tls.v3."


def _sds(name: str) -> dict[str, typing.Any]:
    return {
        "name": name,
        "sds_config": {
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
            },
            "initial_fetch_timeout": "0s",
            "resource_api_version": "V3",
        },
    }


def _common(alpn: list[str], peers: list[dict[str, str]]) -> dict[str, typing.Any]:
    return {
        "alpn_protocols": alpn,
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_sds("default")],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": matcher} for matcher in peers]
            },
            "validation_context_sds_secret_config": _sds("ROOTCA"),
        },
    }


def upstream(sni: str, peers: list[dict[str, str]]) -> dict[str, typing.Any]:
    common = _common(["istio", "http/1.1"], peers)
    return named("envoy.transport_sockets.tls", _TLS + "UpstreamTlsContext", common_tls_context=common, sni=sni)


def downstream(trust_domain: str) -> dict[str, typing.Any]:
    return named(
        "envoy.transport_sockets.tls",
        _TLS + "DownstreamTlsContext",
        common_tls_context=_common(["h2", "http/1.1"], [{"prefix": f"spiffe://{trust_domain}/"}]),
        require_client_certificate=True,
    )
