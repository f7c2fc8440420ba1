# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""broker.sock spoken from Python: proto/hawser/broker.proto, in frames with a 4-byte big-endian length."""

from __future__ import annotations

import functools
import socket
import struct
import subprocess
import tempfile
import typing

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lab import facts, layout

SOCKET = "/run/hawser/broker.sock"


class Refused(RuntimeError):
    """The broker answered with a failure."""

    def __init__(self, failure: typing.Any) -> None:
        super().__init__(f"{failure.message} (fix: {failure.hint}) [{failure.id}]")
        self.id, self.code, self.message, self.hint = failure.id, failure.code, failure.message, failure.hint


@functools.cache
def _classes() -> dict[str, typing.Any]:
    # Generated code is bound to the runtime's version; a descriptor isn't.
    with tempfile.NamedTemporaryFile() as out:
        proto = layout.REPO / "proto"
        subprocess.run(["protoc", "-I", proto, f"--descriptor_set_out={out.name}", "hawser/broker.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name for file in files.file], pool)


def message(name: str, **fields: typing.Any) -> typing.Any:
    return _classes()[f"hawser.broker.v1.{name}"](**fields)


def exchange(path: str, payload: bytes, timeout: float) -> bytes | None:
    """One frame there, one back; None if the peer closed. A success without a result is an empty frame."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(path)
        try:
            client.sendall(struct.pack("!I", len(payload)) + payload)
        except BrokenPipeError:
            return None
        received = b""
        while len(received) < 4 or len(received) < 4 + struct.unpack("!I", received[:4])[0]:
            try:
                chunk = client.recv(65536)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            received += chunk
        return received[4:]


def call(host, job: str, timeout: float = 20, **fields: typing.Any) -> typing.Any:
    """Asks the broker of a host, as root; the response, or Refused."""
    names = {"plan": "PlanRequest", "start": "StartRequest", "signal": "SignalRequest", "reap": "ReapRequest"}
    request = message("Request", **{job: message(names.get(job, f"{job.capitalize()}Request"), **fields)})
    answer = host.call(exchange, SOCKET, request.SerializeToString(), timeout)
    assert answer is not None, "the broker closed the connection"
    response = message("Response")
    response.ParseFromString(answer)
    if response.HasField("failure"):
        raise Refused(response.failure)
    return response


def intent(**changes: typing.Any) -> typing.Any:
    """Everything in both families. The broker itself exempts the agent and the proxy."""
    fields: dict[str, typing.Any] = {
        "outbound_port": 15001,
        "inbound_port": 15006,
        "capture_outbound": True,
        "capture_inbound": True,
        "ipv4": True,
        "ipv6": True,
        "never": [message("Endpoint", address=facts.MESH_IP, port=facts.PLANE_PORT)],
    }
    return message("Intent", **{**fields, **changes})
