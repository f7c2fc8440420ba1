# SPDX-License-Identifier: Apache-2.0
"""Misbehaviour on request. Every field's default is good behaviour; a test, `python -m devmesh … fault KEY=VALUE` or
POST /faults changes them at run time. ACTIONS act once, on what is open at that moment.
"""

from __future__ import annotations

import dataclasses
import typing

import grpc

# close_streams (true or a gRPC code) · drop_connections (true) · goaway_now ({"code": n, "last": n}) · resend (n: the
# oldest n responses that each stream still has, nonces and all) · rotate_certificate (true: same CA) · send (one or a
# list of what raw.py explains: any bytes as a response)
ACTIONS = ("close_streams", "drop_connections", "goaway_now", "resend", "rotate_certificate", "send")
_CHOICES = {
    "nonces": ("same", "blank"),
    "goaway": ("before", "after", "middle", "twice"),
    "frame": ("rst", "cut", "garbage"),
}


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
    ads_times: int | None = None  # … only that many; None: until changed
    ads_delay: float = 0  # seconds before each ADS response
    ads_mute: bool = False  # read ADS requests, never answer
    nonces: str | None = None  # "same": one nonce for all of a stream's responses; "blank": none
    first: dict | None = None  # sent before all else on each new stream; raw.py explains it
    vanish: bool = False  # nothing is there any more: all resources are removed
    alternate: float = 0  # seconds after which bad_listener changes, again and again
    bad_listener: bool = False  # one more listener, which Envoy must NACK
    lua: bool = False  # outbound HTTP has a filter in Lua, which answers /lua by itself
    blank_versions: bool = False  # resources without a version, as istiod often has them
    missing_inbound: bool = False  # the stream that registers a workload gets no inbound clusters (a defect of istiod)
    refuse_connections: bool = False  # close each new connection after its handshake
    hold: bool = False  # connections stay open but no byte passes, in either direction
    server_name: str | None = None  # serve a certificate for this name
    other_ca: bool = False  # serve a certificate of another CA
    deaf: bool = False  # new TCP connections are made by the kernel, and nobody takes them
    write_rate: int = 0  # bytes a second to each client
    read_rate: int = 0  # bytes a second from each client
    # HTTP/2, of new connections
    window: int | None = None  # a client may send that many bytes on a stream, then by drips of read_rate
    connection_age: float = 0  # seconds until GOAWAY; a second later the connection is closed
    # HTTP/2, once a connection (and again after each change of any fault), at its frame_at-th piece (DATA frame) of a response
    frame_at: int = 1
    frame: str | None = None  # half of the piece, then "rst": RST_STREAM; "cut": the end; "garbage": 512 bytes of it
    goaway: str | None = None  # "before", "after", "middle" of the piece; "twice": before, and two after
    goaway_code: int = 0  # HTTP/2 error code
    goaway_last: int | None = None  # last stream that counts as seen; None: all
    goaway_close: bool = False  # … and then the connection is closed
    changed: int = dataclasses.field(default=0, init=False)  # how often; what happens once happens once for each change

    def update(self, changes: dict[str, typing.Any]) -> None:
        """All or nothing; ValueError says which key is wrong."""
        known = {f.name: f for f in dataclasses.fields(self) if f.name != "changed"}
        for key, value in changes.items():
            if key not in known:
                raise ValueError(f"unknown fault {key!r}; known: {', '.join(known)}")
            if not _fits(str(known[key].type), value):
                raise ValueError(f"fault {key}: {value!r} isn't of type {known[key].type}")
            if key in ("csr_code", "ads_code") and value is not None:
                status(value)
            if value is not None and key in _CHOICES and value not in _CHOICES[key]:
                raise ValueError(f"fault {key}: {value!r} is none of {', '.join(_CHOICES[key])}")
        for key, value in changes.items():
            setattr(self, key, value)
        self.changed += 1

    def reset(self) -> None:
        good = dataclasses.asdict(Faults())
        del good["changed"]
        self.update(good)

    def take_csr_code(self) -> grpc.StatusCode | None:
        """The code to refuse this CSR with; counts `csr_times` down."""
        return self._take("csr")

    def take_ads_code(self) -> grpc.StatusCode | None:
        """The code to refuse this ADS stream with; counts `ads_times` down."""
        return self._take("ads")

    def _take(self, what: str) -> grpc.StatusCode | None:
        code, times = getattr(self, f"{what}_code"), getattr(self, f"{what}_times")
        if code is None or times == 0:
            return None
        if times is not None:
            setattr(self, f"{what}_times", times - 1)
        return status(code)


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
    accepted: dict[str, tuple[type, ...]] = {"dict": (dict,), "str": (str,), "int": (int,), "float": (int, float)}
    return isinstance(value, accepted[base])
