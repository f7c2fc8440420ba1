# SPDX-License-Identifier: Apache-2.0
"""ADS streams, delta and state-of-the-world: who is on them, what they are sent, what they answer."""

from __future__ import annotations

import asyncio
import collections
import itertools
import typing

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from devmesh import debug, faults, grpc_resources, protos, raw
from devmesh.auth import Caller
from devmesh.coalesce import Coalesced
from devmesh.delta import DeltaSession
from devmesh.registry import Denied, Node, Row, check_identity, parse_node
from devmesh.snapshot import Snapshot
from devmesh.snapshot_cache import SnapshotCache
from devmesh.sotw import SotwSession

if typing.TYPE_CHECKING:
    from devmesh.server import Devmesh

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_MAX_QUEUED = 256
_KEPT_RESPONSES = 16
_WAKES_A_SECOND = 500
_END, _WAKE = object(), object()


class AdsService:
    def __init__(self, mesh: Devmesh):
        self._mesh = mesh
        self.streams: dict[int, Stream] = {}
        self.opened = 0
        self.totals: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.last_nack: dict[str, str] = {}
        self.pushes = 0
        self._ids = itertools.count(1)
        self.snapshots = SnapshotCache()
        self._pushing = Coalesced(self.push, lambda: len(self.streams) / _WAKES_A_SECOND)

    def handler(self) -> grpc.GenericRpcHandler:
        def method(serve, request_class):
            return grpc.stream_stream_rpc_method_handler(
                serve,
                request_deserializer=request_class.FromString,
                response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            )

        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "DeltaAggregatedResources": method(self._delta, discovery_pb2.DeltaDiscoveryRequest),
                "StreamAggregatedResources": method(self._sotw, discovery_pb2.DiscoveryRequest),
            },
        )

    def push(self) -> None:
        """Something that snapshots are made of has changed."""
        self.pushes += 1
        for stream in self.streams.values():
            stream.wake()

    def push_soon(self) -> None:
        """For what changes often: a fleet that comes back would wake each of its streams as often as it has hosts."""
        self._pushing.ask()

    def close_streams(self, code: str = "UNAVAILABLE") -> None:
        status = faults.status(code)
        for stream in self.streams.values():
            stream.end = (status, "stream closed by request of the test")
            stream.wake()

    def send(self, messages: typing.Iterable[bytes]) -> None:
        """As responses of each stream, whatever they are."""
        for stream in self.streams.values():
            stream.raw.extend(messages)
            stream.wake()

    def resend(self, count: int) -> None:
        for stream in self.streams.values():
            stream.raw.extend(list(stream.kept)[:count])
            stream.wake()

    def view(self) -> dict[str, typing.Any]:
        types = {t: {**counts, "last_nack": self.last_nack.get(t, "")} for t, counts in sorted(self.totals.items())}
        streams = [stream.view() for stream in self.streams.values()]
        return {"streams": streams, "streams_opened": self.opened, "pushes": self.pushes, "types": types}

    async def _delta(self, _requests, context: grpc.aio.ServicerContext) -> None:
        await self._serve(context, DeltaSession)

    async def _sotw(self, _requests, context: grpc.aio.ServicerContext) -> None:
        await self._serve(context, SotwSession)

    async def _serve(self, context, session_class) -> None:
        caller = await self._mesh.authenticate(context)
        if code := self._mesh.faults.take_ads_code():
            await context.abort(code, "refused by request of the test")
        number = next(self._ids)
        stream = Stream(self._mesh, self, number, caller, context, session_class)
        self.opened += 1
        self.streams[number] = stream
        try:
            await stream.run()
        except Denied as error:
            await context.abort(error.code, str(error))
        finally:
            del self.streams[number]
            stream.leave()


