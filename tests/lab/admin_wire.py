# SPDX-License-Identifier: Apache-2.0
"""admin.sock spoken from Python, for tests that ask more often than a program can be started."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
import typing

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lab import broker_wire, layout
from lab.host import Host

SOCKET = "/run/hawser/admin.sock"


class Refused(RuntimeError):
    """hawserd answered with a failure, or not at all."""


@functools.cache
def _classes() -> dict[str, typing.Any]:
    # Generated code is bound to the runtime's version; a descriptor isn't.
    with tempfile.NamedTemporaryFile() as out:
        proto = layout.REPO / "proto"
        subprocess.run(["protoc", "-I", proto, f"--descriptor_set_out={out.name}", "hawser/admin.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name for file in files.file], pool)


def call(host: Host, job: str, timeout: float = 10, **fields: typing.Any) -> dict[str, typing.Any]:
    """One request as root, in the host's namespaces; OSError while nobody listens."""
    request = _classes()["hawser.admin.v1.Request"]()
    getattr(request, job).SetInParent()
    for name, value in fields.items():
        setattr(getattr(request, job), name, value)
    answer = host.call(broker_wire.exchange, SOCKET, request.SerializeToString(), timeout)
    if answer is None:
        raise Refused("the connection was closed")
    response = _classes()["hawser.admin.v1.Response"].FromString(answer)
    if response.HasField("failure"):
        raise Refused(f"{response.failure.message} [{response.failure.id}]")
    return json.loads(response.json or "{}")
