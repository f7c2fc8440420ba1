# SPDX-License-Identifier: Apache-2.0
"""The HTTP view: a few JSON documents and switches, on a Unix socket and, if configured, on TCP.

GET /healthz /workloads /debug /jwks /faults · POST /reload /faults /push · DELETE /faults
"""

from __future__ import annotations

import asyncio
import http
import json
import pathlib
import typing

from devmesh import raw
from devmesh.config import ConfigError
from devmesh.faults import ACTIONS

if typing.TYPE_CHECKING:
    from devmesh.server import Devmesh

_MAX_BODY = 1 << 20
_TIMEOUT = 10  # seconds for a request to arrive


class HttpView:
    def __init__(self, mesh: Devmesh):
        self._mesh = mesh
        self._servers: list[asyncio.base_events.Server] = []
        self.address: str | None = None

    async def start(self, socket_path: pathlib.Path, tcp: tuple[str, int] | None) -> None:
        socket_path.unlink(missing_ok=True)
        self._servers.append(await asyncio.start_unix_server(self._serve, socket_path))
        if tcp:
            server = await asyncio.start_server(self._serve, *tcp)
            self._servers.append(server)
            self.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                method, path, body = await _read_request(reader)
            status, answer = self._answer(method, path.partition("?")[0], body)
            payload = json.dumps(answer, indent=1).encode() + b"\n"
            reason = http.HTTPStatus(status).phrase
            head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + payload)
            await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            pass  # not a request, or nobody waits for its answer any more
        finally:
            writer.close()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, typing.Any]:
        mesh = self._mesh
        match method, path:
            case "GET", "/healthz":
                return 200, {"status": "ok"}
            case "GET", "/workloads":
                return 200, mesh.workloads()
            case "GET", "/debug":
                return 200, mesh.debug()
            case "GET", "/jwks":
                return 200, mesh.tokens.jwks()
            case "GET", "/faults":
                return 200, mesh.fault_view()
            case "DELETE", "/faults":
                mesh.reset_faults()
                return 200, mesh.fault_view()
            case "POST", "/faults":
                return self._change_faults(body)
            case "POST", "/push":
                mesh.ads.push()
                return 200, {"pushes": mesh.ads.pushes}
            case "POST", "/reload":
                try:
                    return 200, {"changed": mesh.reload()}
                except ConfigError as error:
                    return 400, {"error": str(error)}
        return 404, {"error": f"no {method} {path} here"}

    def _change_faults(self, body: bytes) -> tuple[int, typing.Any]:
        try:
            changes = json.loads(body or b"{}")
            if not isinstance(changes, dict):
                raise ValueError("an object belongs here")
            actions = {key: changes.pop(key) for key in ACTIONS if key in changes}
            messages = raw.messages(actions["send"]) if "send" in actions else []
            raw.messages(changes.get("first") or [])  # a wrong one is refused here, not on each stream
            self._mesh.set_faults(**changes)
            self._act(actions, messages)
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}
        return 200, self._mesh.fault_view()

    def _act(self, actions: dict[str, typing.Any], messages: list[bytes]) -> None:
        mesh = self._mesh
        if actions.get("rotate_certificate"):
            mesh.front.rotate_certificate()
        mesh.ads.send(messages)
        if count := actions.get("resend"):
            mesh.ads.resend(int(count))
        if word := actions.get("goaway_now"):
            mesh.front.goaway(**(word if isinstance(word, dict) else {}))
        if code := actions.get("close_streams"):
            mesh.ads.close_streams(code if isinstance(code, str) else "UNAVAILABLE")
        if actions.get("drop_connections"):
            mesh.front.drop_connections()


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
    length = int(headers.get("content-length", "0"))
    if length > _MAX_BODY:
        raise ValueError("body is too long")
    return method, path, await reader.readexactly(length)
