# SPDX-License-Identifier: Apache-2.0
"""The TLS end in front of the gRPC server.

grpcio can demand client certificates or not ask for them, but not "verify if given", which a mesh's control plane does.
So TLS ends here, and the bytes go on to the gRPC server over a Unix socket. Each connection binds its own client path
there, which the RPC sees as its peer: that leads back to the certificate. It also lets tests cut and hold connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import socket
import ssl

from devmesh import ca
from devmesh.auth import Caller, caller_of_certificate
from devmesh.faults import Faults
from devmesh.tokens import Refused

log = logging.getLogger("devmesh.front")
_CHUNK = 256 * 1024
_SERVER_TTL = 365 * 24 * 3600


def _abort(writer: asyncio.StreamWriter) -> None:
    # CPython 3.11.2, Debian 12's, raises for a TLS transport whose connection is gone already.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


class TlsFront:
    def __init__(
        self, authority: ca.CertificateAuthority, trust_domain: str, server_name: str, faults: Faults, run_dir: pathlib.Path
    ):
        self._authority, self._trust_domain, self._faults = authority, trust_domain, faults
        self._run_dir, self._server_name = run_dir, server_name
        self.grpc_socket = run_dir / "grpc.sock"
        self.addresses: list[str] = []
        self._servers: list[asyncio.base_events.Server] = []
        self._callers: dict[str, Caller | None] = {}
        self._tasks: set[asyncio.Task] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._count = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["h2"])
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.load_verify_locations(cadata=authority.roots_pem)
        self._loaded_name: str | None = None
        self.apply_faults()

    def apply_faults(self) -> None:
        """Takes over `server_name` for new connections and `hold` for all."""
        name = self._faults.server_name or self._server_name
        if name != self._loaded_name:
            leaf = self._authority.issue(_SERVER_TTL, dns=name)
            pair = self._run_dir / "server.pem"
            ca.write_private(pair, leaf.key + leaf.chain)
            self._context.load_cert_chain(pair)
            self._loaded_name = name
        if self._faults.hold:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def start(self, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            host, port = split_address(address)
            server = await asyncio.start_server(self._accept, host, port, ssl=self._context, backlog=256)
            self._servers.append(server)
            self.addresses.append(join_address(*server.sockets[0].getsockname()[:2]))

    def caller_of(self, peer: str) -> Caller | None:
        """By the RPC's peer, `unix:<path>`; None when the connection gave no certificate."""
        return self._callers[peer.removeprefix("unix:")]

    def drop_connections(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self.drop_connections()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        self._count += 1
        path = self._run_dir / f"c{self._count}"
        try:
            certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self._callers[str(path)] = caller_of_certificate(certificate, self._trust_domain) if certificate else None
            if not self._faults.refuse_connections:
                await self._relay(reader, writer, path)
        except Refused as error:
            log.info("connection refused: %s", error)
        except (OSError, asyncio.CancelledError):
            pass  # either end is gone
        finally:
            self._callers.pop(str(path), None)
            path.unlink(missing_ok=True)
            _abort(writer)
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: pathlib.Path) -> None:
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        inner.bind(str(path))
        await asyncio.get_running_loop().sock_connect(inner, str(self.grpc_socket))
        inner_reader, inner_writer = await asyncio.open_unix_connection(sock=inner)
        pumps = [
            asyncio.create_task(self._pump(reader, inner_writer)),
            asyncio.create_task(self._pump(inner_reader, writer)),
        ]
        try:
            # TLS has no half-close: the first end that closes ends both
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            _abort(inner_writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
