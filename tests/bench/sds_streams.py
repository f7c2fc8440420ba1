# SPDX-License-Identifier: Apache-2.0
"""Runs inside a host, as the proxy: so many SDS streams that have what they asked for, held open until standard input ends."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import subprocess
import sys
import typing

if typing.TYPE_CHECKING:
    from lab.host import Host

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
NAMES = ("default", "ROOTCA")
TESTS = pathlib.Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def held(host: Host, count: int) -> typing.Iterator[None]:
    from lab import facts

    program = host.popen(
        [sys.executable, "-m", "bench.sds_streams", str(count)],
        env={"PYTHONPATH": str(TESTS)},
        uid=facts.UID_PROXY,
        gid=facts.GID_PROXY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout.readline() == f"{count} streams\n", "a stream didn't get its secret"
        yield
    finally:
        program.stdin.close()
        program.wait(30)


async def _ask(stub, name: str):
    from envoy.service.discovery.v3 import discovery_pb2

    call = stub.StreamSecrets()
    await call.write(discovery_pb2.DiscoveryRequest(type_url=TYPE, resource_names=[name]))
    answer = await call.read()
    assert len(answer.resources) == 1
    await call.write(
        discovery_pb2.DiscoveryRequest(
            type_url=TYPE, resource_names=[name], version_info=answer.version_info, response_nonce=answer.nonce
        )
    )
    return call


async def _hold(count: int) -> None:
    import grpc
    from envoy.service.secret.v3 import sds_pb2_grpc

    async with grpc.aio.insecure_channel("unix:/run/hawser/sds.sock") as channel:
        stub = sds_pb2_grpc.SecretDiscoveryServiceStub(channel)
        calls = [await _ask(stub, NAMES[i % len(NAMES)]) for i in range(count)]
        print(f"{len(calls)} streams", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for call in calls:
            call.cancel()


if __name__ == "__main__":
    asyncio.run(_hold(int(sys.argv[1])))
