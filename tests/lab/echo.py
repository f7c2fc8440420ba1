# SPDX-License-Identifier: Apache-2.0
"""Thousands of requests a second through the VM's proxy, without a retry: the program bench-hand-over at both ends.

Three services of the mesh host (HTTP, gRPC, TCP), in plain text, so that the machine's time goes to the proxy that is
looked at; mutual TLS in both directions is what World.traffic() is for.
"""

from __future__ import annotations

import array
import bisect
import collections
import dataclasses
import json
import math
import select
import struct
import subprocess
import typing

from lab import facts, layout, services
from lab.host import Host

PROGRAM = f"{layout.BIN_IN_HOST}/bench-hand-over"
SAMPLES = f"{layout.LAB_DIR}/load"
KINDS = ("http1", "fresh", "http2", "stream", "tcp")  # as in tests/bench/hand_over/tally.h
REQUESTS = ("http1", "fresh", "http2")  # those with a rate that was asked for
UP_TIMEOUT = 20.0
SAMPLE = struct.Struct("=qII")


@dataclasses.dataclass(frozen=True)
class Service:
    host: str
    vip: str
    protocol: str
    port: int
    server_port: int


HTTP = Service("echo.demo.svc.cluster.local", "10.77.100.21", "HTTP", 80, 9181)
GRPC = Service("echo-grpc.demo.svc.cluster.local", "10.77.100.22", "HTTP2", 9090, 9182)
TCP = Service("echo-tcp.demo.svc.cluster.local", "10.77.100.23", "TCP", 9100, 9183)


def add_services(data: dict[str, typing.Any]) -> None:
    """For DevmeshPlane(edit=…)."""
    for each in (HTTP, GRPC, TCP):
        data["services"].append(
            {
                "host": each.host,
                "vip": each.vip,
                "mtls": False,
                "ports": [{"number": each.port, "name": "echo", "protocol": each.protocol}],
                "endpoints": [{"address": facts.MESH_IP, "port": each.server_port}],
            }
        )


def serve(host: Host) -> subprocess.Popen:
    ports = [str(each.server_port) for each in (HTTP, GRPC, TCP)]
    server = host.popen([PROGRAM, "serve", facts.MESH_IP, *ports], stdout=subprocess.PIPE, text=True, **services.AS_APP)
    _expect_up(server, "the echo server")
    return server


@dataclasses.dataclass(frozen=True)
class Mix:
    """Requests a second and connections of each kind; `streams` and `tcp` are connections that stay open."""

    http1: float = 1000
    fresh: float = 100
    http2: float = 1000
    streams: int = 50
    tcp: int = 50

    @classmethod
    def of(cls, rate: float) -> Mix:
        """That many requests a second, apart from what stays open."""
        fresh = min(100.0, rate / 10)
        return cls(http1=(rate - fresh) / 2, fresh=fresh, http2=(rate - fresh) / 2)

    def words(self) -> list[str]:
        def word(kind: str, where: Service, rate: float, connections: int) -> str:
            return f"{kind}={where.vip},{where.port},{rate:g},{connections}"

        return [
            word("http1", HTTP, self.http1, 32),
            word("fresh", HTTP, self.fresh, 16),
            word("http2", GRPC, self.http2, 8),
            word("stream", GRPC, 2, self.streams),
            word("tcp", TCP, 2, self.tcp),
        ]


@dataclasses.dataclass(frozen=True)
class Event:
    at: float  # time.monotonic()
    opened: float
    kind: str
    what: str


Window = tuple[float, float]


class Seen:
    """What a load has seen; see tests/bench/hand_over/tally.h."""

    def __init__(self, document: dict[str, typing.Any], samples: bytes) -> None:
        self.kinds: dict[str, dict[str, int]] = document["kinds"]
        self.failures = [Event(**event) for event in document["failures"]]
        self.ends = [Event(**event) for event in document["ends"]]
        self._due: dict[str, array.array] = {kind: array.array("d") for kind in KINDS}
        self._ms: dict[str, array.array] = {kind: array.array("d") for kind in KINDS}
        for due, took, kind in sorted(SAMPLE.iter_unpack(samples)):
            self._due[KINDS[kind]].append(due / 1e9)
            self._ms[KINDS[kind]].append(took / 1e3)

    def requests(self) -> int:
        return sum(self.kinds[kind]["good"] + self.kinds[kind]["failed"] for kind in KINDS)

    def failed(self) -> int:
        return sum(self.kinds[kind]["failed"] for kind in KINDS)

    def why(self) -> dict[str, int]:
        """Failures by kind and cause."""
        return dict(collections.Counter(f"{event.kind}: {event.what}" for event in self.failures).most_common(12))

    def rate(self, kinds: typing.Sequence[str] = REQUESTS) -> float:
        """Good ones a second, from the first to the last."""
        begin = min(self._due[kind][0] for kind in kinds)
        end = max(self._due[kind][-1] for kind in kinds)
        return sum(len(self._due[kind]) for kind in kinds) / (end - begin)

    def quantile(self, q: float, windows: typing.Sequence[Window], kinds: typing.Sequence[str] = REQUESTS) -> float:
        """In milliseconds, of what was due in one of the windows; NaN if nothing was."""
        found: list[float] = []
        for kind in kinds:
            for begin, end in windows:
                first, last = (bisect.bisect_left(self._due[kind], at) for at in (begin, end))
                found += self._ms[kind][first:last]
        found.sort()
        return found[min(len(found) - 1, math.ceil(q * len(found)) - 1)] if found else math.nan

    def longest_gap(self, begin: float, end: float, kind: str = "fresh") -> float:
        """Seconds in which no request of that kind was answered: between two that were due and were."""
        due, took = self._due[kind], self._ms[kind]
        first, last = bisect.bisect_left(due, begin), bisect.bisect_left(due, end)
        answered = sorted(due[i] + took[i] / 1e3 for i in range(first, last))
        return max((b - a for a, b in zip(answered, answered[1:])), default=end - begin)


class Load:
    """Runs in the VM as an ordinary user, from when each kind was answered once until finish()."""

    def __init__(self, host: Host, mix: Mix) -> None:
        self._host = host
        host.mkdir(SAMPLES, 0o777)
        self._process = host.popen(
            [PROGRAM, "load", f"{SAMPLES}/samples", *mix.words()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **services.AS_APP,
        )
        _expect_up(self._process, "the load")

    def finish(self, timeout: float = 60) -> Seen:
        out, _ = self._process.communicate("", timeout)
        if self._process.returncode != 0:
            raise RuntimeError(f"bench-hand-over ended with {self._process.returncode}")
        return Seen(json.loads(out.splitlines()[-1]), self._host.call(_take, f"{SAMPLES}/samples"))

    def close(self) -> None:
        self._host.stop(self._process)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()


def _take(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _expect_up(process: subprocess.Popen, what: str) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], UP_TIMEOUT)
    if not ready or process.stdout.readline() != "up\n":
        raise RuntimeError(f"{what} isn't up after {UP_TIMEOUT:g} s (status {process.poll()})")
