# SPDX-License-Identifier: Apache-2.0
"""Misbehaviour on request. Every field's default is good behaviour; a test or POST /faults changes them at run time."""

from __future__ import annotations

import dataclasses
import typing

import grpc


@dataclasses.dataclass
class Faults:
    csr_code: str | None = None  # refuse CSRs with this gRPC code, e.g. "UNAVAILABLE"
    csr_times: int | None = None  # … only that many times; None: until changed
    csr_spiffe: str | None = None  # stamp this SPIFFE id instead of the caller's
    csr_single_entry: bool = False  # answer without the trust bundle
    csr_garbage: bool = False  # answer with entries that are no certificates
    csr_delay: float = 0  # seconds before the answer
    csr_ttl: float | None = None  # sign for this many seconds, whatever was asked (negative: already expired)
    ads_code: str | None = None  # end each new ADS stream with this gRPC code
    ads_delay: float = 0  # seconds before each ADS response
    bad_listener: bool = False  # one more listener, which Envoy must NACK
    blank_versions: bool = False  # resources without a version, as istiod often has them
    missing_inbound: bool = False  # the stream that registers a workload gets no inbound clusters (a defect of istiod)
    refuse_connections: bool = False  # close each new connection after its handshake
    hold: bool = False  # connections stay open but no byte passes, in either direction
    server_name: str | None = None  # serve a certificate for this name

    def update(self, changes: dict[str, typing.Any]) -> None:
        """All or nothing; ValueError says which key is wrong."""
        known = {f.name: f for f in dataclasses.fields(self)}
        for key, value in changes.items():
            if key not in known:
                raise ValueError(f"unknown fault {key!r}; known: {', '.join(known)}")
            if not _fits(str(known[key].type), value):
                raise ValueError(f"fault {key}: {value!r} isn't of type {known[key].type}")
            if key.endswith("_code") and value is not None:
                status(value)
        for key, value in changes.items():
            setattr(self, key, value)

    def reset(self) -> None:
        self.update(dataclasses.asdict(Faults()))

    def take_csr_code(self) -> grpc.StatusCode | None:
        """The code to refuse this CSR with; counts `csr_times` down."""
        if self.csr_code is None or self.csr_times == 0:
            return None
        if self.csr_times is not None:
            self.csr_times -= 1
        return status(self.csr_code)


def status(name: str) -> grpc.StatusCode:
    try:
        return grpc.StatusCode[name]
    except KeyError as error:
        raise ValueError(f"{name!r} isn't a gRPC status such as UNAVAILABLE") from error


def _fits(kind: str, value: typing.Any) -> bool:
    if value is None:
        return "None" in kind
    base = kind.split(" ")[0]
    if base == "bool" or isinstance(value, bool):
        return base == "bool" and isinstance(value, bool)
    accepted: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    return isinstance(value, accepted[base])