class Stream:
    """One task writes; another only reads into a bounded queue, so that a slow plane holds its client back."""

    def __init__(self, mesh: Devmesh, service: AdsService, number: int, caller: Caller, context, session_class):
        self._mesh, self._service, self._context = mesh, service, context
        self.number, self.caller = number, caller
        self.end: tuple[grpc.StatusCode, str] | None = None
        self.raw: collections.deque[bytes] = collections.deque(maxlen=raw.MAX_TIMES)  # to be sent as they are
        self.kept: collections.deque[bytes] = collections.deque(maxlen=_KEPT_RESPONSES)  # sent already
        self.session = session_class(self._nonce, blank_versions=lambda: mesh.faults.blank_versions)
        self._nonces = itertools.count(1)
        self._node: Node | None = None
        self._row: Row | None = None
        self._without_inbound = False
        self._queue: asyncio.Queue = asyncio.Queue(_MAX_QUEUED)
        self._push_due = False

    def _nonce(self) -> str:
        own = {"same": f"{self.number}-same", "blank": ""}
        return own.get(self._mesh.faults.nonces or "", f"{self.number}-{next(self._nonces)}")

    def wake(self) -> None:
        self._push_due = True
        if not self._queue.full():  # else it's awake anyway, and looks
            self._queue.put_nowait(_WAKE)

    def view(self) -> dict[str, typing.Any]:
        types = {t: s.view() for t, s in sorted(self.session.types.items())}
        who = {"namespace": self.caller.namespace, "service_account": self.caller.service_account, "how": self.caller.how}
        return {
            "number": self.number,
            "protocol": "delta" if isinstance(self.session, DeltaSession) else "sotw",
            "node": self._node.id if self._node else None,
            "workload": self._row.name if self._row else None,
            "caller": who,
            "types": types,
        }

    async def run(self) -> None:
        reader = asyncio.create_task(self._read())
        try:
            while (item := await self._queue.get()) is not _END:
                if self.end:
                    await self._context.abort(*self.end)
                if item is not _WAKE:
                    await self._on_request(item)
                if self._push_due and self._node:
                    self._push_due = False
                    await self._write(self.session.push(self.snapshot()))
                await self._write_raw()
        finally:
            reader.cancel()

    def leave(self) -> None:
        if self._row:
            self._mesh.registry.unregister(self._row)

    async def _read(self) -> None:
        try:
            while (message := await self._context.read()) is not grpc.aio.EOF:
                await self._queue.put(message)
        finally:
            # with a full queue the RPC is being cancelled, which ends run() by itself
            if not self._queue.full():
                self._queue.put_nowait(_END)

    async def _on_request(self, request) -> None:
        if self._node is None:
            if request.type_url == protos.HEALTH_TYPE:
                return  # istiod ignores it too before it knows the node
            self._enter(request.node)
        await self._write_raw()
        if request.type_url == protos.HEALTH_TYPE:
            if self._row:
                healthy = not request.HasField("error_detail")
                self._mesh.registry.report(self._row, healthy, request.error_detail.message)
            return
        if request.type_url.startswith(debug.PREFIX):
            others = list(self._service.streams.values())
            response = None if self._mesh.faults.ads_mute else debug.answer(request, self, others)
            return await self._write([response] if response else [])
        before = self._counts(request.type_url)
        responses = self.session.on_request(request, self.snapshot())
        after = self._counts(request.type_url)
        totals = self._service.totals[request.type_url]
        totals["requests"] += 1
        totals["acks"] += after[0] - before[0]
        totals["nacks"] += after[1] - before[1]
        if request.HasField("error_detail"):
            self._service.last_nack[request.type_url] = request.error_detail.message
        await self._write(responses)

    def _counts(self, type_url: str) -> tuple[int, int]:
        subscription = self.session.types.get(type_url)
        return (subscription.acks, subscription.nacks) if subscription else (0, 0)

    def _enter(self, message) -> None:
        node = parse_node(message)
        check_identity(node, self.caller)
        if node.group:
            self._row, new = self._mesh.registry.register(node, self.caller)
            self._without_inbound = new and self._mesh.faults.missing_inbound
        self._node = node
        if self._mesh.faults.first:
            self.raw.extend(raw.messages(self._mesh.faults.first))

    @property
    def proxy_id(self) -> str:
        """NAME.NAMESPACE"""
        return self._node.id.split("~")[2] if self._node else ""

    def snapshot(self) -> Snapshot:
        assert self._node
        if self._mesh.faults.vanish:
            return Snapshot()
        if self._node.generator == "grpc":
            return grpc_resources.build(self._mesh.config, self._mesh.registry.rows())
        return self._service.snapshots.of(
            self._mesh.config,
            self._node,
            self._mesh.registry,
            bad_listener=self._mesh.faults.bad_listener,
            missing_inbound=self._without_inbound,
            lua=self._mesh.faults.lua,
        )

    async def _write_raw(self) -> None:
        while self.raw:
            await self._context.write(self.raw.popleft())

    async def _write(self, responses: list) -> None:
        for response in responses:
            if self._mesh.faults.ads_mute:
                continue  # lost for good: who was mute needs new streams
            if delay := self._mesh.faults.ads_delay:
                await asyncio.sleep(delay)
            self._service.totals[response.type_url]["responses"] += 1
            self.kept.append(response.SerializeToString())
            await self._context.write(response)
