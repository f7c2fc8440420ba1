# SPDX-License-Identifier: Apache-2.0
"""The TLS end in front of the gRPC server.

grpcio can demand client certificates or not ask for them, but not "verify if given", which a mesh's control plane does.
So TLS ends here, and the bytes go on to the gRPC server over a Unix socket. Each connection binds its own client path
there, which the RPC sees as its peer: that leads back to the certificate. It also lets tests cut, hold, slow down and
spoil connections (faults.py; frames.py does what needs HTTP/2).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import socket
import ssl
import typing

from devmesh import ca, frames
from devmesh.auth import Caller, caller_of_certificate
from devmesh.faults import Faults
from devmesh.tokens import Refused

log = logging.getLogger("devmesh.front")
_CHUNK = 256 * 1024
_SERVER_TTL = 365 * 24 * 3600
_DRIP = 0.02  # seconds from drip to drip of a slowed direction
_AGE_GRACE = 1.0  # seconds from the GOAWAY for age to the end
_WINDOW_BACK = 1 << 20  # credit for each stream when the fault `window` is over


def _abort(writer: asyncio.StreamWriter) -> None:
    # CPython 3.11.2, Debian 12's, raises for a TLS transport whose connection is gone already.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


class Link:
    """One connection of a client."""

    def __init__(self, writer: asyncio.StreamWriter, faults: Faults):
        self.writer = writer
        self.to_client, self.to_server = frames.ToClient(faults), frames.ToServer()
        # whole frames are written under it, so that others can put theirs between
        self.whole = asyncio.Lock()

    async def say(self, data: bytes) -> None:
        async with self.whole:
            self.writer.write(data)
            await self.writer.drain()


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
        self._links: set[Link] = set()
        self._sockets: list[socket.socket] = []
        self._count = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["h2"])
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.load_verify_locations(cadata=authority.roots_pem)
        self._loaded: tuple[str, bool] | None = None
        self.apply_faults()

    def apply_faults(self) -> None:
        """Takes over `server_name` and `other_ca` for new connections, `deaf` and `hold` for all."""
        wanted = (self._faults.server_name or self._server_name, self._faults.other_ca)
        if wanted != self._loaded:
            name, other = wanted
            authority = ca.CertificateAuthority(self._run_dir / "other-ca") if other else self._authority
            leaf = authority.issue(_SERVER_TTL, dns=name)
            pair = self._run_dir / "server.pem"
            ca.write_private(pair, leaf.key + leaf.chain)
            self._context.load_cert_chain(pair)
            self._loaded = wanted
        if self._faults.hold:
            self._flowing.clear()
        else:
            self._flowing.set()
        if self._sockets and self._faults.deaf != (not self._servers):
            self._run(self._stop_listening() if self._faults.deaf else self._listen())

    def serve_by(self, authority: ca.CertificateAuthority) -> None:
        """New connections are verified by its roots, besides those before, and see a certificate of its signer."""
        changed = authority.signer != self._authority.signer
        self._authority = authority
        self._context.load_verify_locations(cadata=authority.roots_pem)
        if changed:
            self.rotate_certificate()

    def rotate_certificate(self) -> None:
        """New connections see a new certificate of the same CA."""
        self._loaded = None
        self.apply_faults()

    def goaway(self, code: int = 0, last: int = frames.LAST_STREAM) -> None:
        """On each connection, now."""
        for link in self._links:
            self._run(link.say(frames.goaway(code, last)))

    async def start(self, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            host, port = split_address(address)
            # kept apart from who accepts on it: without anybody, the kernel still completes connections
            bound = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256
            )
            self._sockets.append(bound)
            self.addresses.append(join_address(*bound.getsockname()[:2]))
        if not self._faults.deaf:
            await self._listen()

    async def _listen(self) -> None:
        for bound in self._sockets:
            server = await asyncio.start_server(self._accept, sock=bound.dup(), ssl=self._context, backlog=256)
            self._servers.append(server)

    async def _stop_listening(self) -> None:
        while self._servers:
            self._servers.pop().close()

    def _run(self, coroutine: typing.Coroutine) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def caller_of(self, peer: str) -> Caller | None:
        """By the RPC's peer, `unix:<path>`; None when the connection gave no certificate."""
        return self._callers[peer.removeprefix("unix:")]

    def drop_connections(self) -> None:
        for link in list(self._links):
            _abort(link.writer)

    async def stop(self) -> None:
        await self._stop_listening()
        for bound in self._sockets:
            bound.close()
        self.drop_connections()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        link = Link(writer, self._faults)
        self._links.add(link)
        self._count += 1
        path = self._run_dir / f"c{self._count}"
        try:
            certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self._callers[str(path)] = caller_of_certificate(certificate, self._trust_domain) if certificate else None
            if not self._faults.refuse_connections:
                await self._relay(reader, link, path)
        except Refused as error:
            log.info("connection refused: %s", error)
        except (OSError, asyncio.CancelledError):
            pass  # either end is gone
        finally:
            self._callers.pop(str(path), None)
            path.unlink(missing_ok=True)
            _abort(writer)
            self._links.discard(link)
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, link: Link, path: pathlib.Path) -> None:
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        inner.bind(str(path))
        await asyncio.get_running_loop().sock_connect(inner, str(self.grpc_socket))
        inner_reader, inner_writer = await asyncio.open_unix_connection(sock=inner)
        pumps = [
            asyncio.create_task(self._pump_in(reader, inner_writer, link)),
            asyncio.create_task(self._pump_out(inner_reader, link)),
        ]
        if self._faults.connection_age:
            pumps.append(asyncio.create_task(self._grow_old(link, self._faults.connection_age)))
        drips = asyncio.create_task(self._drip_window(link)) if link.to_client.window is not None else None
        try:
            # TLS has no half-close: the first end that closes ends both
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(OSError):
                await link.writer.drain()
        finally:
            others = [*pumps, drips] if drips else pumps
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            _abort(inner_writer)
            link.writer.close()

    async def _pump_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                await _write(writer, link.to_server.feed(data), lambda: self._faults.read_rate)

    async def _pump_out(self, reader: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                async with link.whole:
                    await _write(link.writer, link.to_client.feed(data), lambda: self._faults.write_rate)
                if link.to_client.ended:
                    return

    async def _grow_old(self, link: Link, age: float) -> None:
        await asyncio.sleep(age)
        await link.say(frames.goaway())
        await asyncio.sleep(_AGE_GRACE)

    async def _drip_window(self, link: Link) -> None:
        """The client's credit, as slowly as the fault says; all of it when the fault is over."""
        with contextlib.suppress(OSError):
            while self._faults.window is not None:
                await asyncio.sleep(_DRIP)
                more = max(1, int(self._faults.read_rate * _DRIP))
                await link.say(b"".join(frames.window_update(stream, more) for stream in link.to_server.streams))
            await link.say(b"".join(frames.window_update(stream, _WINDOW_BACK) for stream in link.to_server.streams))


async def _write(writer: asyncio.StreamWriter, data: bytes, rate: typing.Callable[[], int]) -> None:
    """All of it, at a rate that may change meanwhile; 0: at once."""
    while data:
        size = max(1, int(rate() * _DRIP)) if rate() else len(data)
        piece, data = data[:size], data[size:]
        writer.write(piece)
        await writer.drain()
        if data:
            await asyncio.sleep(_DRIP)


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
